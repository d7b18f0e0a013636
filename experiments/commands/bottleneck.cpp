// assay bottleneck: an encoder trained by another program's gradient, batch by batch over standard
// input and output.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <bit>
#include <charconv>
#include <cmath>
#include <csignal>
#include <memory>
#include <optional>
#include <vector>

#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/base/stop_signal.h"
#include "experiments/commands/bottleneck_pipe.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/config.h"
#include "kernels/base/error.h"
#include "sae/plan.h"
#include "sae/resume_check.h"
#include "sae/run_checkpoints.h"
#include "sae/schedule.h"
#include "sae/units.h"
#include "sae/unused_settings.h"
#include "sae/variants/variants.h"

namespace assay::commands {
namespace {

static_assert(std::endian::native == std::endian::little, "the protocol is little-endian");

constexpr int64_t kMostRows = 1 << 24, kMostWidth = 1 << 20;

struct Options {
  std::string config, out, resume = "never";
  std::vector<std::string> overrides;
};

class Bottleneck {
 public:
  Bottleneck(Context& context, const Config& config, std::filesystem::path out)
      : context_(context),
        config_(config),
        out_(std::move(out)),
        resolved_(yaml_of(config)),
        checkpoints_(out_, sae::policy_of(config.train)) {}

  /// Goes on from the newest checkpoint, where there is one, or from that of step `at`, unless the
  /// run is finished.
  void resume(sae::Resume resume, std::optional<int64_t> at) {
    sae::already_finished(out_, resolved_, resume);  // refused without a trace
    checkpoints_.claim();
    finished_ = sae::already_finished(out_, resolved_, resume);
    if (resume == sae::Resume::never) return;
    if (std::filesystem::exists(out_ / "checkpoints"))
      sae::check_same_configuration(out_, resolved_);
    auto found = checkpoints_.restore(
        context_, [&](const sae::Checkpoint& c) { return create(c); },
        finished_ ? std::nullopt : at);
    if (!found) return;
    state_ = std::move(found->state);
    if (units_.centred) units_.shift = state_->at("shift").value;
    tokens_ = static_cast<int64_t>(found->checkpoint.own.at("tokens"));
    saved_ = state_->step;
  }

  /// A batch [rows, d] of raw activations; the first one sets the training units, the variance and
  /// the initial weights.
  void step(std::vector<float> x, int64_t d, Partner& partner) {
    const auto rows = static_cast<int64_t>(x.size()) / d;
    if (finished_)
      throw UsageError(fmt::format("{}: already finished at step {}", out_.string(), steps()));
    if (!variant_) measure(x, d);
    if (d != d_)
      throw UsageError(fmt::format("bottleneck: a batch of width {}, the first had {}", d, d_));
    for (int64_t i = 0; i < rows; ++i) units_.apply(x.data() + i * d);
    const ConstMatrix batch(x.data(), rows, d);
    if (!state_) start({batch, batch});
    if (state_->step == config_.train.steps) {
      throw UsageError(
          fmt::format("bottleneck: more batches than train.steps = {}", config_.train.steps));
    }
    NumericFlag flag;
    const double lr =
        variant_->options().train.lr * sae::schedule_factor(config_.train, state_->step);
    const double loss = variant_->step(context_, *state_, {batch, batch}, lr, flag, &partner).loss;
    if (flag.raised() || !std::isfinite(loss)) {
      throw Error(fmt::format("step {}: a weight, or row {} of the batch, is not finite; {}",
                              state_->step + 1, flag.row(), checkpoints_.last_good()));
    }
    tokens_ += rows;
    if (checkpoints_.due(state_->step)) checkpoint(sae::Writing::behind);
  }

  /// Of the steps taken, unless it stands already.
  void checkpoint(sae::Writing when = sae::Writing::now) {
    if (steps() == saved_) {
      if (when == sae::Writing::now) checkpoints_.settle();
      return;
    }
    sae::Checkpoint checkpoint;
    checkpoint.own = {{"d", static_cast<double>(d_)},
                      {"scale", units_.scale.front()},
                      {"variance", variance_},
                      {"tokens", static_cast<double>(tokens_)},
                      {"centred", units_.centred ? 1 : 0}};
    checkpoints_.save(*state_, checkpoint, when);
    saved_ = steps();
  }

