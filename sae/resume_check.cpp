#include "sae/resume_check.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "data/base/atomic_file.h"
#include "data/base/sha256.h"
#include "kernels/base/error.h"
#include "sae/run_config.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Settings = std::map<std::string, std::string>;  // "train.lr" → its value as YAML

bool free_to_change(const std::string& key) {
  static const std::set<std::string> keys{
      "data.path",         "data.rolling_wait",       "data.readers",
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
  const std::string before = prefix.empty() ? "" : prefix + ".";
  for (const auto& entry : node) flatten(entry.second, before + entry.first.as<std::string>(), out);
}

/// Every setting of the three sections over its default.
Settings settings_of(const std::string& name, const std::string& text) {
  const std::string defaults = yaml_of(DataConfig(), ModelConfig(), TrainConfig());
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

template <class Free>
std::vector<std::string> differences(const Settings& then, const Settings& now, const Free& free) {
  std::vector<std::string> changes;
  const auto value = [](const Settings& from, const std::string& key) {
    const auto found = from.find(key);
    return found == from.end() ? std::string("unknown") : found->second;
  };
  Settings all = then;
  all.insert(now.begin(), now.end());
  for (const auto& [key, unused] : all) {
    if (free(key) || value(then, key) == value(now, key)) continue;
    changes.push_back(
        fmt::format("{} is {} there, {} now", key, value(then, key), value(now, key)));
  }
  return changes;
}

std::string text_of(const fs::path& file) {
  std::ifstream in(file);
  std::stringstream text;
  text << in.rdbuf();
  if (!in)
    throw Error(
        fmt::format("{}: cannot be read, so the run cannot go on; restore it", file.string()));
  return text.str();
}

void require_none(const fs::path& file, const std::vector<std::string>& changes) {
  if (changes.empty()) return;
  throw UsageError(fmt::format(
      "{}: the run was started with other settings: {}; resume with the same or train into "
      "another folder",
      file.string(), fmt::join(changes, "; ")));
}

}  // namespace

std::vector<std::string> result_changes(const std::string& name, const std::string& before,
                                        const std::string& now) {
  return differences(settings_of(name, before), settings_of("the configuration", now),
                     free_to_change);
}

std::string setting_hash(const std::string& resolved) {
  std::string text;
  for (const auto& [key, value] : settings_of("the configuration", resolved)) {
    if (free_to_change(key) || key == "train.seed" || key == "data.order_seed") continue;
    text += key + " ";
    if (key == "data.mixture")
      for (const YAML::Node& part : YAML::Load(value))
        text += part.as<std::string>().substr(0, part.as<std::string>().find(' ')) + " ";
    else
      text += value;
    text += "\n";
  }
  return data::sha256(text);
}

void check_same_configuration(const fs::path& run, const std::string& resolved) {
  const fs::path file = run / "config.yaml";
  require_none(file, result_changes(file.string(), text_of(file), resolved));
}

void keep_configuration(const fs::path& run, const std::string& resolved) {
  if (fs::exists(run / "config.yaml")) return check_same_configuration(run, resolved);
  data::write_file_atomically(run / "config.yaml", resolved);
}

void check_same_settings(const fs::path& file, const std::string& resolved,
                         const std::set<std::string>& free) {
  Settings then, now;
  try {
    flatten(YAML::Load(text_of(file)), "", then);
  } catch (const YAML::Exception& error) {
    throw Error(fmt::format("{}: not a configuration: {}", file.string(), error.msg));
  }
  flatten(YAML::Load(resolved), "", now);
  require_none(file,
               differences(then, now, [&](const std::string& key) { return free.count(key) > 0; }));
}

bool already_finished(const fs::path& run, const std::string& resolved, Resume resume) {
  if (resume == Resume::never &&
      (fs::exists(run / "checkpoints") || fs::exists(run / "dictionary"))) {
    throw UsageError(
        fmt::format("{}: already holds a run; use --resume auto to go on with it, or another --out",
                    run.string()));
  }
  if (resume == Resume::never || !fs::exists(run / "dictionary" / "cfg.json")) return false;
  check_same_configuration(run, resolved);
  return true;
}

}  // namespace assay::sae
