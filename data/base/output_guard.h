// What every command asks before it writes: an output never replaces a file that is read, that is
// part of something, or that is another kind of thing than the command makes.
#pragma once

#include <filesystem>
#include <functional>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace assay::data {

/// What a folder is, by the files that mark it.
enum class FolderKind {
  dataset,     ///< index.yaml, rolling.json, or shards of one that is being written
  run,         ///< checkpoints/, metrics.jsonl, or config.yaml beside dictionary/
  finetune,    ///< a run with finetune.yaml
  dictionary,  ///< cfg.json and dictionary.safetensors
  checkpoint,  ///< trainer.json, or the folder of all checkpoints
  model,       ///< manifest.json
  sweep        ///< sweep.json
};

/// None where nothing marks it, or there is no such folder.
std::vector<FolderKind> kinds_of(const std::filesystem::path& folder);

/// For the file `out`, which will be replaced. `inputs` are files and folders that the command
/// reads; `ours` says whether an existing file is what the command itself makes (`what`, for the
/// message). Files are compared by device and inode, so links to an input count as that input.
/// Throws UsageError where `out` is no regular file, is an input, is not ours, or lies in a
/// dictionary or a checkpoint.
void guard_file(const std::filesystem::path& out, const std::vector<std::filesystem::path>& inputs,
                std::string_view what,
                const std::function<bool(const std::filesystem::path&)>& ours);

/// For the folder `out`, which may already be of the kinds `allowed` and in which files of the
/// names `writes` will be replaced. Throws UsageError where it is of another kind, is no folder,
/// lies in a dictionary or a checkpoint, or one of these files is an input.
void guard_folder(const std::filesystem::path& out,
                  const std::vector<std::filesystem::path>& inputs,
                  std::initializer_list<FolderKind> allowed,
                  std::initializer_list<const char*> writes = {});

}  // namespace assay::data
