#include "sae/resume_check.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "kernels/error.h"
#include "sae/train_config.h"

namespace assay::sae {

namespace {

using Settings = std::map<std::string, std::string>;  // "train.lr" → its value as YAML

bool free_to_change(const std::string& key) {
  static const std::set<std::string> keys{"data.path",         "data.rolling_wait",       "data.readers",
                                          "train.threads",     "train.log_every",         "train.checkpoint_every",
                                          "train.keep_every",  "train.keep_checkpoints",  "train.divergence",
                                          "train.tensorboard", "train.checkpoint_minutes"};
  return keys.count(key) > 0;
}

void flatten(const YAML::Node& node, const std::string& prefix, Settings& out) {
  if (!node.IsMap()) {
    out[prefix] = YAML::Dump(node);
    return;
  }
  for (const auto& entry : node) flatten(entry.second, prefix + "." + entry.first.as<std::string>(), out);
}

/// Every setting of the three sections over its default.
Settings settings_of(const std::string& name, const std::string& text) {
  DataConfig data;
  ModelConfig model;
  TrainConfig train;
  const std::string defaults = config::write_yaml([&](config::Fields& fields) {
    fields.section(
        "data", [&](config::Fields& f) { describe(f, data); }, "");
    fields.section(
        "model", [&](config::Fields& f) { describe(f, model); }, "");
    fields.section(
        "train", [&](config::Fields& f) { describe(f, train); }, "");
  });
  Settings settings;
  try {
    for (const std::string& source : {defaults, text}) {
      const YAML::Node root = YAML::Load(source);
      for (const char* section : {"data", "model", "train"}) {
        if (root[section]) flatten(root[section], section, settings);
      }
    }
  } catch (const YAML::Exception& error) {
    throw Error(fmt::format("{}: not a configuration: {}", name, error.msg));
  }
  return settings;
}

}  // namespace

std::vector<std::string> result_changes(const std::string& name, const std::string& before, const std::string& now) {
  const Settings then = settings_of(name, before), current = settings_of("the configuration", now);
  std::vector<std::string> changes;
  const auto value = [](const Settings& from, const std::string& key) {
    const auto found = from.find(key);
    return found == from.end() ? std::string("unknown") : found->second;
  };
  Settings all = then;
  all.insert(current.begin(), current.end());
  for (const auto& [key, unused] : all) {
    if (free_to_change(key) || value(then, key) == value(current, key)) continue;
    changes.push_back(fmt::format("{} is {} there, {} now", key, value(then, key), value(current, key)));
  }
  return changes;
}

void check_same_configuration(const std::filesystem::path& run, const std::string& resolved) {
  const std::filesystem::path file = run / "config.yaml";
  std::ifstream in(file);
  std::stringstream before;
  before << in.rdbuf();
  if (!in) throw Error(fmt::format("{}: cannot be read, so the run cannot go on; restore it", file.string()));
  const std::vector<std::string> changes = result_changes(file.string(), before.str(), resolved);
  if (changes.empty()) return;
  throw UsageError(
      fmt::format("{}: the run was started with other settings: {}; resume with the same or train into "
                  "another folder",
                  file.string(), fmt::join(changes, "; ")));
}

}  // namespace assay::sae
