#include "sae/trainer.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <optional>

#include "data/atomic_file.h"
#include "data/dataset.h"
#include "data/stream.h"
#include "kernels/error.h"
#include "sae/batch_origin.h"
#include "sae/checkpoint.h"
#include "sae/device_step.h"
#include "sae/dictionary.h"
#include "sae/ema.h"
#include "sae/metrics_log.h"
#include "sae/progress.h"
#include "sae/resample.h"
#include "sae/resume_check.h"
#include "sae/schedule.h"
#include "sae/tensorboard.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kSampleTokens = 1 << 15;  // activations that initialising and resampling look at

data::StreamOptions stream_options(const RunConfig& c, const volatile std::sig_atomic_t& stop) {
  data::StreamOptions o;
  o.interrupted = [&stop] { return stop != 0; };
  o.hook = c.data.hook;
  o.batch = c.train.step_rows();
  o.lanes = static_cast<int>(c.data.lanes);
  o.window_chunks = c.data.window_chunks;
  o.seed = static_cast<uint64_t>(c.train.seed);
  o.readers = static_cast<int>(c.data.readers);
  o.include_special = c.data.include_special;
  o.skip_corrupt = c.data.skip_corrupt;
  o.rule = c.data.rule();
  return o;
}

data::Sources open_sources(const RunConfig& c) {
  if (c.data.rolling) return data::Sources::open_rolling(c.data.path, c.data.rolling_wait);
  if (!c.data.mixture.empty()) return data::Sources::open_mixture(c.data.mixture);
  return data::Sources({{std::make_shared<const data::Dataset>(data::Dataset::open(c.data.path)), 1}});
}

VariantOptions variant_options(const RunConfig& c, const data::HookInfo& hook) {
  return {c.model, with_defaults(c.train, c.model, hook.d), hook.d, hook.d, hook.variance * hook.scale * hook.scale};
}

/// By the bits of the exponent, which the compiler turns into vector instructions.
bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad |= (std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
  return bad == 0;
}

CheckpointPolicy policy_of(const TrainConfig& c) {
  return {c.checkpoint_every, c.checkpoint_minutes, c.keep_checkpoints, c.keep_every};
}

class Run {
 public:
  Run(Context& context, const RunConfig& config, const fs::path& folder, const volatile std::sig_atomic_t& stop)
      : context_(context),
        config_(config),
        folder_(folder),
        sources_(open_sources(config)),
        hook_(sources_.hook(config.data.hook)),
        stream_(sources_, stream_options(config, stop)),
        variant_(checked_variant()),
        state_(variant_->create()),
        rows_(config.train.step_rows()),
        batch_(rows_ * hook_.d) {
    for (const std::string& line : stream_.skipped()) spdlog::warn("left out: {}", line);
    if (!stream_.skipped().empty()) spdlog::warn("{} corrupt chunk(s) left out", stream_.skipped().size());
    if (config.train.device == "cuda") device_.emplace(device_step_options(variant_->options(), rows_));
  }

  TrainSummary train(Resume resume, const volatile std::sig_atomic_t& stop) {
    if (config_.train.resample_every > 0) check_resampling(*variant_, state_);
    Checkpoint checkpoint;
    try {
      if (!restore(resume, checkpoint)) start();
    } catch (const data::Interrupted&) {  // nothing has been learnt yet
      return summary(Outcome::interrupted);
    }
    if (device_) device_->upload(host_state(state_));
    first_loss_ = checkpoint.first_loss;
    MetricsLog log(folder_ / "metrics.jsonl", checkpoint.metrics);
    if (config_.train.tensorboard) events_.emplace(folder_ / "tensorboard", checkpoint.event_bytes);
    Progress progress(config_.train.steps);
    begun_ = logged_at_ = Clock::now();
    logged_step_ = state_.step;
    const CheckpointPolicy policy = policy_of(config_.train);
    CheckpointClock clock(policy, begun_);
    while (state_.step < config_.train.steps) {
      try {
        one_step(log);
      } catch (const data::Interrupted&) {
        save(log, policy);
        return summary(Outcome::interrupted);
      }
      const bool last = state_.step == config_.train.steps;
      if (last || state_.step % config_.train.log_every == 0) report(log, progress);
      if (last || stop || clock.due(state_.step, Clock::now()) || stream_.can_release()) {
        save(log, policy);
        clock.written(Clock::now());
      }
      if (stop && !last) return summary(Outcome::interrupted);
    }
    if (config_.train.ema > 0) publish_average(context_, state_, variant_->geometry().unit_norm);
    try {
      save_dictionary(stop);
    } catch (const data::Interrupted&) {  // while it read validation rows; the last step's checkpoint stands
      return summary(Outcome::interrupted);
    }
    return summary(Outcome::finished);
  }

