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
#include <optional>

#include "data/base/lease.h"
#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/codes_file.h"
#include "data/dataset.h"
#include "data/split.h"
#include "data/split_rule.h"
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
  std::filesystem::path dictionary, source, out;
  std::string hook = "activations", fvu;
  int threads = 0;
  bool json = false;
};

/// An array of the data set and the columns it takes where several stand side by side.
struct Columns {
  std::string array;
  int64_t first, d;
};

/// What the dictionary encodes.
std::vector<Columns> inputs_of(const Options& options, const sae::DictionaryInfo& info) {
  if (info.hooks.empty()) return {{options.hook, 0, info.d}};
  if (options.hook != "activations") {
    throw UsageError(
        fmt::format("--hook {}: the dictionary {} names the {} arrays it encodes together itself",
                    options.hook, options.dictionary.string(), info.hooks.size()));
  }
  std::vector<Columns> columns;
  int64_t first = 0;
  for (const sae::DictionaryHook& hook : info.hooks) {
    columns.push_back({hook.name, first, hook.d});
    first += hook.d;
  }
  return columns;
}

/// What it reconstructs.
std::vector<Columns> targets_of(const std::vector<Columns>& inputs,
                                const sae::DictionaryInfo& info) {
  if (info.target.empty()) return inputs;
  return {{info.target, 0, info.width()}};
}

void check_fit(const Options& options, const data::Dataset& dataset,
               const sae::Dictionary& dictionary, const std::vector<Columns>& columns) {
  for (const Columns& c : columns) {
    const data::HookInfo& hook = dataset.hook(c.array);
    if (hook.d == c.d) continue;
    throw UsageError(fmt::format(
        "{}: hook {} has d = {}, the dictionary {} d = {}: encode what it was trained on",
        options.source.string(), hook.name, hook.d, options.dictionary.string(), c.d));
  }
  const std::string& ours = dataset.info().model;
  const std::string& theirs = dictionary.info.model;
  if (!ours.empty() && !theirs.empty() && ours != theirs) {
    data::say(fmt::format(
        "encode: warning: {} holds activations of model '{}', the dictionary was trained on '{}'\n",
        options.source.string(), ours, theirs));
  }
}

/// Throws Error naming file, row and column of a value that is not finite. x holds the rows from
/// `first` on.
void check_finite(const data::Dataset& dataset, int64_t first, ConstMatrix x) {
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t c = 0; c < x.cols; ++c) {
      if (std::isfinite(x.row(i)[c])) continue;
      const auto [file, row] = dataset.row_place(first + i);
      throw Error(fmt::format("{}: row {}, column {} is {}: activations must be finite", file, row,
                              c, x.row(i)[c]));
    }
  }
}

void read_columns(const data::Dataset& dataset, const std::vector<Columns>& columns, int64_t first,
                  Matrix x) {
  for (const Columns& c : columns) {
    const Matrix part(x.data + c.first, x.rows, c.d, x.stride);
    dataset.read(c.array, first, part);
    check_finite(dataset, first, part);
  }
}

/// FVU over the rows of one split that are neither special nor sinks.
class Fvu {
 public:
  Fvu(const Options& options, const data::Dataset& dataset, const sae::Dictionary& dictionary)
      : dataset_(dataset),
        dictionary_(dictionary),
        sums_(static_cast<size_t>(dictionary.info.width())) {
    if (options.fvu == "all") return;
    split_ = data::parse_split(options.fvu);
    rule_ = data::parse_split_rule(dictionary.info.split_rule);
    if (rule_) return;
    throw UsageError(fmt::format(
        "--fvu {}: the dictionary {} does not say how its training split the documents: use "
        "--fvu all",
        options.fvu, options.dictionary.string()));
  }

