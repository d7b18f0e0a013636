// assay index: index, checksums and statistics for HDF5 files in place; conversion of .npy,
// .safetensors and Arrow.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/output_guard.h"
#include "data/convert.h"
#include "data/index_build.h"
#include "data/sinks.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"

namespace assay::commands {
namespace {

struct Options {
  std::vector<std::filesystem::path> files;
  std::filesystem::path out;
  std::string tensor, dtype;
  std::vector<int32_t> special_tokens;
  int64_t rows_per_shard = 1 << 18;
  bool replace = false, json = false, reshape = false;
};

void print_summary(const data::Index& index, bool json) {
  const data::DatasetInfo& info = index.info;
  const data::SinkInfo& sinks = index.sinks;
  const size_t files = index.files.size();
  const nlohmann::ordered_json repeats =
      index.near_duplicates ? nlohmann::ordered_json(index.near_duplicates->repeats)
                            : nlohmann::ordered_json();
  const data::HookInfo& hook = info.hooks.front();
  if (json) {
    print_json(nlohmann::ordered_json{{"path", info.path.string()},
                                      {"files", files},
                                      {"rows", info.rows},
                                      {"d", hook.d},
                                      {"dtype", std::string(name_of(hook.dtype))},
                                      {"variance", hook.variance},
                                      {"scale", hook.scale},
                                      {"near_duplicate_documents", repeats},
                                      {"sinks", *sinks.rows},
                                      {"sink_share", sinks.share.front()},
                                      {"content_hash", info.content_hash}});
    return;
  }
  fmt::print("{}: {} rows of d = {} ({}) in {} file(s); variance {:.6g}, scale {:.6g}\n",
             info.path.string(), info.rows, hook.d, name_of(hook.dtype), files, hook.variance,
             hook.scale);
  if (index.near_duplicates && index.near_duplicates->repeats > 0) {
    fmt::print(
        "{} of {} documents nearly repeat another: a split may put one into training and the "
        "other into a test\n",
        index.near_duplicates->repeats, index.near_duplicates->documents);
  }
  if (sinks.rows > 0) {
    fmt::print(
        "{} rows are sinks (norm over {} times the median) and hold {:.4g} % of the squared "
        "norms: marked, and left out by default\n",
        *sinks.rows, data::kSinkFactor, 100 * sinks.share.front());
  }
}

void run(const Options& options) {
  data::guard_folder(options.out, options.files, {data::FolderKind::dataset}, {"index.yaml"});
  size_t convertible = 0;
  for (const auto& file : options.files) convertible += data::is_convertible(file) ? 1 : 0;
  if (convertible != 0 && convertible != options.files.size()) {
    throw UsageError(
        "index: HDF5 files and files to convert cannot be mixed; run it once for each kind");
  }
  if (convertible == 0) {
    if (!options.tensor.empty() || !options.dtype.empty() || !options.special_tokens.empty() ||
        options.reshape) {
      throw UsageError(
          "index: --tensor, --dtype, --reshape and --special-tokens are for conversion only; HDF5 "
          "files stay as they are");
    }
    const data::Index index = data::build_index(options.files, options.out, options.replace);
    return print_summary(index, options.json);
  }
  data::ConvertOptions convert;
  convert.folder = options.out;
  convert.tensor = options.tensor;
  convert.special_tokens = options.special_tokens;
  if (!options.dtype.empty()) convert.dtype = parse_dtype(options.dtype);
  convert.rows_per_shard = options.rows_per_shard;
  convert.reshape = options.reshape;
  const auto near_duplicates = data::convert_arrays(options.files, convert);
  data::Index index = data::read_index(options.out);
  index.near_duplicates = near_duplicates;
  print_summary(index, options.json);
}

}  // namespace

void register_index(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "index",
      "Make a data set of files: index and checksums for HDF5 in place, shards from "
      ".npy, .safetensors and Arrow caches");
  command
      ->add_option("files", options->files,
                   "HDF5 files with /activations [N, d]; or .npy, .safetensors or .arrow files, or "
                   "folders of data-*.arrow "
                   "(SAELens's activation caches)")
      ->required();
  command
      ->add_option("--out", options->out,
                   "Folder of the data set; index.yaml (and converted shards) go there")
      ->required();
  command->add_option("--tensor", options->tensor,
                      "Tensor of .safetensors files, or column of a cache (default: the only one)");
  command->add_option(
      "--special-tokens", options->special_tokens,
      "Token ids (of a cache's token_ids) whose rows are special: BOS, EOS, padding");
  command->add_option("--dtype", options->dtype,
                      "Stored type of converted rows: f16, bf16 or f32 (default: the source's)");
  command->add_option("--rows-per-shard", options->rows_per_shard, "Rows of a converted shard")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_flag("--reshape", options->reshape,
                    "Read .npy and .safetensors arrays [N, M, d] as N·M rows, documents of M");
  command->add_flag("--replace", options->replace,
                    "Make an existing index anew, accepting the files as they are now");
  command->add_flag("--json", options->json, "Print a machine-readable summary");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
