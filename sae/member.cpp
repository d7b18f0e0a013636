#include "sae/member.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "data/base/say.h"
#include "data/split_rule.h"
#include "sae/batch_origin.h"
#include "sae/device_step.h"
#include "sae/dictionary.h"
#include "sae/ema.h"
#include "sae/frozen.h"
#include "sae/resample.h"
#include "sae/resume_check.h"
#include "sae/schedule.h"
#include "sae/variants/variants.h"
#include "sae/warnings.h"

namespace assay::sae {

namespace fs = std::filesystem;

Member::Member(Context& context, const RunConfig& config, fs::path folder, BatchSource& source)
    : context_(context),
      config_(config),
      folder_(std::move(folder)),
      source_(source),
      variant_(checked_variant()),
      state_(variant_->create()),
      checkpoints_(folder_, policy_of(config.train)) {
  if (config_.train.resample_every > 0) check_resampling(*variant_, state_);
  if (config_.train.device == "cuda")
    device_.emplace(device_step_options(variant_->options(), source_.rows()));
}

std::unique_ptr<Variant> Member::checked_variant() const {
  check_hooks(config_.data, config_.model.variant);
  for (const data::HookInfo& hook : source_.targets()) {
    if (hook.variance > 0) continue;
    throw Error(
        fmt::format("{}: the activations of hook {} are constant (variance {}): nothing to learn",
                    source_.sources().info().path.string(), hook.name, hook.variance));
  }
  auto variant = make_variant(
      variant_options(config_.model, config_.train, source_.inputs(), source_.targets()));
  if (variant->needs_validation() && !(config_.data.validation > 0)) {
    throw UsageError("model.threshold = calibrated needs validation rows: set data.validation > 0");
  }
  return variant;
}

void Member::begin(Resume resume) {
  begun_ = Clock::now();
  checkpoints_.claim();
  already_finished(folder_, config_.resolved_yaml, resume);  // another process may have been here
  if (resume == Resume::never || !restore()) start();
  if (device_) device_->upload(host_state(state_));
  open_logs();
}

bool Member::restore() {
  if (fs::exists(folder_ / "checkpoints")) check_same_configuration(folder_, config_.resolved_yaml);
  auto found =
      checkpoints_.restore(context_, [&](const Checkpoint&) { return variant_->create(); });
  if (!found) return false;
  check_same_data(found->checkpoint, source_.stream().data_hash(), source_.sources().info().path);
  check_same_inputs(found->checkpoint, source_.training_units());
  state_ = std::move(found->state);
  checkpoint_ = std::move(found->checkpoint);
  const auto kept = [&](const char* name) { return checkpoint_.own[name]; };
  line_.fvu = kept("fvu");
  line_.l0 = kept("l0");
  line_.dead = static_cast<int64_t>(kept("dead"));
  return true;
}

void Member::start() {
  keep_configuration(folder_, config_.resolved_yaml);
  fs::remove(folder_ / "metrics.jsonl");
  variant_->initialise(context_, state_, static_cast<uint64_t>(config_.train.seed), source_.peek());
  if (config_.train.ema > 0) {
    start_average(state_);
    std::erase_if(state_.averaged, [&](const auto& e) { return stays(config_.model, e.first); });
  }
  checkpoint_.position = source_.stream().position();
}

void Member::open_logs() {
  log_.emplace(folder_ / "metrics.jsonl", checkpoint_.metrics);
  if (config_.train.tensorboard) events_.emplace(folder_ / "tensorboard", checkpoint_.event_bytes);
  begun_ = logged_at_ = Clock::now();
  logged_step_ = state_.step;
}

void Member::learn(const Batch& batch) {
  if (device_) return queue(batch);
  NumericFlag flag;
  last_ = variant_->step(context_, state_, batch, learning_rate(state_.step), flag);
  if (flag.raised()) {
    diverged(state_.step + 1,
             fmt::format("a weight is not finite, or the code of row {} of the batch", flag.row()));
  }
  check_loss();
  log_->add(last_, 1);
  if (config_.train.ema > 0) average(context_, state_, config_.train.ema);
}

/// On a device a step is only queued; what became of it shows when the log is due.
void Member::queue(const Batch& batch) {
  const Matrix input = device_->input();
  if (batch.x.data != input.data)
    std::copy_n(batch.x.data, batch.x.rows * batch.x.cols, input.data);
  device_->run(learning_rate(state_.step));
  if (++state_.step == 1) collect();
}

/// Waits for the steps queued and takes their means.
void Member::collect() {
  if (!device_) return;
  const TopKStepReport r = device_->report();
  if (r.bad_step >= 0) {
    throw Diverged(fmt::format(
        "step {}: a weight is not finite, or the code of row {} of the batch; {}; lower train.lr",
        r.bad_step + 1, r.bad_row, last_good()));
  }
  if (r.steps == 0) return;
  last_ = {.loss = r.loss, .fvu = r.fvu, .aux_loss = r.aux_loss, .l0 = r.l0, .dead = r.dead};
  check_loss();
  log_->add(last_, r.steps);
}

void Member::check_loss() {
  const double error = last_.loss - last_.penalty;  // a penalty may begin large and be warmed up
  double& first_loss = checkpoint_.first_loss;
  if (state_.step == 1) first_loss = error;
  const double limit = config_.train.divergence * std::max(1.0, first_loss);
  if (!std::isfinite(last_.loss)) diverged(state_.step, "the loss is not finite");
  if (config_.train.divergence > 0 && error > limit) {
    diverged(state_.step, fmt::format("the loss is {:.4g}, over train.divergence = {:g} times "
                                      "max(1, the first step's {:.4g})",
                                      error, config_.train.divergence, first_loss));
  }
}

void Member::diverged(int64_t step, const std::string& what) {
  const std::string where =
      device_ ? "on a device it is a mean over the steps since the last look at it"
              : "the batch was " + batch_origin(source_.stream(), source_.rows());
  throw Diverged(
      fmt::format("step {}: {}; {}; {}; lower train.lr", step, what, where, last_good()));
}

void Member::conclude(bool stop) {
  if (resampling_due(config_.train, state_.step)) resample();
  const bool last = state_.step == config_.train.steps;
  if (last || state_.step % config_.train.log_every == 0) report();
  const bool due = checkpoints_.due(state_.step);
  if (last || stop || source_.stream().can_release())
    save();
  else if (due)
    checkpoints_.save(state_, checkpoint(), Writing::behind);
}

void Member::resample() {
  checkpoints_.settle();  // both take memory
  const int64_t moved = resample_dead(context_, *variant_, state_, source_.peek().x,
                                      static_cast<uint64_t>(config_.train.seed));
  data::note(fmt::format("step {}: {} dead latents resampled", state_.step, moved));
}

/// Of optimiser step `step`, 0-based.
double Member::learning_rate(int64_t step) const {
  return variant_->options().train.lr * schedule_factor(config_.train, step);
}

void Member::report() {
  collect();
  const auto now = Clock::now();
  const int64_t rows = source_.rows();
  line_ = log_->means();
  line_.step = state_.step;
  line_.tokens = state_.step * rows;
  line_.dead = last_.dead;
  line_.lr = learning_rate(state_.step - 1);
  line_.sparsity = last_.sparsity;
  line_.tokens_per_s = static_cast<double>((state_.step - logged_step_) * rows) /
                       std::max(std::chrono::duration<double>(now - logged_at_).count(), 1e-9);
  warn();
  log_->write(line_);
  logged_at_ = now;
  logged_step_ = state_.step;
  if (progress_) progress_->show(line_, state_.n);
  if (events_) events_->add(line_.step, scalars_of(line_));
}

/// Into the line; on the log where they begin, and at the end.
void Member::warn() {
  RunFacts facts{line_.fvu, line_.l0, line_.dead, state_.n};
  facts.share = static_cast<double>(state_.step) / static_cast<double>(config_.train.steps);
  for (const auto* hooks : {&source_.inputs(), &source_.targets()}) {
    for (const data::HookInfo& hook : *hooks)
      facts.mean_ratio = std::max(facts.mean_ratio, mean_ratio(hook));
  }
  facts.target_l0 = variant_->target_l0();
  line_.warnings = warnings_of(facts);
  if (!warned_ || state_.step == config_.train.steps) {
    for (const std::string& line : line_.warnings)
      data::note(fmt::format("{}: step {}: {}", folder_.string(), state_.step, line));
  }
  warned_ = warned_ || !line_.warnings.empty();
}

/// Describes the present state. The logs are synced first: what it says of them is on the disk.
Checkpoint Member::checkpoint() {
  collect();
  if (device_) device_->download(host_state(state_));
  const int64_t event_bytes = events_ ? events_->sync() : checkpoint_.event_bytes;
  const data::ActivationStream& stream = source_.stream();
  return {stream.data_hash(),
          stream.position(),
          log_->sync(),
          event_bytes,
          checkpoint_.first_loss,
          {{"fvu", line_.fvu}, {"l0", line_.l0}, {"dead", static_cast<double>(line_.dead)}},
          source_.training_units()};
}

void Member::save() {
  checkpoints_.save(state_, checkpoint());
  source_.stream().release();  // of a rolling cache: what this checkpoint has passed
}

void Member::finish() {
  if (line_.warnings.empty()) warn();  // where this process took no step
  if (config_.train.ema > 0) publish_average(context_, state_, variant_->geometry().unit_norm);
  save_dictionary();
}

void Member::save_dictionary() {
  const data::DatasetInfo& about = source_.sources().info();
  const std::vector<data::HookInfo>& inputs = source_.inputs();
  const data::HookInfo& hook = inputs.front();
  if (variant_->needs_validation()) {
    const std::vector<float> rows = source_.validation();
    variant_->calibrate(context_, state_, {rows.data(), kSampleTokens, width_of(inputs)});
  }
  Dictionary dictionary = variant_->dictionary(state_);
  DictionaryInfo& info = dictionary.info;
  info.model = about.model;
  info.revision = about.revision;
  info.hook = hook.name == "activations" ? about.hook : hook.name;
  info.scale = training_scale(hook);
  info.data_hash = source_.stream().data_hash();
  info.split_rule = data::format_split_rule(config_.data.rule());
  info.tokens = state_.step * source_.rows();
  info.seed = static_cast<uint64_t>(config_.train.seed);
  info.setting = setting_hash(config_.resolved_yaml);
  info.warnings = line_.warnings;
  if (inputs.size() > 1) {
    for (const data::HookInfo& each : inputs)
      info.hooks.push_back({each.name, each.d, training_scale(each)});
  }
  if (source_.transcodes()) info.target = source_.targets().front().name;
  dictionary.fold(source_.input_units(), source_.target_units());
  dictionary.save(folder_ / "dictionary");
}

TrainSummary Member::summary(Outcome outcome) const {
  return {outcome,
          state_.step,
          state_.step * source_.rows(),
          line_.dead,
          line_.fvu,
          line_.l0,
          std::chrono::duration<double>(Clock::now() - begun_).count(),
          line_.warnings};
}

}  // namespace assay::sae
