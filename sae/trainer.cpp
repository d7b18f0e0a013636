#include "sae/trainer.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "data/atomic_file.h"
#include "data/dataset.h"
#include "data/stream.h"
#include "kernels/error.h"
#include "sae/checkpoint.h"
#include "sae/dictionary.h"
#include "sae/metrics_log.h"
#include "sae/progress.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kMedianTokens = 1 << 15;  // activations b_dec is initialised from

data::StreamOptions stream_options(const RunConfig& c) {
  data::StreamOptions o;
  o.hook = c.data.hook;
  o.batch = c.train.batch;
  o.lanes = static_cast<int>(c.data.lanes);
  o.window_chunks = c.data.window_chunks;
  o.seed = static_cast<uint64_t>(c.train.seed);
  o.readers = static_cast<int>(c.data.readers);
  o.include_special = c.data.include_special;
  o.rule = c.data.rule();
  return o;
}

VariantOptions variant_options(const RunConfig& c, const data::HookInfo& hook) {
  return {c.model, with_defaults(c.train, c.model, hook.d), hook.d, hook.d, hook.variance * hook.scale * hook.scale};
}

/// Settings that do not change the result may differ on resume.
bool free_to_change(const std::string& line) {
  static const std::set<std::string> keys{"threads",          "readers",          "log_every",
                                          "checkpoint_every", "keep_checkpoints", "path"};
  const size_t first = line.find_first_not_of(' ');
  return first != std::string::npos && keys.count(line.substr(first, line.find(':') - first)) > 0;
}

/// Throws UsageError naming the first setting that differs from the run's own.
void check_same_configuration(const fs::path& file, const std::string& resolved) {
  std::ifstream in(file);
  std::stringstream now(resolved);
  std::string before, after;
  while (std::getline(in, before) && std::getline(now, after)) {
    if (before != after && !free_to_change(before)) {
      throw UsageError(
          fmt::format("{}: the run has \"{}\", this configuration \"{}\": resume with the same settings or train into "
                      "another folder",
                      file.string(), before, after));
    }
  }
}

class Run {
 public:
  Run(Context& context, const RunConfig& config, const fs::path& folder)
      : context_(context),
        config_(config),
        folder_(folder),
        dataset_(data::Dataset::open(config.data.path)),
        hook_(dataset_.hook(config.data.hook)),
        stream_(dataset_, stream_options(config)),
        variant_(checked_variant()),
        state_(variant_->create()),
        batch_(config.train.batch * hook_.d) {}