 private:
  std::unique_ptr<Variant> checked_variant() const {
    if (config_.model.k > config_.model.n) {
      throw UsageError(
          fmt::format("model.k = {} is larger than model.n = {}: set k ≤ n", config_.model.k, config_.model.n));
    }
    if (!(hook_.variance > 0)) {
      throw Error(fmt::format("{}: the activations of hook {} are constant (variance {}): nothing to learn",
                              sources_.info().path.string(), hook_.name, hook_.variance));
    }
    auto variant = make_variant(variant_options(config_, hook_));
    if (variant->needs_validation() && !(config_.data.validation > 0)) {
      throw UsageError("model.threshold = calibrated needs validation rows: set data.validation > 0");
    }
    return variant;
  }

  bool restore(Resume resume, Checkpoint& checkpoint) {
    if (resume == Resume::never) return false;
    clean_checkpoints(folder_);
    if (fs::exists(folder_ / "checkpoints")) check_same_configuration(folder_, config_.resolved_yaml);
    auto found = load_checkpoint(folder_, state_, [](const std::string& message) { spdlog::warn("{}", message); });
    if (!found) return false;
    if (found->data_hash != stream_.data_hash()) {
      throw Error(
          fmt::format("{}: the activations have changed since the run's checkpoint (content hash {}, then {}): restore "
                      "them or train afresh",
                      sources_.info().path.string(), stream_.data_hash(), found->data_hash));
    }
    state_.screen.refresh(context_, state_.encoder());
    stream_.seek(found->position);
    checkpoint = std::move(*found);
    last_good_ = checkpoint_folder(folder_, state_.step).string();
    spdlog::info("resuming {} at step {}", folder_.string(), state_.step);
    return true;
  }

  void start() {
    std::error_code failed;
    fs::create_directories(folder_, failed);
    if (failed) throw Error(fmt::format("{}: cannot create the run's folder: {}", folder_.string(), failed.message()));
    fs::remove(folder_ / "metrics.jsonl");
    data::write_file_atomically(folder_ / "config.yaml", config_.resolved_yaml);
    const std::vector<float> sample = peek();
    const ConstMatrix rows(sample.data(), static_cast<int64_t>(sample.size()) / hook_.d, hook_.d);
    variant_->initialise(context_, state_, static_cast<uint64_t>(config_.train.seed), {rows, rows});
    if (config_.train.ema > 0) start_average(state_);
  }

  /// The next kSampleTokens rows of the stream or a few more, which stays where it is.
  std::vector<float> peek() {
    const data::StreamPosition origin = stream_.position();
    const int64_t batches = (kSampleTokens + rows_ - 1) / rows_;
    std::vector<float> sample(batches * rows_ * hook_.d);
    for (int64_t b = 0; b < batches; ++b) next_rows(sample.data() + b * rows_ * hook_.d);
    stream_.seek(origin);
    return sample;
  }

