// assay encode: activations through a dictionary into sparse codes on disk.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/codes_file.h"
#include "data/dataset.h"
#include "experiments/commands.h"
#include "kernels/error.h"
#include "sae/dictionary.h"

namespace assay::commands {
namespace {

constexpr int64_t kBlock = 4096;  // rows

struct Options {
  std::filesystem::path dictionary, source, out;
  std::string hook = "activations";
  int threads = 0;
  bool json = false;
};

void check_fit(const Options& options, const data::Dataset& dataset, const sae::Dictionary& dictionary) {
  const data::HookInfo& hook = dataset.hook(options.hook);
  if (hook.d != dictionary.info.d) {
    throw UsageError(fmt::format("{}: hook {} has d = {}, the dictionary {} d = {}: encode what it was trained on",
                                 options.source.string(), hook.name, hook.d, options.dictionary.string(),
                                 dictionary.info.d));
  }
  std::error_code missing;
  if (std::filesystem::equivalent(options.source, options.out, missing)) {
    throw UsageError(options.out.string() + ": --out names the activations themselves: give the codes another name");
  }
  const std::string& ours = dataset.info().model;
  const std::string& theirs = dictionary.info.model;
  if (!ours.empty() && !theirs.empty() && ours != theirs) {
    fmt::print(stderr, "encode: warning: {} holds activations of model '{}', the dictionary was trained on '{}'\n",
               options.source.string(), ours, theirs);
  }
}

/// Throws Error naming file, row and column of a value that is not finite. x holds the rows from `first` on.
void check_finite(const data::Dataset& dataset, int64_t first, ConstMatrix x) {
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t c = 0; c < x.cols; ++c) {
      if (std::isfinite(x.row(i)[c])) continue;
      const auto& chunks = dataset.chunks();
      const auto after = std::upper_bound(chunks.begin(), chunks.end(), first + i,
                                          [](int64_t row, const data::ChunkInfo& chunk) { return row < chunk.first; });
      const int64_t chunk = after - chunks.begin() - 1;
      const auto [file, start] = dataset.chunk_place(chunk);
      throw Error(fmt::format("{}: row {}, column {} is {}: activations must be finite", file,
                              start + first + i - chunks[static_cast<size_t>(chunk)].first, c, x.row(i)[c]));
    }
  }
}

struct Totals {
  int64_t pairs = 0, active = 0;
};

Totals encode_all(Context& context, const Options& options, const data::Dataset& dataset,
                  const sae::Dictionary& dictionary, data::CodesWriter& writer) {
  Totals totals;
  const int64_t rows = dataset.info().rows, d = dictionary.info.d;
  std::vector<float> buffer(static_cast<size_t>(std::min(kBlock, rows) * d));
  for (int64_t first = 0; first < rows; first += kBlock) {
    const Matrix x(buffer.data(), std::min(kBlock, rows - first), d);
    dataset.read(options.hook, first, x);
    check_finite(dataset, first, x);
    const SparseCodes codes = dictionary.encode(context, x);
    writer.append(codes);
    totals.pairs += codes.pairs();
    totals.active += std::count_if(codes.values.begin(), codes.values.end(), [](float v) { return v > 0; });
  }
  return totals;
}

void run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  Context context({Device::cpu, options.threads});
  const sae::Dictionary dictionary = sae::Dictionary::load(options.dictionary);
  const data::Dataset dataset = data::Dataset::open(options.source);
  check_fit(options, dataset, dictionary);
  const int64_t rows = dataset.info().rows;
  const sae::DictionaryInfo& about = dictionary.info;
  const data::CodesInfo info{rows,        rows * about.k, about.n,           about.d,
                             about.k,     about.variant,  dictionary.hash(), dataset.info().content_hash,
                             options.hook};
  data::CodesWriter writer(options.out, info);
  const Totals totals = encode_all(context, options, dataset, dictionary, writer);
  writer.finish();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double l0 = rows > 0 ? static_cast<double>(totals.active) / static_cast<double>(rows) : 0;
  if (!options.json) {
    fmt::print("{}: {} rows, {} pairs over n = {} latents, L0 {:.2f}, {:.1f} s\n", options.out.string(), rows,
               totals.pairs, about.n, l0, seconds);
    return;
  }
  fmt::print("{}\n", nlohmann::ordered_json{{"out", options.out.string()},
                                            {"rows", rows},
                                            {"pairs", totals.pairs},
                                            {"n", about.n},
                                            {"d", about.d},
                                            {"k", about.k},
                                            {"l0", l0},
                                            {"hook", options.hook},
                                            {"dictionary_hash", info.dictionary_hash},
                                            {"source_hash", info.source_hash},
                                            {"seconds", seconds}}
                         .dump());
}

}  // namespace

void register_encode(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("encode", "Encode activations with a dictionary into sparse codes (CSR)");
  command->footer(
      "The codes file is HDF5: /row_offsets int64 [B+1], /indices int32, /values float32; root attributes n, d, k,\n"
      "variant, dictionary_hash, source_hash and hook. Values are ReLU'd and stand for raw (unscaled) activations;\n"
      "TopK keeps exactly k pairs a row, some of which may be 0. source_hash is empty where the activations carry no\n"
      "checksums (assay index makes them). In Python:\n"
      "  f = h5py.File('codes.h5'); n = f.attrs['n']; B = len(f['row_offsets']) - 1\n"
      "  codes = scipy.sparse.csr_matrix((f['values'][:], f['indices'][:], f['row_offsets'][:]), (B, n))");
  command->add_option("dictionary", options->dictionary, "Dictionary or run folder")->required();
  command->add_option("activations", options->source, "HDF5 file with /activations, or folder of shards")->required();
  command->add_option("--out", options->out, "Codes file to write; replaced when it is complete")->required();
  command->add_option("--hook", options->hook, "Array to encode: activations, or the NAME of /hooks/NAME")
      ->capture_default_str();
  command->add_option("--threads", options->threads, "Compute threads (0: the processors); never changes the result")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
