// assay bottleneck: an encoder trained by another program's gradient, batch by batch over standard input and output.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <bit>
#include <cmath>
#include <cstdio>
#include <memory>
#include <optional>
#include <vector>

#include "experiments/commands.h"
#include "experiments/config.h"
#include "kernels/error.h"
#include "sae/schedule.h"
#include "sae/variants/variants.h"

namespace assay::commands {
namespace {

static_assert(std::endian::native == std::endian::little, "the protocol is little-endian");

constexpr int64_t kMostRows = 1 << 24, kMostWidth = 1 << 20;

struct Options {
  std::string config, out;
  std::vector<std::string> overrides;
};

/// Numbers on standard input and output.
class Pipe {
 public:
  template <class T>
  void read(T* to, size_t count, const char* what) {
    if (std::fread(to, sizeof(T), count, stdin) != count) {
      throw Error(fmt::format("bottleneck: standard input ended within {}: nothing is saved", what));
    }
  }
  template <class T>
  T read(const char* what) {
    T value{};
    read(&value, 1, what);
    return value;
  }
  template <class T>
  void write(const T* from, size_t count) {
    if (std::fwrite(from, sizeof(T), count, stdout) != count) throw Error("bottleneck: standard output is closed");
  }
  template <class T>
  void write(T value) {
    write(&value, 1);
  }
  void flush() {
    if (std::fflush(stdout) != 0) throw Error("bottleneck: standard output is closed");
  }
};

/// The program at the other end gets the codes and answers with their gradient.
class Partner : public sae::OutsideLoss {
 public:
  explicit Partner(Pipe& pipe) : pipe_(pipe) {}

  sae::OutsideGradient differentiate(const sae::OutsideInput& input) override {
    const SparseCodes& codes = input.codes;
    if (codes.rows() != input.reconstruction.rows) {
      throw UsageError("bottleneck: this variant's nested groups give a row several sets of codes; choose another");
    }
    pipe_.write(codes.rows());
    pipe_.write(codes.pairs());
    pipe_.write(codes.row_offsets.data(), codes.row_offsets.size());
    pipe_.write(codes.indices.data(), codes.indices.size());
    pipe_.write(codes.values.data(), codes.values.size());
    pipe_.flush();
    sae::OutsideGradient result;
    result.loss = pipe_.read<double>("a loss");
    result.error_weight = pipe_.read<double>("a loss");
    const auto pairs = pipe_.read<int64_t>("a gradient");
    if (pairs != codes.pairs() || !std::isfinite(result.loss) || !(result.error_weight >= 0)) {
      throw UsageError(fmt::format("bottleneck: a gradient of {} numbers for {} codes, loss {}, error_weight {}", pairs,
                                   codes.pairs(), result.loss, result.error_weight));
    }
    result.d_codes.resize(static_cast<size_t>(pairs));
    pipe_.read(result.d_codes.data(), result.d_codes.size(), "a gradient");
    for (const float value : result.d_codes) {
      if (!std::isfinite(value)) throw Error("bottleneck: the gradient is not finite");
    }
    return result;
  }

 private:
  Pipe& pipe_;
};

class Bottleneck {
 public:
  Bottleneck(Context& context, const Config& config) : context_(context), config_(config) {}

  /// A batch [rows, d] of raw activations; the first one sets the scale, the variance and the initial weights.
  void step(std::vector<float> x, int64_t d, Partner& partner) {
    const auto rows = static_cast<int64_t>(x.size()) / d;
    if (!variant_) measure(x, d);
    if (d != d_) throw UsageError(fmt::format("bottleneck: a batch of width {}, the first had {}", d, d_));
    for (float& value : x) value = static_cast<float>(value * scale_);
    const ConstMatrix batch(x.data(), rows, d);
    if (!state_) {
      state_ = variant_->create();
      variant_->initialise(context_, *state_, static_cast<uint64_t>(config_.train.seed), {batch, batch});
    }
    if (state_->step == config_.train.steps) {
      throw UsageError(fmt::format("bottleneck: more batches than train.steps = {}", config_.train.steps));
    }
    NumericFlag flag;
    const double lr = variant_->options().train.lr * sae::schedule_factor(config_.train, state_->step);
    const double loss = variant_->step(context_, *state_, {batch, batch}, lr, flag, &partner).loss;
    if (flag.raised() || !std::isfinite(loss)) {
      throw Error(
          fmt::format("step {}: a weight, or row {} of the batch, is not finite", state_->step + 1, flag.row()));
    }
    tokens_ += rows;
  }

