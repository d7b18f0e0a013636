#include "data/base/output_guard.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

bool holds(const fs::path& folder, const char* name) {
  std::error_code failed;
  return fs::exists(folder / name, failed);
}

bool holds_any(const fs::path& folder, std::string_view prefix, std::string_view suffix) {
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(folder, failed)) {
    const std::string name = entry.path().filename().string();
    if (name.rfind(prefix, 0) == 0 && name.find(suffix) != std::string::npos) return true;
  }
  return false;
}

bool is_dictionary(const fs::path& folder) {
  return holds(folder, "cfg.json") && holds(folder, "dictionary.safetensors");
}

const char* name_of(FolderKind kind) {
  switch (kind) {
    case FolderKind::dataset:
      return "a data set";
    case FolderKind::run:
      return "a run";
    case FolderKind::finetune:
      return "a fine-tuned run";
    case FolderKind::dictionary:
      return "a dictionary";
    case FolderKind::checkpoint:
      return "checkpoints";
    case FolderKind::model:
      return "a model's halves";
    case FolderKind::sweep:
      return "a sweep";
  }
  return "something else";
}

bool same_file(const fs::path& a, const fs::path& b) {
  std::error_code missing;
  return fs::equivalent(a, b, missing) && !missing;
}

/// Throws where writing `file` (or NAME.part on the way) would replace one of the inputs.
void refuse_inputs(const fs::path& file, const std::vector<fs::path>& inputs) {
  fs::path part = file;
  part += ".part";
  for (const fs::path& input : inputs) {
    if (!same_file(file, input) && !same_file(part, input)) continue;
    throw UsageError(fmt::format("{}: --out would replace {}, which is read: choose another --out",
                                 file.string(), input.string()));
  }
}

/// Dictionaries and checkpoints are replaced and removed as whole folders, with all that is in
/// them.
void refuse_inside(const fs::path& out) {
  std::error_code failed;
  const fs::path full = fs::weakly_canonical(fs::absolute(out), failed);
  for (fs::path at = full.parent_path(); at.has_relative_path(); at = at.parent_path()) {
    const bool checkpoint = holds(at, "trainer.json") ||
                            (at.filename() == "checkpoints" && holds(at / "..", "config.yaml"));
    if (!is_dictionary(at) && !checkpoint) continue;
    throw UsageError(fmt::format(
        "{}: lies in {}, which holds {}: choose another --out", out.string(), at.string(),
        name_of(checkpoint ? FolderKind::checkpoint : FolderKind::dictionary)));
  }
}

}  // namespace

std::vector<FolderKind> kinds_of(const fs::path& folder) {
  std::vector<FolderKind> kinds;
  if (holds(folder, "index.yaml") || holds(folder, "rolling.json") ||
      holds_any(folder, "shard-", ".h5")) {
    kinds.push_back(FolderKind::dataset);
  }
  const bool run = holds(folder, "checkpoints") || holds(folder, "metrics.jsonl") ||
                   (holds(folder, "config.yaml") && holds(folder, "dictionary/cfg.json"));
  if (holds(folder, "finetune.yaml")) {
    kinds.push_back(FolderKind::finetune);
  } else if (run) {
    kinds.push_back(FolderKind::run);
  }
  if (is_dictionary(folder)) kinds.push_back(FolderKind::dictionary);
  if (holds(folder, "trainer.json") || holds_any(folder, "step-0", ""))
    kinds.push_back(FolderKind::checkpoint);
  if (holds(folder, "manifest.json")) kinds.push_back(FolderKind::model);
  if (holds(folder, "sweep.json")) kinds.push_back(FolderKind::sweep);
  return kinds;
}

void guard_file(const fs::path& out, const std::vector<fs::path>& inputs, std::string_view what,
                const std::function<bool(const fs::path&)>& ours) {
  refuse_inputs(out, inputs);
  refuse_inside(out);
  std::error_code failed;
  const fs::file_status status = fs::status(out, failed);
  if (!fs::exists(status)) return;
  if (!fs::is_regular_file(status)) {
    throw UsageError(fmt::format("{}: --out names {}, expected a file: choose another --out",
                                 out.string(),
                                 fs::is_directory(status) ? "a folder" : "no ordinary file"));
  }
  if (ours(out)) return;
  throw UsageError(fmt::format(
      "{}: there is another file than {} there, which --out would replace: choose another --out, "
      "or delete it",
      out.string(), what));
}

void guard_folder(const fs::path& out, const std::vector<fs::path>& inputs,
                  std::initializer_list<FolderKind> allowed,
                  std::initializer_list<const char*> writes) {
  refuse_inside(out);
  std::error_code failed;
  const fs::file_status status = fs::status(out, failed);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) {
    throw UsageError(fmt::format("{}: --out names a file, expected a folder: choose another --out",
                                 out.string()));
  }
  for (const FolderKind kind : kinds_of(out)) {
    if (std::find(allowed.begin(), allowed.end(), kind) != allowed.end()) continue;
    throw UsageError(
        fmt::format("{}: holds {}: choose another --out", out.string(), name_of(kind)));
  }
  for (const char* name : writes) refuse_inputs(out / name, inputs);
}

}  // namespace assay::data
