// assay inspect: says what a path holds, and its facts.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/json_file.h"
#include "data/base/sha256.h"
#include "data/codes_file.h"
#include "data/index_file.h"
#include "data/safetensors.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "sae/dictionary.h"
#include "sae/formats/format.h"
#include "sae/formats/source.h"

namespace assay::commands {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kLookedFor =
    "a dictionary (cfg.json and dictionary.safetensors), a run (config.yaml with checkpoints/ or "
    "dictionary/), shards "
    "(index.yaml), a checkpoint (trainer.json and state.safetensors), a dictionary or tensors of "
    "another library (.safetensors, .pt, .pth, .npz), or an HDF5 file with "
    "/activations or "
    "/row_offsets, /indices and /values";

Json tensors_of(const data::TensorFile& file) {
  Json tensors;
  for (const auto& [name, tensor] : file.tensors)
    tensors[name] = {{"dtype", tensor.dtype}, {"shape", tensor.shape}};
  return tensors;
}

Json facts_of(const sae::Dictionary& dictionary, const fs::path& folder) {
  const sae::DictionaryInfo& info = dictionary.info;
  Json facts{{"kind", "dictionary"},
             {"path", folder.string()},
             {"variant", info.variant},
             {"encoding", info.encoding},
             {"d", info.d},
             {"n", info.n},
             {"k", info.k},
             {"hash", dictionary.hash()},
             {"training_tokens", info.tokens},
             {"seed", info.seed},
             {"model", info.model},
             {"revision", info.revision},
             {"hook", info.hook},
             {"scale", info.scale},
             {"data_hash", info.data_hash},
             {"split_rule", info.split_rule},
             {"null_kind", info.null_kind},
             {"warnings", info.warnings}};
  if (!info.target.empty()) facts["target"] = info.target, facts["d_out"] = info.width();
  for (const sae::DictionaryHook& hook : info.hooks) {
    facts["hooks"].push_back({{"name", hook.name}, {"d", hook.d}, {"scale", hook.scale}});
  }
  if (info.input_norm != "none") facts["input_norm"] = info.input_norm;
  return facts;
}

Json inspect_dictionary(const fs::path& folder) {
  Json facts = facts_of(sae::Dictionary::load(folder), folder);
  facts["tensors"] = tensors_of(data::read_safetensors(folder / "dictionary.safetensors"));
  return facts;
}

/// As assay import would read it.
Json inspect_import(const fs::path& path) {
  const sae::formats::Source source = sae::formats::open_source(path);
  Json facts;
  try {
    facts = facts_of(sae::formats::import_source(source, {}), path);
    facts["format"] = sae::formats::recognise(source).name;
  } catch (const Error& error) {
    facts = {{"kind", "tensors"}, {"path", path.string()}, {"not_importable", error.what()}};
  }
  facts["tensors"] = tensors_of(source.tensors);
  return facts;
}

Json hook_facts(const data::Index& index, size_t number) {
  const data::HookInfo& hook = index.info.hooks[number];
  const bool known = index.moments[number].count > 0;
  bool checked = true;
  for (const data::FileLayout& file : index.files) checked &= !file.arrays[number].crc32c.empty();
  Json facts{{"name", hook.name},
             {"shape", {index.info.rows, hook.d}},
             {"dtype", std::string(name_of(hook.dtype))},
             {"checksums", checked ? "crc32c" : "none"}};
  facts["variance"] = known ? Json(hook.variance) : Json();
  facts["scale"] = known ? Json(hook.scale) : Json();
  facts["rows_counted"] = index.moments[number].count;
  facts["sink_share"] = index.sinks.rows ? Json(index.sinks.share[number]) : Json();
  facts["sink_bound"] = index.sinks.rows ? Json(index.sinks.bound[number]) : Json();
  return facts;
}

Json dataset_facts(const char* kind, const data::Index& index) {
  const data::DatasetInfo& info = index.info;
  int64_t bytes = 0, chunks = 0;
  for (const data::FileLayout& file : index.files) {
    bytes += file.bytes;
    chunks += file.chunks();
  }
  Json facts{{"kind", kind},
             {"path", info.path.string()},
             {"rows", info.rows},
             {"sinks", index.sinks.rows ? Json(*index.sinks.rows) : Json()},
             {"files", index.files.size()},
             {"chunks", chunks},
             {"bytes", bytes},
             {"model", info.model},
             {"revision", info.revision},
             {"hook", info.hook},
             {"tokenizer_hash", info.tokenizer_hash},
             {"source_hash", info.source_hash},
             {"content_hash", info.content_hash}};
  facts["hooks"] = Json::array();
  for (size_t i = 0; i < info.hooks.size(); ++i) facts["hooks"].push_back(hook_facts(index, i));
  facts["labels"] = Json::array();
  for (const data::LabelInfo& label : info.labels) {
    facts["labels"].push_back({{"name", label.name}, {"classes", label.classes.size()}});
  }
  facts["columns"] = index.files.front().columns;
  return facts;
}

Json inspect_codes(const fs::path& file) {
  const data::CodesReader reader = data::CodesReader::open(file);
  const data::CodesInfo& info = reader.info();
  const double mean =
      info.rows > 0 ? static_cast<double>(info.pairs) / static_cast<double>(info.rows) : 0;
  return {{"kind", "codes"},
          {"path", file.string()},
          {"rows", info.rows},
          {"pairs", info.pairs},
          {"pairs_a_row", mean},
          {"n", info.n},
          {"d", info.d},
          {"k", info.k},
          {"variant", info.variant},
          {"dictionary_hash", info.dictionary_hash},
          {"source_hash", info.source_hash},
          {"hook", info.hook}};
}

Json inspect_checkpoint(const fs::path& folder) {
  const fs::path trainer = folder / "trainer.json", state = folder / "state.safetensors";
  const Json json = data::read_json_object(trainer, 16 << 20);
  const auto whole = [&](const char* key) {
    return json.contains(key) && json[key].is_number_integer();
  };
  const auto text = [&](const char* key) { return json.contains(key) && json[key].is_string(); };
  if (!whole("version") || !whole("step") || !text("state_sha256") || !text("data_hash")) {
    throw Error(trainer.string() +
                ": damaged: expected JSON with version, step, state_sha256 and data_hash");
  }
  Json facts{{"kind", "checkpoint"},           {"path", folder.string()},
             {"version", json["version"]},     {"step", json["step"]},
             {"data_hash", json["data_hash"]}, {"state_sha256", json["state_sha256"]}};
  if (json["state_sha256"].get<std::string>() != data::sha256_file(state)) {
    throw Error(state.string() +
                ": does not have the checksum that trainer.json records; resume from another one");
  }
  facts["checksum"] = "holds";
  facts["tensors"] = tensors_of(data::read_safetensors(state));
  return facts;
}

/// The last whole line of metrics.jsonl; null where there is none.
Json last_metrics(const fs::path& file) {
  constexpr std::streamoff kTail = 1 << 16;
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) return nullptr;
  const std::streamoff size = in.tellg(), from = std::max<std::streamoff>(0, size - kTail);
  std::string tail(static_cast<size_t>(size - from), '\0');
  in.seekg(from);
  in.read(tail.data(), static_cast<std::streamsize>(tail.size()));
  const size_t end = tail.rfind('\n');
  if (end == std::string::npos || end == 0) return nullptr;
  const size_t before = tail.rfind('\n', end - 1),
               begin = before == std::string::npos ? 0 : before + 1;
  Json line = Json::parse(tail.substr(begin, end - begin), nullptr, /*allow_exceptions=*/false);
  if (!line.is_object())
    throw Error(file.string() + ": the last line is no JSON object; the file is damaged");
  return line;
}

