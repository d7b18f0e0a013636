// One dictionary in training and its run folder: what it does with a batch, whoever reads the
// batches.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "kernels/base/context.h"
#include "kernels/cuda/topk_step.h"
#include "sae/batch_source.h"
#include "sae/metrics_log.h"
#include "sae/progress.h"
#include "sae/run_checkpoints.h"
#include "sae/tensorboard.h"
#include "sae/trainer.h"
#include "sae/variant.h"

namespace assay::sae {

/// Training has left the finite or the sensible; says the step, the batch's rows and the last good
/// checkpoint.
class Diverged : public Error {
 public:
  using Error::Error;
};

class Member {
 public:
  /// All references outlive it. Throws UsageError where the configuration does not fit the data.
  Member(Context& context, const RunConfig& config, std::filesystem::path folder,
         BatchSource& source);

  /// Restore the newest good checkpoint, or initialise from the source where it stands. Neither
  /// moves the source: the caller seeks position(), from where the member goes on.
  void begin(Resume resume);
  const data::StreamPosition& position() const { return checkpoint_.position; }
  /// Show how it goes on stderr, by this name.
  void show_progress(const std::string& name) { progress_.emplace(config_.train.steps, name); }

  /// Where this member would rather have the source put the next batch; null where it does not
  /// matter.
  float* place() { return device_ ? device_->input().data : nullptr; }
  /// One optimiser step on the source's next rows. Throws Diverged, as conclude does: the
  /// checkpoints stand then, and this member is of no further use.
  void learn(const Batch& batch);
  /// What is due after a step, when every member has learnt: resampling, a line of the log, a
  /// checkpoint (also where `stop`).
  void conclude(bool stop);
  /// A checkpoint at the source's position.
  void save();
  /// After the last step: RUN/dictionary. Throws data::Interrupted.
  void finish();

  int64_t step() const { return state_.step; }
  /// Of the failure of a step: "there is no checkpoint yet", or where it lies.
  std::string last_good() { return checkpoints_.last_good(); }
  TrainSummary summary(Outcome outcome) const;

 private:
  using Clock = std::chrono::steady_clock;

  std::unique_ptr<Variant> checked_variant() const;
  bool restore();
  void start();
  void open_logs();
  void queue(const Batch& batch);
  void collect();
  void check_loss();
  void resample();
  [[noreturn]] void diverged(int64_t step, const std::string& what);
  double learning_rate(int64_t step) const;
  void report();
  void warn();
  Checkpoint checkpoint();
  void save_dictionary();

  Context& context_;
  const RunConfig& config_;
  std::filesystem::path folder_;
  BatchSource& source_;
  std::unique_ptr<Variant> variant_;
  State state_;
  std::optional<DeviceTopKStep>
      device_;  // holds the state between checkpoints, where it is asked for
  RunCheckpoints checkpoints_;
  Checkpoint checkpoint_;  // what this process began from
  std::optional<MetricsLog> log_;
  std::optional<EventFile> events_;
  std::optional<Progress> progress_;
  StepReport last_;
  MetricsLog::Line line_;
  bool warned_ = false;
  Clock::time_point begun_, logged_at_;
  int64_t logged_step_ = 0;
};

}  // namespace assay::sae