  void finish() {
    if (!state_)
      throw UsageError("bottleneck: finished before the first batch: there is nothing to save");
    if (finished_) return;
    checkpoint();
    sae::Dictionary dictionary = variant_->dictionary(*state_);
    dictionary.info.scale = units_.scale.front();
    dictionary.info.tokens = tokens_;
    dictionary.info.seed = static_cast<uint64_t>(config_.train.seed);
    dictionary.fold(units_, units_);
    dictionary.save(out_ / "dictionary");
  }

  int64_t steps() const { return state_ ? state_->step : 0; }
  std::string last_good() { return checkpoints_.last_good(); }

 private:
  void measure(const std::vector<float>& x, int64_t d) {
    const double rows = static_cast<double>(x.size()) / static_cast<double>(d);
    double squares = 0, of_mean = 0;
    data::HookInfo hook;
    hook.name = "the first batch";
    hook.d = d;
    for (int64_t c = 0; c < d; ++c) {
      double sum = 0;
      for (size_t i = c; i < x.size(); i += d) {
        sum += x[i];
        squares += static_cast<double>(x[i]) * x[i];
      }
      of_mean += sum / rows * (sum / rows);
      hook.mean.push_back(static_cast<float>(sum / rows));
    }
    hook.variance = squares / rows - of_mean;
    hook.scale = 1 / std::sqrt(squares / rows);
    if (!(hook.variance > 0))
      throw Error("bottleneck: the first batch's rows are all alike or not finite");
    make_variant(d, sae::units_of({hook}, "bottleneck"), hook.variance);
  }

  void make_variant(int64_t d, sae::Units units, double variance) {
    d_ = d;
    units_ = std::move(units);
    variance_ = variance;
    sae::require_one_hook("bottleneck", config_.model.variant);
    const double scale = units_.scale.front();
    const sae::VariantOptions options{config_.model, with_defaults(config_.train, config_.model, d),
                                      d, d, variance * scale * scale};
    sae::require_memory({{{}, options}});
    variant_ = sae::make_variant(options);
    if (variant_->needs_validation()) {
      throw UsageError("bottleneck: model.threshold = calibrated has no validation rows");
    }
  }

  sae::State create(const sae::Checkpoint& checkpoint) {
    const auto own = [&](const char* name) {
      const auto found = checkpoint.own.find(name);
      if (found == checkpoint.own.end() || !(found->second > 0)) {
        throw Error(fmt::format("{}: not a checkpoint of assay bottleneck: it has no {}",
                                out_.string(), name));
      }
      return found->second;
    };
    own("tokens");
    if (own("d") > kMostWidth)
      throw Error(fmt::format("{}: a checkpoint of width {}", out_.string(), own("d")));
    const auto d = static_cast<size_t>(own("d"));
    const bool centred = checkpoint.own.count("centred") > 0 && checkpoint.own.at("centred") > 0;
    make_variant(static_cast<int64_t>(d),
                 {std::vector<float>(d), std::vector<double>(d, own("scale")), centred},
                 own("variance"));
    return create();
  }

  /// With the shift of the rows beside the variant's parameters, for the checkpoints to keep.
  sae::State create() const {
    sae::State state = variant_->create();
    if (units_.centred) {
      state.add("shift", {d_});
      state.at("shift").value = units_.shift;
    }
    return state;
  }

  void start(const sae::Batch& sample) {
    state_ = create();
    variant_->initialise(context_, *state_, static_cast<uint64_t>(config_.train.seed), sample);
    sae::keep_configuration(out_, resolved_);
  }