Json inspect_run(const fs::path& folder) {
  Json facts{{"kind", "run"},
             {"path", folder.string()},
             {"finished", fs::exists(folder / "dictionary" / "cfg.json")}};
  std::vector<std::string> checkpoints;
  if (fs::is_directory(folder / "checkpoints")) {
    for (const auto& entry : fs::directory_iterator(folder / "checkpoints")) {
      if (fs::exists(entry.path() / "trainer.json") && entry.path().extension() != ".part") {
        checkpoints.push_back(entry.path().filename().string());
      }
    }
  }
  std::sort(checkpoints.begin(), checkpoints.end());
  facts["checkpoints"] = checkpoints;
  if (!checkpoints.empty())
    facts["checkpoint"] = inspect_checkpoint(folder / "checkpoints" / checkpoints.back());
  facts["last_metrics"] = last_metrics(folder / "metrics.jsonl");
  facts["results"] = fs::exists(folder / "results.json");
  if (facts["finished"].get<bool>())
    facts["dictionary"] = inspect_dictionary(folder / "dictionary");
  return facts;
}

[[noreturn]] void unknown(const fs::path& path) {
  throw Error(
      fmt::format("{}: nothing that inspect knows; it looked for {}", path.string(), kLookedFor));
}

Json inspect_file(const fs::path& file) {
  if (!fs::is_regular_file(file)) unknown(file);
  std::vector<std::string> names;
  try {
    names = data::root_names(file);
  } catch (const Error& error) {
    throw Error(fmt::format("{}; inspect looks for {}", error.what(), kLookedFor));
  }
  const auto has = [&](const char* name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (has("activations"))
    return dataset_facts("activations", data::combine(file, data::read_layouts({file})));
  if (has("row_offsets")) return inspect_codes(file);
  unknown(file);
}

Json inspect(const fs::path& path) {
  if (!fs::exists(path)) throw Error(path.string() + ": no such file or folder");
  if (!fs::is_directory(path))
    return sae::formats::is_source(path) ? inspect_import(path) : inspect_file(path);
  const auto holds = [&](const char* name) { return fs::exists(path / name); };
  if (holds("dictionary.safetensors")) return inspect_dictionary(path);
  if (holds("trainer.json")) return inspect_checkpoint(path);
  if (sae::formats::is_source(path)) return inspect_import(path);
  if (holds("cfg.json")) return inspect_dictionary(path);
  if (holds("index.yaml")) return dataset_facts("shards", data::read_index(path));
  if (holds("config.yaml") || holds("checkpoints") || holds("dictionary/cfg.json"))
    return inspect_run(path);
  unknown(path);
}

/// One fact a line, nested ones indented.
void print(const Json& facts, int indent) {
  for (const auto& [key, value] : facts.items()) {
    const std::string label = fmt::format("{:{}}{}", "", indent, key);
    const bool small = value.is_object() && value.size() <= 2;  // a tensor, a label
    const bool nested = (value.is_object() && !small) ||
                        (value.is_array() && !value.empty() && value[0].is_object());
    if (nested) {
      fmt::print("{}\n", label);
      print(value, indent + 2);
    } else {
      const bool unknown_fact =
          value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty());
      const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
      fmt::print("{:<24} {}\n", label, unknown_fact ? "-" : text);
    }
  }
}

void run(const fs::path& path, bool json) {
  const Json facts = inspect(path);
  if (json) {
    print_json(facts);
  } else {
    print(facts, 0);
  }
}

}  // namespace

void register_inspect(CLI::App& app) {
  auto path = std::make_shared<fs::path>();
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("inspect", "Say what a file or folder is, and its facts");
  command->footer(
      fmt::format("PATH may be {}.\nUnknown facts print as - (null or empty in JSON). A "
                  "checkpoint's checksum and a dictionary's\n"
                  "weights are verified; the rows of activations and codes are not read.",
                  kLookedFor));
  command->add_option("path", *path, "File or folder")->required();
  command->add_flag("--json", *json, "Print the facts as one JSON object on stdout");
  command->callback([path, json] { run(*path, *json); });
}

}  // namespace assay::commands
