// assay decode: sparse codes back into activations.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/base/lease.h"
#include "data/base/output_guard.h"
#include "data/codes_file.h"
#include "data/dataset.h"
#include "data/decoded_file.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "sae/dictionary.h"
#include "sae/formats/format.h"

namespace assay::commands {
namespace {

constexpr int64_t kBlock = 4096;  // rows

struct Options {
  std::filesystem::path dictionary, codes, activations, out;
  std::string hook = "activations";
  int threads = 0;
  bool json = false;
};

void check_fit(const Options& options, const data::CodesInfo& codes,
               const sae::Dictionary& dictionary, const std::string& hash) {
  const std::string file = options.codes.string(), folder = options.dictionary.string();
  if (codes.n != dictionary.info.n) {
    throw UsageError(fmt::format(
        "{}: codes over n = {} latents, the dictionary {} has n = {}: name the dictionary that "
        "made them",
        file, codes.n, folder, dictionary.info.n));
  }
  if (codes.d != 0 && codes.d != dictionary.info.d) {
    throw UsageError(
        fmt::format("{}: codes of activations with d = {}, the dictionary {} has d = {}", file,
                    codes.d, folder, dictionary.info.d));
  }
  if (!codes.dictionary_hash.empty() && codes.dictionary_hash != hash) {
    throw UsageError(
        fmt::format("{}: made by the dictionary {}, {} is {}: name the dictionary that made them, "
                    "or remove the "
                    "attribute dictionary_hash to decode them with this one",
                    file, codes.dictionary_hash, folder, hash));
  }
  if (dictionary.needs_input() && options.activations.empty()) {
    throw UsageError(fmt::format(
        "{}: the variant {} reconstructs from the activations as well as from their "
        "codes: codes alone cannot be decoded; name what was encoded with --activations",
        folder, dictionary.info.variant));
  }
}

/// What was encoded, row by row beside the codes; nothing where the dictionary does not ask for it.
class Inputs {
 public:
  Inputs(const Options& options, const sae::Dictionary& dictionary, int64_t rows)
      : hook_(options.hook), d_(dictionary.info.d) {
    if (!dictionary.needs_input()) return;
    dataset_.emplace(data::Dataset::open(options.activations));
    const int64_t found = dataset_->info().rows, d = dataset_->hook(hook_).d;
    if (found == rows && d == d_) return;
    throw UsageError(fmt::format(
        "{}: {} rows of d = {}; the codes stand for {} rows of d = {}: name what was encoded",
        options.activations.string(), found, d, rows, d_));
  }
  /// The next rows; they hold until the next call.
  ConstMatrix next(int64_t rows) {
    if (!dataset_) return {};
    buffer_.resize(static_cast<size_t>(rows * d_));
    const Matrix x(buffer_.data(), rows, d_);
    dataset_->read(hook_, first_, x);
    first_ += rows;
    return x;
  }

 private:
  std::string hook_;
  int64_t d_, first_ = 0;
  std::optional<data::Dataset> dataset_;
  std::vector<float> buffer_;
};

void run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  data::guard_file(options.out, {options.dictionary, options.codes, options.activations},
                   "decoded activations", data::is_decoded);
  const auto lease = data::lease_of_file(options.out);
  Context context({Device::cpu, options.threads});
  const sae::Dictionary dictionary = sae::formats::open_dictionary(options.dictionary);
  data::CodesReader reader = data::CodesReader::open(options.codes);
  const data::CodesInfo& codes_info = reader.info();
  const std::string hash = dictionary.hash();
  check_fit(options, codes_info, dictionary, hash);
  Inputs inputs(options, dictionary, codes_info.rows);
  const int64_t d = dictionary.info.width();
  data::ActivationsWriter writer(
      options.out, codes_info.rows, d,
      dictionary.info.target.empty() ? dictionary.info.hook : dictionary.info.target,
      codes_info.source_hash);
  std::vector<float> buffer(static_cast<size_t>(std::min(kBlock, codes_info.rows) * d));
  for (SparseCodes codes = reader.next(kBlock); codes.rows() > 0; codes = reader.next(kBlock)) {
    const Matrix out(buffer.data(), codes.rows(), d);
    dictionary.decode(context, codes, out, inputs.next(codes.rows()));
    writer.append(out);
  }
  writer.finish();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (!options.json) {
    fmt::print("{}: {} rows of d = {}, {:.1f} s\n", options.out.string(), codes_info.rows, d,
               seconds);
    return;
  }
  print_json(nlohmann::ordered_json{{"out", options.out.string()},
                                    {"rows", codes_info.rows},
                                    {"d", d},
                                    {"dictionary_hash", hash},
                                    {"source_hash", codes_info.source_hash},
                                    {"seconds", seconds}});
}

}  // namespace

void register_decode(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("decode", "Reconstruct activations from sparse codes");
  command->footer(
      "Reads what assay encode writes, or any HDF5 file with /row_offsets, /indices, /values and "
      "the attribute n;\n"
      "attributes d and dictionary_hash, where present, must be the dictionary's. Writes "
      "/activations float32 [B, d],\n"
      "unscaled, with checksums and statistics: assay itself can read the file again.");
  command->add_option("dictionary", options->dictionary, "Dictionary or run folder")->required();
  command->add_option("codes", options->codes, "Codes file (HDF5)")->required();
  command->add_option(
      "--activations", options->activations,
      "What was encoded (file or shards): a skip connection and normalised rows need it");
  command
      ->add_option("--hook", options->hook,
                   "Array of --activations: activations, or the NAME of /hooks/NAME")
      ->capture_default_str();
  command->add_option("--out", options->out, "HDF5 file to write; replaced when it is complete")
      ->required();
  add_threads(*command, options->threads);
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
