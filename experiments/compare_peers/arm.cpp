// Our arm of the comparison: the training step of `assay train`, told over stdin when to run a
// burst of steps.
//
//   compare_arm PROBLEM [--threads N]
//   stdin, a line a command; stdout, a line of JSON an answer:
//     run FIRST COUNT   optimiser steps on batches FIRST, FIRST + 1, … (modulo those there are):
//                       {"ms": […], "dead": …}
//     save DIR          W_enc, W_dec, b_enc, b_dec as raw fp32: {}
//     memory            peak and starting resident bytes, and those of parameters and optimiser
//                       state
// PROBLEM is a folder made by problem.py. A batch is read into memory before its step's clock
// starts.
#include <fmt/core.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "kernels/base/error.h"
#include "sae/variants/variants.h"

namespace {

using assay::Error;
using nlohmann::json;
namespace fs = std::filesystem;

template <class T>
void read_raw(const fs::path& file, int64_t offset, std::vector<T>& out) {
  std::ifstream in(file, std::ios::binary);
  in.seekg(offset * static_cast<int64_t>(sizeof(T)));
  if (!in.read(reinterpret_cast<char*>(out.data()),
               static_cast<std::streamsize>(out.size() * sizeof(T)))) {
    throw Error(fmt::format("{}: expected {} values from {} on; make the problem anew",
                            file.string(), out.size(), offset));
  }
}

void write_raw(const fs::path& file, const std::vector<float>& values) {
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * 4));
  if (!out.flush()) {
    throw Error(file.string() + ": cannot write");
  }
}

/// A field of /proc/self/status, in bytes.
int64_t resident(const std::string& field) {
  std::ifstream in("/proc/self/status");
  for (std::string line; std::getline(in, line);) {
    if (line.rfind(field + ":", 0) == 0) return std::stoll(line.substr(field.size() + 1)) * 1024;
  }
  throw Error("/proc/self/status: no " + field);
}

json read_settings(const fs::path& folder) {
  std::ifstream in(folder / "problem.json");
  if (!in) throw Error((folder / "problem.json").string() + ": not found; make it with problem.py");
  return json::parse(in);
}

class Arm {
 public:
  Arm(const fs::path& folder, int threads)
      : folder_(folder),
        settings_(read_settings(folder)),
        start_(resident("VmRSS")),
        context_({assay::Device::cpu, threads}),
        variant_(assay::sae::make_variant(options(settings_))),
        state_(variant_->create()),
        x_(settings_.at("rows").get<int64_t>() * state_.d_in) {
    read_raw(folder / "w_dec.bin", 0, state_.at("W_dec").value);
    read_raw(folder / "w_enc.bin", 0, state_.at("W_enc").value);
    read_raw(folder / "b_dec.bin", 0, state_.at("b_dec").value);
    std::vector<char> dead(state_.n);
    read_raw(folder / "dead.bin", 0, dead);
    for (int64_t j = 0; j < state_.n; ++j)
      state_.silent[j] = dead[j] ? variant_->options().train.dead_after_tokens : 0;
    state_.screen.refresh(context_, state_.encoder());
  }

  json run(int64_t first, int64_t count) {
    json answer{{"ms", json::array()}};
    for (int64_t t = first; t < first + count; ++t) {
      read_raw(folder_ / "x.bin",
               t % settings_.at("batches").get<int64_t>() * static_cast<int64_t>(x_.size()), x_);
      assay::NumericFlag flag;
      const assay::ConstMatrix x(x_.data(), settings_.at("rows"), state_.d_in);
      const double lr = settings_.at("lr");
      const auto begin = std::chrono::steady_clock::now();
      const auto report = variant_->step(context_, state_, {x, x}, lr, flag);
      const auto end = std::chrono::steady_clock::now();
      if (flag.raised()) throw Error(fmt::format("step {}: not finite", t));
      answer["ms"].push_back(std::chrono::duration<double, std::milli>(end - begin).count());
      answer["dead"] = report.dead;
    }
    return answer;
  }

  json save(const fs::path& folder) const {
    write_raw(folder / "w_enc.bin", state_.at("W_enc").value);
    write_raw(folder / "w_dec.bin", state_.at("W_dec").value);
    write_raw(folder / "b_enc.bin", state_.at("b_enc").value);
    write_raw(folder / "b_dec.bin", state_.at("b_dec").value);
    return json::object();
  }

  /// State: both matrices and biases with two moments, silence counters, the bf16 copy with its
  /// norms.
  json memory() const {
    const int64_t parameters = 2 * state_.n * state_.d_in + state_.n + state_.d_in;
    return {{"peak", resident("VmHWM")},
            {"start", start_},
            {"state", 12 * parameters + 2 * state_.n * state_.d_in + 16 * state_.n}};
  }

 private:
  static assay::sae::VariantOptions options(const json& settings) {
    assay::sae::ModelConfig model;
    model.n = settings.at("n");
    model.k = settings.at("k");
    assay::sae::TrainConfig train;
    train.aux_coefficient = settings.at("aux_coefficient");
    train.dead_after_tokens = settings.at("dead_after");
    train.eps = settings.at("eps");
    const int64_t d = settings.at("d");
    return {model, with_defaults(train, model, d), d, d, settings.at("variance")};
  }

  fs::path folder_;
  json settings_;
  int64_t start_;
  assay::Context context_;
  std::unique_ptr<assay::sae::Variant> variant_;
  assay::sae::State state_;
  std::vector<float> x_;
};

json answer(Arm& arm, const std::string& line) {
  std::istringstream words(line);
  std::string command, folder;
  words >> command;
  if (int64_t first = 0, count = 0; command == "run" && words >> first >> count)
    return arm.run(first, count);
  if (command == "save" && words >> folder) return arm.save(folder);
  if (command == "memory") return arm.memory();
  throw assay::UsageError("compare_arm: unknown command \"" + line +
                          "\"; known: run FIRST COUNT, save DIR, memory");
}

}  // namespace

int main(int count, char** arguments) {
  try {
    if (count != 2 && !(count == 4 && std::string(arguments[2]) == "--threads")) {
      throw assay::UsageError("usage: compare_arm PROBLEM [--threads N]");
    }
    Arm arm(arguments[1], count == 4 ? std::stoi(arguments[3]) : 0);
    std::cout << "{}" << std::endl;
    for (std::string line; std::getline(std::cin, line);)
      std::cout << answer(arm, line).dump() << std::endl;
    return 0;
  } catch (const assay::UsageError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
