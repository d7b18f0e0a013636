#include "sae/checkpoint.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/base/json_file.h"
#include "data/base/sha256.h"
#include "data/safetensors.h"
#include "kernels/base/error.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kVersion = 3;
constexpr int64_t kLargestTrainer = 64 << 20;  // bytes of trainer.json

int64_t step_of(const fs::path& folder) { return std::stoll(folder.filename().string().substr(5)); }

/// The run's checkpoints, newest first.
std::vector<fs::path> list(const fs::path& run) {
  std::vector<fs::path> found;
  if (fs::is_directory(run / "checkpoints")) {
    for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
      const std::string name = entry.path().filename().string();
      const bool numbered = name.size() >= 15 && name.size() <= 20 && name.rfind("step-", 0) == 0;
      if (numbered && name.find_first_not_of("0123456789", 5) == std::string::npos)
        found.push_back(entry.path());
    }
  }
  std::sort(found.begin(), found.end(),
            [](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  return found;
}

Json to_json(const Checkpoint& c, const State& state, const std::string& state_hash) {
  Json lanes = Json::array();
  for (const auto& lane : c.position) lanes.push_back({lane.epoch, lane.window, lane.offset});
  return {{"version", kVersion},
          {"step", state.step},
          {"numbers", state.numbers},
          {"state_sha256", state_hash},
          {"data_hash", c.data_hash},
          {"position", lanes},
          {"metrics",
           {{"bytes", c.metrics.bytes},
            {"steps", c.metrics.steps},
            {"loss", c.metrics.loss},
            {"fvu", c.metrics.fvu},
            {"aux_loss", c.metrics.aux_loss},
            {"l0", c.metrics.l0}}},
          {"event_bytes", c.event_bytes},
          {"first_loss", c.first_loss},
          {"own", c.own},
          {"inputs", c.inputs}};
}

/// The text of trainer.json, which ends with the checksum of what it would be without it.
std::string sealed(Json json) {
  json["sha256"] = data::sha256(json.dump());
  return json.dump(2) + "\n";
}

bool seal_holds(Json json) {
  const Json seal = json.value("sha256", Json());
  json.erase("sha256");
  return seal == data::sha256(json.dump());
}

Checkpoint from_json(const Json& json) {
  Checkpoint c;
  json.at("data_hash").get_to(c.data_hash);
  for (const Json& lane : json.at("position")) {
    c.position.push_back(
        {lane.at(0).get<int64_t>(), lane.at(1).get<int64_t>(), lane.at(2).get<int64_t>()});
  }
  const Json& m = json.at("metrics");
  c.metrics = {m.at("bytes").get<int64_t>(),   m.at("steps").get<int64_t>(),
               m.at("loss").get<double>(),     m.at("fvu").get<double>(),
               m.at("aux_loss").get<double>(), m.at("l0").get<double>()};
  json.at("event_bytes").get_to(c.event_bytes);
  json.at("first_loss").get_to(c.first_loss);
  c.own = json.value("own", c.own);
  c.inputs = json.value("inputs", c.inputs);
  return c;
}

Restored restored(const Json& json, const fs::path& folder, const CreateState& create) try {
  Checkpoint checkpoint = from_json(json);
  State state = create(checkpoint);
  json.at("step").get_to(state.step);
  state.numbers = json.value("numbers", std::map<std::string, double>());
  return {std::move(checkpoint), std::move(state)};
} catch (const Json::exception& error) {
  throw Error(fmt::format("{}: trainer.json: {}", folder.string(), data::plain_text(error)));
}

/// The dtype of what one element's narrow moment is stored as.
std::string dtype_of(const NarrowMoments& moments) {
  return moments.type() == MomentType::bf16 ? "BF16" : "U8";
}

void load_narrow(const data::TensorFile& tensors, const std::string& name, const Parameter& p,
                 NarrowMoment& moment) {
  const data::Tensor& codes = tensors.at(name, p.shape);
  if (codes.dtype != dtype_of(p.narrow)) {
    throw Error(fmt::format("{}: tensor '{}' is {}, expected {}", tensors.path.string(), name,
                            codes.dtype, dtype_of(p.narrow)));
  }
  codes.source->read(codes.offset, moment.codes.data(), moment.codes.size());
  if (!moment.scales.empty()) {
    moment.scales = tensors.floats(name + ".scale", {p.shape[0], p.narrow.blocks()});
  }
}

void load_moments(const data::TensorFile& tensors, const std::string& name, Parameter& p) {
  if (!p.narrow.empty()) {
    load_narrow(tensors, name + ".m", p, p.narrow.m);
    load_narrow(tensors, name + ".v", p, p.narrow.v);
    return;
  }
  p.m = tensors.floats(name + ".m", p.shape);
  p.v = tensors.floats(name + ".v", p.shape);
}

using Tensors = std::map<std::string, data::TensorView>;

void store_narrow(const Parameter& p, const NarrowMoment& moment, const std::string& name,
                  Tensors& tensors) {
  tensors[name] = {dtype_of(p.narrow), p.shape, moment.codes.data(), moment.codes.size()};
  if (!moment.scales.empty())
    tensors[name + ".scale"] = data::view_of(moment.scales, {p.shape[0], p.narrow.blocks()});
}

void store_moments(const Parameter& p, const std::string& name, Tensors& tensors) {
  if (!p.narrow.empty()) {
    store_narrow(p, p.narrow.m, name + ".m", tensors);
    store_narrow(p, p.narrow.v, name + ".v", tensors);
    return;
  }
  tensors[name + ".m"] = data::view_of(p.m, p.shape);
  tensors[name + ".v"] = data::view_of(p.v, p.shape);
}

Restored load_one(const fs::path& folder, const CreateState& create) {
  const Json json = data::read_json_object(folder / "trainer.json", kLargestTrainer);
  if (json.value("version", Json()) != kVersion) {
    throw Error(fmt::format("{}: checkpoint version {}, this build reads {}", folder.string(),
                            json.value("version", Json()).dump(), kVersion));
  }
  if (!seal_holds(json)) {
    throw Error(fmt::format("{}: trainer.json does not have the checksum that it records",
                            folder.string()));
  }
  const fs::path file = folder / "state.safetensors";
  if (json.value("state_sha256", Json()) != data::sha256_file(file)) {
    throw Error(
        fmt::format("{}: does not have the checksum that trainer.json records", file.string()));
  }
  const data::TensorFile tensors = data::read_safetensors(file);
  Restored result = restored(json, folder, create);
  State& state = result.state;
  for (auto& [name, p] : state.parameters) {
    p.value = tensors.floats(name, p.shape);
    load_moments(tensors, name, p);
    const std::string average = name + ".ema";
    if (tensors.tensors.count(average) > 0) state.averaged[name] = tensors.floats(average, p.shape);
  }
  state.silent = tensors.integers("silent", {state.n});
  return result;
}

void check_finite(const State& state) {
  const auto finite = [](const std::vector<float>& values) {
    return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
  };
  for (const auto& [name, p] : state.parameters) {
    if (!finite(p.value) || !finite(p.m) || !finite(p.v) || !p.narrow.finite()) {
      throw Error(
          fmt::format("step {}: {} is not finite: training diverged and no checkpoint is written; "
                      "lower train.lr",
                      state.step, name));
    }
  }
}

void write_files(const fs::path& folder, const State& state, const Checkpoint& checkpoint) {
  data::make_folder(folder);
  Tensors tensors{{"silent", data::view_of(state.silent)}};
  for (const auto& [name, p] : state.parameters) {
    tensors[name] = data::view_of(p.value, p.shape);
    store_moments(p, name, tensors);
  }
  for (const auto& [name, values] : state.averaged)
    tensors[name + ".ema"] = data::view_of(values, state.at(name).shape);
  const std::string sum = data::write_safetensors(tensors, folder / "state.safetensors");
  data::write_file_atomically(folder / "trainer.json", sealed(to_json(checkpoint, state, sum)));
}

/// Out of sight in one step, then deleted: a kill in between leaves no half of a checkpoint under a
/// good name.
void remove_checkpoint(const fs::path& folder) {
  const fs::path gone = folder.string() + ".gone";
  fs::remove_all(gone);
  fs::rename(folder, gone);
  fs::remove_all(gone);
}

}  // namespace

