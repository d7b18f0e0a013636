// Fine-tuning a finished run's dictionary end to end: whole texts through the model's upper half.
#pragma once

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <string>

#include "data/base/config_fields.h"
#include "kernels/base/context.h"
#include "sae/trainer.h"

namespace assay::sae {

struct FinetuneConfig {
  int64_t steps = 500, texts = 128, texts_at_once = 16, seed = 0, warmup_steps = 20, log_every = 10;
  double share = 0.5;
  double lr = 0;  ///< 0: a tenth of the run's
  std::string output = "cosine";
  int64_t checkpoint_every = 0, keep_checkpoints = 2;
  double checkpoint_minutes = 5;
};
void describe(config::Fields& fields, FinetuneConfig& config);

struct FinetunePaths {
  /// a finished run of `assay train`: its last checkpoint and dictionary
  std::filesystem::path run;
  std::filesystem::path model;  ///< exported halves
  /// config.yaml, finetune.yaml, metrics.jsonl, checkpoints/, dictionary/
  std::filesystem::path out;
  bool trust_model_code = false;
};

/// Means over the first and the last tenth of the steps.
struct FinetuneSummary {
  Outcome outcome = Outcome::finished;
  double output_loss_before = 0, output_loss_after = 0, fvu_before = 0, fvu_after = 0;
  int64_t steps = 0, tokens = 0;
  double seconds = 0;
};

/// Goes on with the finished run of that configuration. Texts of the training split, in an order
/// drawn from the seed; the variant's own optimiser with fresh moments. A set `stop` flag
/// checkpoints after the step in hand and returns `interrupted`; killed at any instant and resumed,
/// a run ends in the same bits. Throws UsageError where run, data, model and settings do not fit
/// one another or differ from the run being resumed, Error where a loss is not finite.
FinetuneSummary finetune(Context& context, const RunConfig& run, const FinetuneConfig& config,
                         const FinetunePaths& paths, Resume resume,
                         const volatile std::sig_atomic_t& stop);

}  // namespace assay::sae