  Context& context_;
  const Config& config_;
  std::filesystem::path out_;
  std::string resolved_;
  sae::RunCheckpoints checkpoints_;
  int64_t d_ = 0, tokens_ = 0, saved_ = 0;  // saved_: the step of the last checkpoint
  sae::Units units_;
  double variance_ = 1;
  bool finished_ = false;
  std::unique_ptr<sae::Variant> variant_;
  std::optional<sae::State> state_;
};

/// Batches until the other program asks for the end.
void serve(Bottleneck& bottleneck, Pipe& pipe, const volatile std::sig_atomic_t& stop) {
  Partner partner(pipe);
  for (;;) {
    pipe.write(bottleneck.steps());
    pipe.flush();
    if (stop != 0) throw Ended("stopped by a signal");
    const auto rows = pipe.read<int64_t>("the size of a batch"),
               d = pipe.read<int64_t>("the size of a batch");
    if (rows == 0 && d == 0) return;
    if (rows == 0 && d == 1) {
      bottleneck.checkpoint();
      continue;
    }
    if (rows < 1 || rows > kMostRows || d < 1 || d > kMostWidth) {
      throw UsageError(fmt::format("bottleneck: a batch of {} rows of width {}", rows, d));
    }
    std::vector<float> x(static_cast<size_t>(rows * d));
    pipe.read(x.data(), x.size(), "a batch");
    bottleneck.step(std::move(x), d, partner);
  }
}

/// The step that --resume names, if it names one.
std::optional<int64_t> step_named(const std::string& resume) {
  int64_t step = 0;
  const char* end = resume.data() + resume.size();
  const auto [rest, error] = std::from_chars(resume.data(), end, step);
  if (resume == "auto" || resume == "never") return std::nullopt;
  if (error == std::errc() && rest == end && step >= 0) return step;
  throw UsageError(
      fmt::format("--resume {}: expected auto, never or the step of a checkpoint", resume));
}

void run(const Options& options) {
  Config config;
  config::read_yaml(options.config, options.overrides,
                    [&](config::Fields& f) { describe(f, config); });
  if (!config.data.path.empty() || !config.data.mixture.empty()) {
    throw UsageError(options.config +
                     ": bottleneck gets its batches from standard input: leave data.path out");
  }
  sae::check_settings(config.model, config.train);
  data::guard_folder(options.out, {}, {data::FolderKind::run});
  const std::optional<int64_t> at = step_named(options.resume);
  data::stop_on_signals();
  Context context({Device::cpu, static_cast<int>(config.train.threads)});
  Bottleneck bottleneck(context, config, options.out);
  bottleneck.resume(options.resume == "never" ? sae::Resume::never : sae::Resume::automatic, at);
  Pipe pipe(data::stop_requested());
  try {
    serve(bottleneck, pipe, data::stop_requested());
    bottleneck.finish();
    pipe.write(bottleneck.steps());
    pipe.flush();
  } catch (const Ended& ended) {
    bottleneck.checkpoint();
    const std::string where = fmt::format("bottleneck: {} after step {}; {}; --resume auto goes on",
                                          ended.what(), bottleneck.steps(), bottleneck.last_good());
    if (data::stop_requested() == 0) throw Error(where);
    data::note(where);
    throw CLI::RuntimeError(data::kRequeue);
  }
}

}  // namespace

void register_bottleneck(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bottleneck", "Train an encoder by gradients that another program computes.");
  command->footer(
      "Talks on standard input and output, little-endian; sae/python/bottleneck.py does it for "
      "torch. Out: steps "
      "taken\n"
      "(int64; 0, or where a resumed run stands). In: rows, d (int64), rows·d activations "
      "(float32). Out: rows, "
      "pairs,\n"
      "rows+1 offsets (int64), indices (int32), values (float32). In: loss, error_weight "
      "(float64), pairs (int64), "
      "the\n"
      "loss's gradient by each value (float32). Out: steps taken, and so on. In, as rows and d: 0 "
      "and 1 write a\n"
      "checkpoint (out: steps taken), 0 and 0 save RUN/dictionary and end (out: steps taken).\n"
      "Checkpoints are also written as train.checkpoint_every and the settings beside it say, "
      "where the other program\n"
      "ends (then the status is 1), and on SIGTERM, SIGHUP, SIGUSR1 and SIGINT (75); a step whose "
      "gradient "
      "has not come is "
      "then\n"
      "as if it had not begun. See docs/variants.md.");
  command->add_option("config", options->config, "YAML configuration: sections model and train.")
      ->required();
  command->add_option("--out", options->out, "Run folder: config.yaml, checkpoints/, dictionary/.")
      ->required();
  command->add_option(
      "--resume", options->resume,
      "auto: go on from the newest checkpoint, or start; never: refuse a folder that holds a run; "
      "a\n"
      "number: from the checkpoint of that step (0: from the start), removing later ones.");
  add_overrides(*command, options->overrides, "train.steps=100");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
