// The options of planted dictionaries, and the folder they are written to.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <map>

#include "data/base/atomic_file.h"
#include "data/dataset.h"
#include "data/safetensors.h"
#include "data/shard_writer.h"
#include "kernels/base/error.h"
#include "sae/dictionary.h"
#include "sae/planted.h"

namespace assay::sae {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 8192;  // rows drawn at once

const std::map<std::string, PlantedOptions>& kinds() {
  static const std::map<std::string, PlantedOptions> all = [] {
    PlantedOptions independent;
    PlantedOptions zipf = independent;
    zipf.firing = "zipf";
    PlantedOptions tree = zipf;
    tree.n = 680;
    tree.roots = 8;
    PlantedOptions correlated = zipf;
    correlated.correlation_rank = 8;
    PlantedOptions toy;
    toy.d = 100;
    toy.n = 3200;
    toy.l0 = 20;
    PlantedOptions varied = toy;
    varied.firing = "log_uniform";
    PlantedOptions bench;
    bench.d = 768;
    bench.n = 16384;
    bench.l0 = 34;
    bench.firing = "zipf";
    bench.roots = 128;
    bench.correlation_rank = 25;
    bench.correlation = 0.3;
    return std::map<std::string, PlantedOptions>{{"independent", independent},
                                                 {"zipf", zipf},
                                                 {"tree", tree},
                                                 {"correlated", correlated},
                                                 {"toy", toy},
                                                 {"toy-varied", varied},
                                                 {"bench", bench}};
  }();
  return all;
}

std::string options_yaml(PlantedOptions options) {
  return config::write_yaml([&](config::Fields& f) { describe(f, options); });
}

void write_truth(const PlantedModel& model, const fs::path& folder) {
  const PlantedOptions& o = model.options();
  const ConstMatrix features = model.features();
  Dictionary truth;
  truth.info.variant = "topk";
  truth.info.d = o.d;
  truth.info.n = o.n;
  truth.info.k = std::clamp<int64_t>(std::llround(model.l0()), 1, o.n);
  truth.info.hook = "planted";
  truth.info.seed = static_cast<uint64_t>(o.seed);
  truth.w_enc.assign(features.data, features.data + o.n * o.d);
  truth.w_dec = truth.w_enc;
  truth.b_enc.assign(static_cast<size_t>(o.n), 0);
  truth.b_dec.assign(static_cast<size_t>(o.d), 0);
  truth.save(folder / "truth");
  const std::vector<float> probabilities(model.probabilities().begin(),
                                         model.probabilities().end());
  const std::vector<int64_t> parents(model.parents().begin(), model.parents().end());
  data::write_safetensors(
      {{"probabilities", data::view_of(probabilities, {o.n})}, {"parents", data::view_of(parents)}},
      folder / "truth" / "planted.safetensors");
}

data::ShardWriterOptions shard_options(const PlantedOptions& o, const PlantedFiles& files) {
  data::ShardWriterOptions shards;
  shards.folder = files.folder;
  shards.rows_per_shard = files.rows_per_shard;
  shards.disk_limit = files.disk_limit;
  shards.d = o.d;
  shards.dtype = DType::f32;
  shards.hook = "planted";
  shards.tokens = shards.document = shards.position = shards.special = shards.text = false;
  shards.sinks = false;  // the truth counts every row
  // Small data sets, and the shards of a rolling cache, are cut in 64, so that the stream's lanes
  // have chunks to share.
  const int64_t whole = files.disk_limit > 0 ? files.rows_per_shard : o.rows;
  shards.chunk_bytes =
      std::min(shards.chunk_bytes, std::max<int64_t>(1, whole / 64) * o.d * size_of(shards.dtype));
  return shards;
}

}  // namespace