  /// The next step's rows into `to`, all of them finite.
  void next_rows(float* to) {
    stream_.next(Matrix(to, rows_, hook_.d));
    int64_t bad = 0;
    while (bad < rows_ && all_finite(to + bad * hook_.d, hook_.d)) ++bad;
    if (bad == rows_) return;
    const data::RowOrigin origin = stream_.origin(bad);
    throw Error(fmt::format("step {}: {}, row {}: the activation is not finite; {}", state_.step + 1, origin.file,
                            origin.row, last_good()));
  }

  void one_step(MetricsLog& log) {
    if (device_) return queue_step(log);
    next_rows(batch_.data());
    const ConstMatrix x(batch_.data(), rows_, hook_.d);
    NumericFlag flag;
    last_ = variant_->step(context_, state_, {x, x}, learning_rate(state_.step), flag);
    if (flag.raised()) {
      diverged(state_.step + 1, fmt::format("a weight is not finite, or the code of row {} of the batch", flag.row()));
    }
    check_loss();
    log.add(last_, 1);
    if (config_.train.ema > 0) average(context_, state_, config_.train.ema);
    if (resampling_due(config_.train, state_.step)) resample();
  }

  void resample() {
    const std::vector<float> sample = peek();
    const ConstMatrix rows(sample.data(), static_cast<int64_t>(sample.size()) / hook_.d, hook_.d);
    const int64_t moved = resample_dead(context_, *variant_, state_, rows, static_cast<uint64_t>(config_.train.seed));
    spdlog::info("step {}: {} dead latents resampled", state_.step, moved);
  }

  /// On a device a step is only queued; what became of it shows when the log is due.
  void queue_step(MetricsLog& log) {
    next_rows(device_->input().data);
    device_->run(learning_rate(state_.step));
    if (++state_.step == 1) collect(log);
  }

  /// Waits for the steps queued and takes their means.
  void collect(MetricsLog& log) {
    if (!device_) return;
    const TopKStepReport r = device_->report();
    if (r.bad_step >= 0) {
      throw Error(fmt::format("step {}: a weight is not finite, or the code of row {} of the batch; {}; lower train.lr",
                              r.bad_step + 1, r.bad_row, last_good()));
    }
    if (r.steps == 0) return;
    last_ = {r.loss, 0, r.fvu, r.aux_loss, r.l0, r.dead};
    check_loss();
    log.add(last_, r.steps);
  }

  void check_loss() {
    const double error = last_.loss - last_.penalty;  // a penalty may begin large and be warmed up
    if (state_.step == 1) first_loss_ = error;
    const double limit = config_.train.divergence * std::max(1.0, first_loss_);
    if (!std::isfinite(last_.loss)) diverged(state_.step, "the loss is not finite");
    if (config_.train.divergence > 0 && error > limit) {
      diverged(state_.step,
               fmt::format("the loss is {:.4g}, over train.divergence = {:g} times max(1, the first step's {:.4g})",
                           error, config_.train.divergence, first_loss_));
    }
  }

  [[noreturn]] void diverged(int64_t step, const std::string& what) const {
    const std::string where = device_ ? "on a device it is a mean over the steps since the last look at it"
                                      : "the batch was " + batch_origin(stream_, rows_);
    throw Error(fmt::format("step {}: {}; {}; {}; lower train.lr", step, what, where, last_good()));
  }

  std::string last_good() const {
    return last_good_.empty() ? "there is no checkpoint yet" : "the last good checkpoint is " + last_good_;
  }

  /// Of optimiser step `step`, 0-based.
  double learning_rate(int64_t step) const {
    return variant_->options().train.lr * schedule_factor(config_.train, step);
  }

  void report(MetricsLog& log, Progress& progress) {
    collect(log);
    const auto now = Clock::now();
    line_ = log.write(state_.step, state_.step * rows_, last_.dead, learning_rate(state_.step - 1),
                      (state_.step - logged_step_) * rows_, std::chrono::duration<double>(now - logged_at_).count());
    logged_at_ = now;
    logged_step_ = state_.step;
    progress.show(line_, state_.n);
    if (events_) events_->add(line_.step, scalars_of(line_));
  }

