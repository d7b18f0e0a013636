#include "sae/dictionary_info.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <type_traits>

#include "data/base/atomic_file.h"
#include "data/base/json_file.h"
#include "kernels/base/error.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr const char* kFormat = "assay-dictionary";
constexpr int kVersion = 1;

Json to_json(const DictionaryInfo& info) {
  Json hooks = Json::array();
  for (const DictionaryHook& hook : info.hooks) {
    hooks.push_back({{"name", hook.name}, {"d", hook.d}, {"scale", hook.scale}});
  }
  Json cfg{{"format", kFormat},
           {"version", kVersion},
           {"variant", info.variant},
           {"d", info.d},
           {"n", info.n},
           {"k", info.k},
           {"model", info.model},
           {"revision", info.revision},
           {"hook", info.hook},
           {"scale", info.scale},
           {"data_hash", info.data_hash},
           {"split_rule", info.split_rule},
           {"tokens", info.tokens},
           {"seed", info.seed},
           {"setting", info.setting},
           {"null_kind", info.null_kind},
           {"encoding", info.encoding},
           {"d_out", info.width()},
           {"centred", info.centred},
           {"prefixes", info.prefixes},
           {"target", info.target},
           {"hooks", hooks},
           {"warnings", info.warnings}};
  // Of some imports only.
  if (info.input_norm != "none") {
    cfg["input_norm"] = info.input_norm;
    cfg["restores_norm"] = info.restores_norm;
  }
  return cfg;
}

/// A member that must be there, of exactly the type of `into`.
template <class T>
void take(const Json& cfg, const char* key, T& into) {
  const auto found = cfg.find(key);
  if (found == cfg.end()) throw Error(fmt::format("'{}' is missing", key));
  const bool fits = std::is_same_v<T, std::string> ? found->is_string()
                    : std::is_floating_point_v<T>  ? found->is_number()
                    : std::is_unsigned_v<T>        ? found->is_number_unsigned()
                                                   : found->is_number_integer();
  const char* expected = std::is_same_v<T, std::string> ? "a text"
                         : std::is_floating_point_v<T>  ? "a number"
                         : std::is_unsigned_v<T>        ? "an integer from 0"
                                                        : "an integer";
  if (!fits)
    throw Error(fmt::format("'{}': expected {}, found {}", key, expected,
                            found->is_structured() ? found->type_name() : found->dump()));
  found->get_to(into);
}

DictionaryInfo from_json(const Json& cfg) {
  DictionaryInfo info;
  take(cfg, "variant", info.variant);
  take(cfg, "d", info.d);
  take(cfg, "n", info.n);
  take(cfg, "k", info.k);
  take(cfg, "model", info.model);
  take(cfg, "revision", info.revision);
  take(cfg, "hook", info.hook);
  take(cfg, "scale", info.scale);
  take(cfg, "data_hash", info.data_hash);
  take(cfg, "split_rule", info.split_rule);
  take(cfg, "tokens", info.tokens);
  take(cfg, "seed", info.seed);
  take(cfg, "null_kind", info.null_kind);
  if (cfg.contains("setting")) take(cfg, "setting", info.setting);
  // Absent from dictionaries written before there was more than one encoding: the variant's name
  // says it.
  info.encoding = cfg.value("encoding", info.variant);
  info.d_out = cfg.value("d_out", info.d);
  info.centred = cfg.value("centred", info.centred);
  info.prefixes = cfg.value("prefixes", info.prefixes);
  info.target = cfg.value("target", info.target);
  info.warnings = cfg.value("warnings", info.warnings);
  info.input_norm = cfg.value("input_norm", info.input_norm);
  info.restores_norm = cfg.value("restores_norm", info.restores_norm);
  for (const Json& hook : cfg.value("hooks", Json::array())) {
    info.hooks.push_back({hook.at("name"), hook.at("d"), hook.at("scale")});
  }
  return info;
}

}  // namespace

DictionaryInfo read_info(const fs::path& file) {
  const Json cfg = data::read_json_object(file, 1 << 20);
  if (cfg.value("format", Json()) != kFormat) {
    throw Error(fmt::format("{}: not an Assay dictionary; expected \"format\": \"{}\"",
                            file.string(), kFormat));
  }
  if (cfg.value("version", Json()) != kVersion) {
    throw Error(fmt::format("{}: dictionary format version {}, this build reads {}", file.string(),
                            cfg.value("version", Json()).dump(), kVersion));
  }
  try {
    return from_json(cfg);
  } catch (const Error& error) {
    throw Error(fmt::format("{}: {}", file.string(), error.what()));
  } catch (const Json::exception& error) {
    throw Error(
        fmt::format("{}: {}; write the dictionary anew", file.string(), data::plain_text(error)));
  }
}

void write_info(const DictionaryInfo& info, const fs::path& file) {
  data::write_file_atomically(file, to_json(info).dump(2) + "\n");
}

}  // namespace assay::sae
