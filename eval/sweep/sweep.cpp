#include "eval/sweep/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/base/atomic_file.h"
#include "data/statistics.h"
#include "eval/sweep/page.h"
#include "eval/tasks/core/seed_stability.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "sae/recovery.h"

namespace assay::eval {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 2048;  // rows encoded at once

double deviation(ConstMatrix x) {
  data::MomentSums sums(x.cols);
  for (int64_t i = 0; i < x.rows; ++i) sums.add(x.row(i));
  return sums.moments().variance * static_cast<double>(x.rows);
}

/// A dictionary and how often each latent fired.
struct Measured {
  sae::Dictionary dictionary;
  std::vector<int64_t> firing;
};

Measured measure(Context& context, const fs::path& run, ConstMatrix x, double all,
                 SweepDictionary& entry) {
  Measured m{sae::Dictionary::load(run), {}};
  if (m.dictionary.info.width() != x.cols || !m.dictionary.info.target.empty()) {
    throw Error(fmt::format(
        "{}: does not reconstruct what it encodes; a sweep compares autoencoders", run.string()));
  }
  m.firing.resize(static_cast<size_t>(m.dictionary.info.n));
  std::vector<float> decoded(static_cast<size_t>(kBlock * x.cols));
  double error = 0;
  int64_t active = 0;
  for (int64_t done = 0; done < x.rows; done += kBlock) {
    const ConstMatrix rows(x.row(done), std::min(kBlock, x.rows - done), x.cols);
    const Matrix out(decoded.data(), rows.rows, rows.cols);
    const SparseCodes codes = m.dictionary.encode(context, rows);
    m.dictionary.decode(context, codes, out);
    error += sae::squared_error(rows, out);
    for (int64_t p = 0; p < codes.pairs(); ++p) {
      if (!(codes.values[p] > 0)) continue;
      ++m.firing[codes.indices[p]];
      ++active;
    }
  }
  entry.hash = m.dictionary.hash();
  entry.fvu = error / all;
  entry.l0 = static_cast<double>(active) / static_cast<double>(x.rows);
  entry.dead_share = static_cast<double>(std::count(m.firing.begin(), m.firing.end(), 0)) /
                     static_cast<double>(m.dictionary.info.n);
  return m;
}

nlohmann::ordered_json to_json(const SweepDictionary& d) {
  nlohmann::ordered_json json{{"name", d.name}, {"variant", d.variant}, {"n", d.n}};
  // A whole number is written as one.
  json["k"] = d.k == std::floor(d.k) ? nlohmann::ordered_json(std::llround(d.k))
                                     : nlohmann::ordered_json(d.k);
  if (d.sparsity > 0) json["sparsity"] = d.sparsity;
  json["seed"] = d.seed;
  if (!d.failure.empty()) {
    json["failure"] = d.failure;
    return json;
  }
  json["hash"] = d.hash;
  json["fvu"] = d.fvu;
  json["l0"] = d.l0;
  json["dead_share"] = d.dead_share;
  return json;
}

nlohmann::ordered_json to_json(const SweepResults& r) {
  nlohmann::ordered_json json{{"format", "assay-sweep"}, {"version", 1},
                              {"dataset", r.dataset},    {"model", r.model},
                              {"hook", r.hook},          {"tokens", r.tokens},
                              {"rows", r.rows},          {"seconds", r.seconds}};
  json["dictionaries"] = nlohmann::ordered_json::array();
  json["agreements"] = nlohmann::ordered_json::array();
  for (const SweepDictionary& d : r.dictionaries) json["dictionaries"].push_back(to_json(d));
  for (const SeedAgreement& a : r.agreements) {
    json["agreements"].push_back(
        {{"first", a.first}, {"second", a.second}, {"latents", a.latents}, {"shared", a.shared}});
  }
  return json;
}

}  // namespace

std::string SweepDictionary::setting() const {
  return fmt::format("{}, n = {}, k = {}", variant, n, k) +
         (sparsity > 0 ? fmt::format(", sparsity = {}", sparsity) : "");
}

void measure_sweep(Context& context, const fs::path& folder, ConstMatrix x, SweepResults& results) {
  const double all = deviation(x);
  results.rows = x.rows;
  std::vector<std::pair<const SweepDictionary*, Measured>> measured;
  for (SweepDictionary& entry : results.dictionaries) {
    if (entry.failure.empty())
      measured.emplace_back(&entry, measure(context, folder / entry.name, x, all, entry));
  }
  for (size_t a = 0; a < measured.size(); ++a) {
    const auto& [first, m] = measured[a];
    const std::vector<int64_t> chosen =
        core::living_sample(m.firing, kAgreementLatents, derive_seed(first->seed, {'W'}));
    if (chosen.empty()) continue;
    for (size_t b = a + 1; b < measured.size(); ++b) {
      const auto& [second, other] = measured[b];
      if (second->setting() != first->setting()) continue;
      const core::SharedLatents shared =
          core::match_latents(context, m.dictionary, other.dictionary, chosen);
      results.agreements.push_back({first->name, second->name, shared.latents, shared.shared});
    }
  }
}

void write_sweep(const SweepResults& results, const fs::path& folder) {
  const auto replace = nlohmann::json::error_handler_t::replace;
  data::write_file_atomically(folder / "sweep.json",
                              to_json(results).dump(2, ' ', true, replace) + "\n");
  data::write_file_atomically(folder / "report.html", report::sweep_page(results));
}

std::optional<std::vector<std::string>> names_in_sweep(const fs::path& file) {
  std::ifstream in(file);
  const auto json = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("dictionaries") || !json["dictionaries"].is_array())
    return std::nullopt;
  std::vector<std::string> names;
  for (const auto& entry : json["dictionaries"]) {
    if (!entry.is_object() || !entry.contains("name") || !entry["name"].is_string())
      return std::nullopt;
    names.push_back(entry["name"]);
  }
  return names;
}

}  // namespace assay::eval