  void save(const std::string& out) const {
    if (!state_) throw UsageError("bottleneck: finished before the first batch: there is nothing to save");
    sae::Dictionary dictionary = variant_->dictionary(*state_);
    dictionary.info.scale = scale_;
    dictionary.info.tokens = tokens_;
    dictionary.info.seed = static_cast<uint64_t>(config_.train.seed);
    const std::vector<float> scale(static_cast<size_t>(d_), static_cast<float>(scale_));
    dictionary.fold(scale, scale);
    std::filesystem::create_directories(out);
    dictionary.save(std::filesystem::path(out) / "dictionary");
  }

  int64_t steps() const { return state_ ? state_->step : 0; }

 private:
  void measure(const std::vector<float>& x, int64_t d) {
    const double rows = static_cast<double>(x.size()) / static_cast<double>(d);
    double squares = 0, of_mean = 0;
    for (int64_t c = 0; c < d; ++c) {
      double sum = 0;
      for (size_t i = c; i < x.size(); i += d) {
        sum += x[i];
        squares += static_cast<double>(x[i]) * x[i];
      }
      of_mean += sum / rows * (sum / rows);
    }
    const double variance = squares / rows - of_mean;
    if (!(variance > 0)) throw Error("bottleneck: the first batch's rows are all alike or not finite");
    d_ = d;
    scale_ = 1 / std::sqrt(squares / rows);
    sae::require_one_hook("bottleneck", config_.model.variant);
    variant_ = sae::make_variant(
        {config_.model, with_defaults(config_.train, config_.model, d), d, d, variance * scale_ * scale_});
    if (variant_->needs_validation())
      throw UsageError("bottleneck: model.threshold = calibrated has no validation rows");
  }

  Context& context_;
  const Config& config_;
  int64_t d_ = 0, tokens_ = 0;
  double scale_ = 1;
  std::unique_ptr<sae::Variant> variant_;
  std::optional<sae::State> state_;
};

void run(const Options& options) {
  Config config;
  config::read_yaml(options.config, options.overrides, [&](config::Fields& f) { describe(f, config); });
  if (!config.data.path.empty() || !config.data.mixture.empty()) {
    throw UsageError(options.config + ": bottleneck gets its batches from standard input: leave data.path out");
  }
  if (std::filesystem::exists(std::filesystem::path(options.out) / "dictionary")) {
    throw UsageError(options.out + ": already holds a dictionary; choose another --out");
  }
  Context context({Device::cpu, static_cast<int>(config.train.threads)});
  Bottleneck bottleneck(context, config);
  Pipe pipe;
  Partner partner(pipe);
  for (;;) {
    const auto rows = pipe.read<int64_t>("the size of a batch"), d = pipe.read<int64_t>("the size of a batch");
    if (rows == 0) break;
    if (rows < 0 || rows > kMostRows || d < 1 || d > kMostWidth) {
      throw UsageError(fmt::format("bottleneck: a batch of {} rows of width {}", rows, d));
    }
    std::vector<float> x(static_cast<size_t>(rows * d));
    pipe.read(x.data(), x.size(), "a batch");
    bottleneck.step(std::move(x), d, partner);
    pipe.write(bottleneck.steps());
    pipe.flush();
  }
  bottleneck.save(options.out);
  pipe.write(bottleneck.steps());
  pipe.flush();
}

}  // namespace

void register_bottleneck(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("bottleneck", "Train an encoder by gradients that another program computes.");
  command->footer(
      "Talks on standard input and output, little-endian; sae/python/bottleneck.py does it for torch. In: rows, d\n"
      "(int64), rows·d activations (float32). Out: rows, pairs, rows+1 offsets (int64), indices (int32), values\n"
      "(float32). In: loss, error_weight (float64), pairs (int64), the loss's gradient by each value (float32). Out:\n"
      "steps taken (int64), and so on; rows = 0 saves RUN/dictionary and ends. See docs/variants.md.");
  command->add_option("config", options->config, "YAML configuration: sections model and train.")->required();
  command->add_option("--out", options->out, "Run folder for dictionary/.")->required();
  command->add_option("--set", options->overrides, "Override a setting: --set train.steps=100 (repeatable).")
      ->allow_extra_args(false);
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
