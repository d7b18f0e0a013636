#include "sae/checkpoint.h"

#include <fmt/core.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/atomic_file.h"
#include "data/safetensors.h"
#include "data/sha256.h"
#include "kernels/error.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kVersion = 1;

/// The run's checkpoints, newest first.
std::vector<fs::path> list(const fs::path& run) {
  std::vector<fs::path> found;
  if (fs::is_directory(run / "checkpoints")) {
    for (const auto& entry : fs::directory_iterator(run / "checkpoints")) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("step-", 0) == 0 && name.find('.') == std::string::npos) found.push_back(entry.path());
    }
  }
  std::sort(found.rbegin(), found.rend());
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
            {"l0", c.metrics.l0}}}};
}

Checkpoint from_json(const Json& json, State& state) {
  Checkpoint c;
  json.at("step").get_to(state.step);
  state.numbers = json.value("numbers", std::map<std::string, double>());
  json.at("data_hash").get_to(c.data_hash);
  for (const Json& lane : json.at("position")) {
    c.position.push_back({lane.at(0).get<int64_t>(), lane.at(1).get<int64_t>(), lane.at(2).get<int64_t>()});
  }
  const Json& m = json.at("metrics");
  c.metrics = {m.at("bytes").get<int64_t>(), m.at("steps").get<int64_t>(),   m.at("loss").get<double>(),
               m.at("fvu").get<double>(),    m.at("aux_loss").get<double>(), m.at("l0").get<double>()};
  return c;
}

Checkpoint load_one(const fs::path& folder, State& state) {
  std::ifstream in(folder / "trainer.json");
  const Json json = Json::parse(in, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) throw Error(fmt::format("{}: trainer.json is missing or damaged", folder.string()));
  if (json.value("version", Json()) != kVersion) {
    throw Error(fmt::format("{}: checkpoint version {}, this build reads {}", folder.string(),
                            json.value("version", Json()).dump(), kVersion));
  }
  const fs::path file = folder / "state.safetensors";
  if (json.value("state_sha256", Json()) != data::sha256_file(file)) {
    throw Error(fmt::format("{}: does not have the checksum that trainer.json records", file.string()));
  }
  const data::TensorFile tensors = data::read_safetensors(file);
  State loaded(state.n, state.d_in, state.d_out);
  Checkpoint checkpoint;
  try {
    checkpoint = from_json(json, loaded);
  } catch (const Json::exception& error) {
    throw Error(fmt::format("{}: trainer.json: {}", folder.string(), error.what()));
  }
  loaded.parameters = state.parameters;
  for (auto& [name, p] : loaded.parameters) {
    p.value = tensors.at(name, p.shape).floats();
    p.m = tensors.at(name + ".m", p.shape).floats();
    p.v = tensors.at(name + ".v", p.shape).floats();
  }
  loaded.silent = tensors.at("silent", {state.n}).integers();
  state = std::move(loaded);
  return checkpoint;
}

}  // namespace

void save_checkpoint(const fs::path& run, const State& state, const Checkpoint& checkpoint, int64_t keep) {
  const fs::path folder = run / "checkpoints" / fmt::format("step-{:010}", state.step);
  const fs::path part = folder.string() + ".part";
  fs::remove_all(part);
  fs::create_directories(part);
  data::TensorFile file;
  for (const auto& [name, p] : state.parameters) {
    file.tensors[name] = data::tensor_of(p.value, p.shape);
    file.tensors[name + ".m"] = data::tensor_of(p.m, p.shape);
    file.tensors[name + ".v"] = data::tensor_of(p.v, p.shape);
  }
  file.tensors["silent"] = data::tensor_of(state.silent);
  data::write_safetensors(file, part / "state.safetensors");
  data::write_file_atomically(part / "trainer.json",
                              to_json(checkpoint, state, data::sha256_file(part / "state.safetensors")).dump(2) + "\n");
  fs::remove_all(folder);
  data::publish(part, folder);
  const std::vector<fs::path> all = list(run);
  for (size_t i = static_cast<size_t>(keep); i < all.size(); ++i) fs::remove_all(all[i]);
}

std::optional<Checkpoint> load_checkpoint(const fs::path& run, State& state,
                                          const std::function<void(const std::string&)>& warn) {
  const std::vector<fs::path> all = list(run);
  for (const fs::path& folder : all) {
    try {
      return load_one(folder, state);
    } catch (const Error& error) {
      warn(fmt::format("{}; passing it over", error.what()));
    }
  }
  if (all.empty()) return std::nullopt;
  throw Error(fmt::format("{}: none of the {} checkpoints is good; train afresh into another folder", run.string(),
                          all.size()));
}

}  // namespace assay::sae