fs::path checkpoint_folder(const fs::path& run, int64_t step) {
  return run / "checkpoints" / fmt::format("step-{:010}", step);
}

fs::path save_checkpoint(const fs::path& run, const State& state, const Checkpoint& checkpoint,
                         const CheckpointPolicy& policy) try {
  check_finite(state);
  fs::path folder = checkpoint_folder(run, state.step);
  const fs::path part = folder.string() + ".part";
  fs::remove_all(part);
  try {
    write_files(part, state, checkpoint);
  } catch (...) {
    std::error_code ignored;
    fs::remove_all(part, ignored);  // frees what a full disk needs
    throw;
  }
  if (fs::exists(folder)) remove_checkpoint(folder);
  data::publish(part, folder);
  std::vector<int64_t> steps;
  for (const fs::path& each : list(run)) steps.push_back(step_of(each));
  for (const int64_t step : superseded(steps, state.step, policy))
    remove_checkpoint(checkpoint_folder(run, step));
  return folder;
} catch (const fs::filesystem_error& error) {
  throw Error(fmt::format("{}: cannot save the checkpoint of step {}: {}; older ones stand",
                          error.path1().string(), state.step, error.code().message()));
}

void clean_checkpoints(const fs::path& run) {
  if (!fs::is_directory(run / "checkpoints")) return;
  std::vector<fs::path> remains;
  for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
    const fs::path suffix = entry.path().extension();
    if (suffix == ".part" || suffix == ".gone") remains.push_back(entry.path());
  }
  for (const fs::path& path : remains) fs::remove_all(path);
}

std::optional<Restored> load_checkpoint(const fs::path& run, const CreateState& create,
                                        const std::function<void(const std::string&)>& warn) {
  const std::vector<fs::path> all = list(run);
  for (const fs::path& folder : all) {
    try {
      return load_one(folder, create);
    } catch (const Error& error) {
      warn(fmt::format("{}; passing it over", error.what()));
    }
  }
  if (all.empty()) return std::nullopt;
  throw Error(
      fmt::format("{}: none of the {} checkpoints is good; train afresh into another folder",
                  run.string(), all.size()));
}

Restored load_checkpoint_of(const fs::path& run, int64_t step, const CreateState& create) {
  const fs::path folder = checkpoint_folder(run, step);
  if (fs::is_directory(folder)) return load_one(folder, create);
  std::vector<int64_t> steps;
  for (const fs::path& each : list(run)) steps.push_back(step_of(each));
  throw UsageError(fmt::format("{}: no checkpoint of step {}; there are: {}", run.string(), step,
                               steps.empty() ? "none" : fmt::format("{}", fmt::join(steps, ", "))));
}

void remove_checkpoints_beyond(const fs::path& run, int64_t step) {
  for (const fs::path& folder : list(run)) {
    if (step_of(folder) > step) remove_checkpoint(folder);
  }
}

}  // namespace assay::sae
