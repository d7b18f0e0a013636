// assay decoder-shard: a dictionary's decoder directions as activations, which a meta-SAE is
// trained on.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/output_guard.h"
#include "data/dataset.h"
#include "data/shard_writer.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "sae/dictionary.h"
#include "sae/formats/format.h"

namespace assay::commands {
namespace {

constexpr int64_t kPieces = 64;  // chunks, so that the stream's lanes have some each

struct Options {
  std::filesystem::path dictionary, out;
  bool json = false;
};

/// Rows d_j/‖d_j‖ [n, d_out]. Throws Error naming a latent whose row is 0.
std::vector<float> directions(const sae::Dictionary& dictionary, const std::string& name) {
  const int64_t width = dictionary.info.width();
  std::vector<float> rows = dictionary.w_dec;
  for (int64_t j = 0; j < dictionary.info.n; ++j) {
    float* row = rows.data() + j * width;
    double squares = 0;
    for (int64_t c = 0; c < width; ++c) squares += static_cast<double>(row[c]) * row[c];
    if (!(squares > 0)) {
      throw Error(
          fmt::format("{}: the decoder row of latent {} is 0 and has no direction", name, j));
    }
    for (int64_t c = 0; c < width; ++c) row[c] = static_cast<float>(row[c] / std::sqrt(squares));
  }
  return rows;
}

void run(const Options& options) {
  data::guard_folder(options.out, {}, {data::FolderKind::dataset});
  const sae::Dictionary dictionary = sae::formats::open_dictionary(options.dictionary);
  const sae::DictionaryInfo& about = dictionary.info;
  const std::vector<float> rows = directions(dictionary, options.dictionary.string());
  data::ShardWriterOptions shards;
  shards.folder = options.out;
  shards.d = about.width();
  shards.dtype = DType::f32;
  shards.rows_per_shard = about.n;
  shards.chunk_bytes = std::max<int64_t>(1, about.n / kPieces) * shards.d * size_of(shards.dtype);
  shards.tokens = shards.document = shards.position = shards.special = shards.text = false;
  shards.sinks = false;
  shards.model = about.model;
  shards.revision = about.revision;
  shards.hook = "decoder of " + (about.target.empty() ? about.hook : about.target);
  shards.source_hash = dictionary.hash();
  data::ShardWriter writer(shards);
  data::RowBlock block;
  block.x = ConstMatrix(rows.data(), about.n, shards.d)
                .slice(writer.resume_rows(), about.n - writer.resume_rows());
  writer.append(block);
  writer.finish();
  const data::Dataset dataset = data::Dataset::open(options.out);
  const data::HookInfo& hook = dataset.hook("activations");
  if (options.json) {
    print_json(nlohmann::ordered_json{{"path", options.out.string()},
                                      {"rows", about.n},
                                      {"d", hook.d},
                                      {"variance", hook.variance},
                                      {"dictionary_hash", shards.source_hash},
                                      {"content_hash", dataset.info().content_hash}});
    return;
  }
  fmt::print("{}: {} decoder directions of d = {}, variance {:.4f}\n", options.out.string(),
             about.n, hook.d, hook.variance);
}

}  // namespace

void register_decoder_shard(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "decoder-shard", "Write a dictionary's decoder directions as activations, for a meta-SAE");
  command->footer(
      "Row j of OUT is latent j's decoder row at length 1. OUT is an ordinary data set: a meta-SAE "
      "is what assay "
      "train\n"
      "makes of it (model.variant: batch_topk, model.k: 4), and assay encode then says which "
      "meta-latents each latent\n"
      "is made of. See docs/variants.md.");
  command->add_option("dictionary", options->dictionary, "Dictionary or run folder")->required();
  command->add_option("--out", options->out, "Folder to write; must not hold a data set")
      ->required();
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