  void add(Context& context, const std::vector<Columns>& targets, int64_t first, ConstMatrix x,
           const SparseCodes& codes) {
    const int64_t d = dictionary_.info.width();
    decoded_.resize(static_cast<size_t>(x.rows * d));
    ConstMatrix truth = x;
    if (!dictionary_.info.target.empty()) {
      target_.resize(decoded_.size());
      const Matrix target(target_.data(), x.rows, d);
      read_columns(dataset_, targets, first, target);
      truth = target;
    }
    dictionary_.decode(context, codes, Matrix(decoded_.data(), x.rows, d), x);
    for (int64_t i = 0; i < x.rows; ++i) {
      const auto row = static_cast<size_t>(first + i);
      if (dataset_.left_out()[row]) continue;
      if (rule_ && data::split_of(dataset_.document()[row], *rule_) != split_) continue;
      ++rows_;
      active_ += std::count_if(codes.values.begin() + codes.row_offsets[i],
                               codes.values.begin() + codes.row_offsets[i + 1],
                               [](float v) { return v > 0; });
      for (int64_t c = 0; c < d; ++c) {
        const double y = truth.row(i)[c], error = y - decoded_[i * d + c];
        sums_[c] += y;
        squares_ += y * y;
        errors_ += error * error;
      }
    }
  }

  int64_t rows() const { return rows_; }
  /// Mean over the same rows.
  double l0() const { return static_cast<double>(active_) / static_cast<double>(rows_); }
  /// Throws Error where nothing varies.
  double value() const {
    double deviation = squares_;
    for (const double sum : sums_) deviation -= sum * sum / static_cast<double>(rows_);
    if (rows_ > 1 && deviation > 0) return errors_ / deviation;
    throw Error(fmt::format(
        "{}: the {} rows that --fvu asks for do not vary, so there is no FVU: choose another split",
        dataset_.info().path.string(), rows_));
  }

 private:
  const data::Dataset& dataset_;
  const sae::Dictionary& dictionary_;
  data::Split split_ = data::Split::train;
  std::optional<data::SplitRule> rule_;
  std::vector<float> target_, decoded_;
  std::vector<double> sums_;
  double squares_ = 0, errors_ = 0;
  int64_t rows_ = 0, active_ = 0;
};

struct Totals {
  int64_t pairs = 0, active = 0, fvu_rows = 0;
  double fvu = 0, fvu_l0 = 0;
};

Totals encode_all(Context& context, const Options& options, const data::Dataset& dataset,
                  const sae::Dictionary& dictionary, const std::vector<Columns>& inputs,
                  data::CodesWriter& writer) {
  Totals totals;
  const int64_t rows = dataset.info().rows, d = dictionary.info.d;
  const std::vector<Columns> targets = targets_of(inputs, dictionary.info);
  std::optional<Fvu> fvu;
  if (!options.fvu.empty()) {
    check_fit(options, dataset, dictionary, targets);
    fvu.emplace(options, dataset, dictionary);
  }
  std::vector<float> buffer(static_cast<size_t>(std::min(kBlock, rows) * d));
  for (int64_t first = 0; first < rows; first += kBlock) {
    const Matrix x(buffer.data(), std::min(kBlock, rows - first), d);
    read_columns(dataset, inputs, first, x);
    const SparseCodes codes = dictionary.encode(context, x);
    writer.append(codes);
    if (fvu) fvu->add(context, targets, first, x, codes);
    totals.pairs += codes.pairs();
    totals.active +=
        std::count_if(codes.values.begin(), codes.values.end(), [](float v) { return v > 0; });
  }
  if (fvu) totals.fvu = fvu->value(), totals.fvu_l0 = fvu->l0(), totals.fvu_rows = fvu->rows();
  return totals;
}

