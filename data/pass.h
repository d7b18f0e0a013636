// What one epoch of a stream reads, and where the epochs of a stream come from.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/stream_plan.h"

namespace assay::data {

/// A data set and the order in which its rows leave.
struct Pass {
  std::shared_ptr<const Dataset> dataset;
  StreamPlan plan;
  std::vector<std::string> skipped;  ///< one line a corrupt chunk that was left out
};

/// Reads every chunk where options.skip_corrupt asks for it.
std::shared_ptr<const Pass> make_pass(std::shared_ptr<const Dataset> dataset,
                                      const StreamOptions& options, PlanVariant variant);

/// The epochs of one source. Thread-safe.
class PassSource {
 public:
  virtual ~PassSource() = default;
  /// Whether pass(epoch) can be had at once. Throws Error where it never will.
  virtual bool ready(int64_t epoch) = 0;
  virtual std::shared_ptr<const Pass> pass(int64_t epoch) = 0;
  /// Epochs below `epoch` will not be asked for again, in this process or after a resume.
  virtual void release(int64_t) {}
  virtual int64_t released() const { return 0; }
};

/// The same data set every epoch; nothing is released.
class RepeatedPass : public PassSource {
 public:
  explicit RepeatedPass(std::shared_ptr<const Pass> pass) : pass_(std::move(pass)) {}
  bool ready(int64_t) override { return true; }
  std::shared_ptr<const Pass> pass(int64_t) override { return pass_; }

 private:
  std::shared_ptr<const Pass> pass_;
};

}  // namespace assay::data