  TrainSummary train(Resume resume, const volatile std::sig_atomic_t& stop) {
    Checkpoint checkpoint;
    if (!restore(resume, checkpoint)) start(checkpoint);
    MetricsLog log(folder_ / "metrics.jsonl", checkpoint.metrics);
    Progress progress(config_.train.steps);
    begun_ = logged_at_ = Clock::now();
    logged_step_ = state_.step;
    while (state_.step < config_.train.steps) {
      one_step(log);
      if (state_.step % config_.train.log_every == 0 || state_.step == config_.train.steps) report(log, progress);
      const bool last = state_.step == config_.train.steps;
      if (last || stop || state_.step % config_.train.checkpoint_every == 0) save(log);
      if (stop && !last) return summary(Outcome::interrupted);
    }
    save_dictionary();
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
                              config_.data.path, hook_.name, hook_.variance));
    }
    return make_variant(variant_options(config_, hook_));
  }

  bool restore(Resume resume, Checkpoint& checkpoint) {
    if (resume == Resume::never) return false;
    auto found = load_checkpoint(folder_, state_, [](const std::string& message) { spdlog::warn("{}", message); });
    if (!found) return false;
    check_same_configuration(folder_ / "config.yaml", config_.resolved_yaml);
    if (found->data_hash != dataset_.info().content_hash) {
      throw Error(
          fmt::format("{}: the activations have changed since the run's checkpoint (content hash {}, then {}): restore "
                      "them or train afresh",
                      config_.data.path, dataset_.info().content_hash, found->data_hash));
    }
    state_.screen.refresh(context_, state_.encoder());
    stream_.seek(found->position);
    checkpoint = std::move(*found);
    spdlog::info("resuming {} at step {}", folder_.string(), state_.step);
    return true;
  }

  void start(const Checkpoint&) {
    fs::create_directories(folder_);
    fs::remove(folder_ / "metrics.jsonl");
    data::write_file_atomically(folder_ / "config.yaml", config_.resolved_yaml);
    const data::StreamPosition origin = stream_.position();
    const int64_t batch = config_.train.batch, batches = (kMedianTokens + batch - 1) / batch;
    std::vector<float> sample(batches * batch * hook_.d);
    for (int64_t b = 0; b < batches; ++b) stream_.next({sample.data() + b * batch * hook_.d, batch, hook_.d});
    stream_.seek(origin);
    const ConstMatrix rows(sample.data(), batches * batch, hook_.d);
    variant_->initialise(context_, state_, static_cast<uint64_t>(config_.train.seed), {rows, rows});
  }

  void one_step(MetricsLog& log) {
    stream_.next({batch_.data(), config_.train.batch, hook_.d});
    const double lr = learning_rate(state_.step);
    NumericFlag flag;
    const ConstMatrix x(batch_.data(), config_.train.batch, hook_.d);
    last_ = variant_->step(context_, state_, {x, x}, lr, flag);
    if (flag.raised()) {
      const data::RowOrigin origin = stream_.origin(flag.row());
      throw Error(
          fmt::format("step {}: not finite at row {} of the batch ({}, row {}); the last good checkpoint in {} stands",
                      state_.step, flag.row(), origin.file, origin.row, (folder_ / "checkpoints").string()));
    }
    if (!std::isfinite(last_.loss)) {
      throw Error(fmt::format("step {}: the loss is not finite; lower train.lr; the last good checkpoint in {} stands",
                              state_.step, (folder_ / "checkpoints").string()));
    }
    log.add(last_);
  }

  double learning_rate(int64_t step) const {
    return variant_->options().train.lr * schedule_factor(config_.train, step);
  }

  void report(MetricsLog& log, Progress& progress) {
    const auto now = Clock::now();
    const int64_t batch = config_.train.batch;
    const double lr = learning_rate(state_.step - 1);
    line_ = log.write(state_.step, state_.step * batch, last_.dead, lr, (state_.step - logged_step_) * batch,
                      std::chrono::duration<double>(now - logged_at_).count());
    logged_at_ = now;
    logged_step_ = state_.step;
    progress.show(line_, state_.n);
  }

  void save(MetricsLog& log) {
    save_checkpoint(folder_, state_, {dataset_.info().content_hash, stream_.position(), log.sync()},
                    config_.train.keep_checkpoints);
  }

  void save_dictionary() const {
    const data::DatasetInfo& about = dataset_.info();
    Dictionary dictionary = variant_->dictionary(state_);
    DictionaryInfo& info = dictionary.info;
    info.model = about.model;
    info.revision = about.revision;
    info.hook = hook_.name == "activations" ? about.hook : hook_.name;
    info.scale = hook_.scale;
    info.data_hash = about.content_hash;
    info.split_rule = fmt::format("validation={},test={},seed={}", config_.data.validation, config_.data.test,
                                  config_.data.split_seed);
    info.tokens = state_.step * config_.train.batch;
    info.seed = static_cast<uint64_t>(config_.train.seed);
    const std::vector<float> scale(hook_.d, static_cast<float>(hook_.scale));
    dictionary.fold(scale, scale);
    dictionary.save(folder_ / "dictionary");
  }

  TrainSummary summary(Outcome outcome) const {
    return {outcome,
            state_.step,
            state_.step * config_.train.batch,
            last_.dead,
            line_.fvu,
            line_.l0,
            std::chrono::duration<double>(Clock::now() - begun_).count()};
  }

  Context& context_;
  const RunConfig& config_;
  fs::path folder_;
  data::Dataset dataset_;
  data::HookInfo hook_;
  data::ActivationStream stream_;
  std::unique_ptr<Variant> variant_;
  State state_;
  std::vector<float> batch_;
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
    check_same_configuration(run / "config.yaml", config.resolved_yaml);
    TrainSummary done;
    done.outcome = Outcome::already_finished;
    done.step = config.train.steps;
    done.tokens = config.train.steps * config.train.batch;
    return done;
  }
  return Run(context, config, run).train(resume, stop);
}

}  // namespace assay::sae