void print(const Options& options, const data::CodesInfo& info, const Totals& totals,
           double seconds) {
  const double l0 =
      info.rows > 0 ? static_cast<double>(totals.active) / static_cast<double>(info.rows) : 0;
  if (!options.json) {
    const std::string fvu =
        options.fvu.empty() ? ""
                            : fmt::format(", FVU {:.4f} at L0 {:.2f} on {} rows ({})", totals.fvu,
                                          totals.fvu_l0, totals.fvu_rows, options.fvu);
    fmt::print("{}: {} rows, {} pairs over n = {} latents, L0 {:.2f}{}, {:.1f} s\n",
               options.out.string(), info.rows, totals.pairs, info.n, l0, fvu, seconds);
    return;
  }
  nlohmann::ordered_json json{{"out", options.out.string()},
                              {"rows", info.rows},
                              {"pairs", totals.pairs},
                              {"n", info.n},
                              {"d", info.d},
                              {"k", info.k},
                              {"l0", l0},
                              {"hook", info.hook},
                              {"dictionary_hash", info.dictionary_hash},
                              {"source_hash", info.source_hash},
                              {"seconds", seconds}};
  if (!options.fvu.empty())
    json["fvu"] = totals.fvu, json["fvu_l0"] = totals.fvu_l0, json["fvu_rows"] = totals.fvu_rows;
  print_json(json);
}

void run(const Options& options) {
  const auto start = std::chrono::steady_clock::now();
  data::guard_file(options.out, {options.dictionary, options.source}, "codes", data::is_codes);
  const auto lease = data::lease_of_file(options.out);
  Context context({Device::cpu, options.threads});
  const sae::Dictionary dictionary = sae::formats::open_dictionary(options.dictionary);
  const data::Dataset dataset = data::Dataset::open(options.source);
  const std::vector<Columns> inputs = inputs_of(options, dictionary.info);
  check_fit(options, dataset, dictionary, inputs);
  const int64_t rows = dataset.info().rows;
  const sae::DictionaryInfo& about = dictionary.info;
  std::string hooks;
  for (const Columns& c : inputs) hooks += (hooks.empty() ? "" : "+") + c.array;
  const data::CodesInfo info{rows,
                             rows * std::max<int64_t>(1, about.k),
                             about.n,
                             about.d,
                             about.k,
                             about.variant,
                             dictionary.hash(),
                             dataset.info().content_hash,
                             hooks};
  data::CodesWriter writer(options.out, info);
  const Totals totals = encode_all(context, options, dataset, dictionary, inputs, writer);
  writer.finish();
  print(options, info, totals,
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
}

}  // namespace

void register_encode(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("encode", "Encode activations with a dictionary into sparse codes (CSR)");
  command->footer(
      "The codes file is HDF5: /row_offsets int64 [B+1], /indices int32, /values float32; root "
      "attributes n, d, k,\n"
      "variant, dictionary_hash, source_hash and hook. Values are ReLU'd and stand for raw "
      "(unscaled) activations;\n"
      "TopK keeps exactly k pairs a row, some of which may be 0. source_hash is empty where the "
      "activations carry no\n"
      "checksums (assay index makes them). In Python:\n"
      "  f = h5py.File('codes.h5'); n = f.attrs['n']; B = len(f['row_offsets']) - 1\n"
      "  codes = scipy.sparse.csr_matrix((f['values'][:], f['indices'][:], f['row_offsets'][:]), "
      "(B, n))");
  command->add_option("dictionary", options->dictionary, "Dictionary or run folder")->required();
  command
      ->add_option("activations", options->source,
                   "HDF5 file with /activations, or folder of shards")
      ->required();
  command->add_option("--out", options->out, "Codes file to write; replaced when it is complete")
      ->required();
  command
      ->add_option("--hook", options->hook,
                   "Array to encode: activations, or the NAME of /hooks/NAME")
      ->capture_default_str();
  command
      ->add_option("--fvu", options->fvu,
                   "Reconstruct too, and report FVU and L0 over the rows of this split of the "
                   "training run that are not "
                   "special; what a transcoder reconstructs must be in the data")
      ->check(CLI::IsMember({"all", "train", "validation", "test"}));
  add_threads(*command, options->threads);
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