  void save(MetricsLog& log, const CheckpointPolicy& policy) {
    collect(log);
    if (device_) device_->download(host_state(state_));
    const int64_t event_bytes = events_ ? events_->sync() : 0;
    last_good_ =
        save_checkpoint(folder_, state_,
                        {stream_.data_hash(), stream_.position(), log.sync(), event_bytes, first_loss_}, policy)
            .string();
    stream_.release();  // of a rolling cache: what this checkpoint has passed
  }

  /// On rows of the validation split, as many as b_dec was initialised from.
  void calibrate(const volatile std::sig_atomic_t& stop) {
    data::StreamOptions options = stream_options(config_, stop);
    options.split = data::Split::validation;
    options.lanes = 1;
    options.batch = kSampleTokens;
    data::ActivationStream validation(sources_, options);
    std::vector<float> rows(options.batch * hook_.d);
    validation.next(Matrix(rows.data(), options.batch, hook_.d));
    variant_->calibrate(context_, state_, {rows.data(), options.batch, hook_.d});
  }

  void save_dictionary(const volatile std::sig_atomic_t& stop) {
    const data::DatasetInfo& about = sources_.info();
    if (variant_->needs_validation()) calibrate(stop);
    Dictionary dictionary = variant_->dictionary(state_);
    DictionaryInfo& info = dictionary.info;
    info.model = about.model;
    info.revision = about.revision;
    info.hook = hook_.name == "activations" ? about.hook : hook_.name;
    info.scale = hook_.scale;
    info.data_hash = stream_.data_hash();
    info.split_rule = fmt::format("validation={},test={},seed={}", config_.data.validation, config_.data.test,
                                  config_.data.split_seed);
    info.tokens = state_.step * rows_;
    info.seed = static_cast<uint64_t>(config_.train.seed);
    const std::vector<float> scale(hook_.d, static_cast<float>(hook_.scale));
    dictionary.fold(scale, scale);
    dictionary.save(folder_ / "dictionary");
  }

  TrainSummary summary(Outcome outcome) const {
    return {outcome,
            state_.step,
            state_.step * rows_,
            last_.dead,
            line_.fvu,
            line_.l0,
            std::chrono::duration<double>(Clock::now() - begun_).count()};
  }

  Context& context_;
  const RunConfig& config_;
  fs::path folder_;
  data::Sources sources_;
  data::HookInfo hook_;
  data::ActivationStream stream_;
  std::unique_ptr<Variant> variant_;
  State state_;
  int64_t rows_;  // of an optimiser step
  std::vector<float> batch_;
  std::optional<DeviceTopKStep> device_;  // holds the state between checkpoints, where it is asked for
  std::optional<EventFile> events_;
  double first_loss_ = 0;
  std::string last_good_;
  StepReport last_;
  MetricsLog::Line line_{};
  Clock::time_point begun_, logged_at_;
  int64_t logged_step_ = 0;
};

}  // namespace

TrainSummary train(Context& context, const RunConfig& config, const fs::path& run, Resume resume,
                   const volatile std::sig_atomic_t& stop) {
  if (resume == Resume::never && (fs::exists(run / "checkpoints") || fs::exists(run / "dictionary"))) {
    throw UsageError(
        fmt::format("{}: already holds a run; use --resume auto to go on with it, or another --out", run.string()));
  }
  if (resume == Resume::automatic && fs::exists(run / "dictionary" / "cfg.json")) {
    check_same_configuration(run, config.resolved_yaml);
    TrainSummary done;
    done.outcome = Outcome::already_finished;
    done.step = config.train.steps;
    done.tokens = config.train.steps * config.train.step_rows();
    return done;
  }
  return Run(context, config, run, stop).train(resume, stop);
}

}  // namespace assay::sae