void describe(config::Fields& f, PlantedOptions& o) {
  f.integer("d", o.d, {2, 1 << 16}, "dimensions", "Dimensions of the activations.");
  f.integer("n", o.n, {1, 1 << 22}, "features", "True features, those in trees included.");
  f.integer("rows", o.rows, {1, int64_t{1} << 40}, "rows", "Activations to write.");
  f.integer("seed", o.seed, {0, INT64_MAX}, "", "Decides the features and every row.");
  f.choice("firing", o.firing, {"constant", "zipf", "log_uniform"},
           "How often features fire: all alike, by a power of their rank, or log-uniformly.");
  f.real("l0", o.l0, {1e-6, 1e6}, "features a row",
         "Expected number of active features; log_uniform has its own from its range.");
  f.real("zipf", o.zipf, {0, 4}, "", "Exponent of zipf, for ranks and among siblings.");
  f.real("log10_least", o.log10_least, {-12, 0}, "",
         "Least probability of log_uniform, as a power of ten.");
  f.real("log10_largest", o.log10_largest, {-12, 0}, "",
         "Largest probability of log_uniform, as a power of ten.");
  f.real("magnitude_sigma", o.magnitude_sigma, {0, 2}, "",
         "Active features have magnitude LogNormal(0, this).");
  f.real("noise", o.noise, {0, 100}, "", "Standard deviation of Gaussian noise on each dimension.");
  f.integer("roots", o.roots, {0, 1 << 22}, "features",
            "Features that are roots of trees; 0 plants none.");
  f.integer("branching", o.branching, {1, 1024}, "features",
            "Children of each feature above the last level.");
  f.integer("depth", o.depth, {1, 20}, "levels", "Levels below the roots.");
  f.real(
      "descend", o.descend, {0, 1}, "",
      "Probability that an active feature with children has an active child; never more than one.");
  f.integer("correlation_rank", o.correlation_rank, {0, 1024}, "factors",
            "Common Gaussian factors behind the firing of roots and free features; 0 makes them "
            "independent.");
  f.real("correlation", o.correlation, {0, 0.99}, "",
         "Length of each feature's loading on the factors.");
}

std::vector<std::string> planted_kinds() {
  std::vector<std::string> names;
  for (const auto& [name, options] : kinds()) names.push_back(name);
  return names;
}

PlantedOptions planted_kind(const std::string& kind) {
  const auto found = kinds().find(kind);
  if (found != kinds().end()) return found->second;
  throw UsageError(
      fmt::format("no planted kind '{}'; known: {}", kind, fmt::join(planted_kinds(), ", ")));
}

void write_planted(Context& context, const PlantedOptions& options, const PlantedFiles& files) {
  const fs::path& folder = files.folder;
  const PlantedModel model(options);
  data::ShardWriter writer(shard_options(options, files));
  const fs::path record = folder / "planted.yaml";
  if (fs::exists(record) && options_yaml(read_planted(folder)) != options_yaml(options)) {
    throw UsageError(fmt::format("{}: begun with other options; use the same, or another folder",
                                 record.string()));
  }
  if (!fs::exists(record)) {
    if (writer.resume_rows() > 0) {
      throw UsageError(fmt::format(
          "{}: holds shards but no planted.yaml that says what they are; use another folder",
          folder.string()));
    }
    data::write_file_atomically(record, options_yaml(options));
  }
  write_truth(model, folder);
  std::vector<float> buffer(static_cast<size_t>(kBlock * options.d));
  for (int64_t first = writer.resume_rows(); first < options.rows; first += kBlock) {
    const Matrix x(buffer.data(), std::min(kBlock, options.rows - first), options.d);
    model.activations(context, first, model.codes(context, first, x.rows), x);
    data::RowBlock block;
    block.x = x;
    writer.append(block);
  }
  writer.finish();
}

PlantedOptions read_planted(const fs::path& folder) {
  const fs::path file = folder / "planted.yaml";
  if (!fs::exists(file)) {
    throw Error(fmt::format("{}: no planted.yaml here; `assay synthesize` writes planted data sets",
                            folder.string()));
  }
  PlantedOptions options;
  config::read_yaml(file.string(), {}, [&](config::Fields& f) { describe(f, options); });
  return options;
}

}  // namespace assay::sae
