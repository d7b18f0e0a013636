// The relearning attack on an edited language model: somebody with a few texts of the forgotten
// corpus trains the layers above the edit, the edit held, until they come back.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "eval/tasks/unlearning/edit.h"
#include "sae/loss_trainer.h"

namespace assay::eval::unlearning {

/// Texts the attacker has. The headline, fixed beforehand, is 16.
inline constexpr int64_t kRelearnTexts[] = {4, 16, 64};
/// Adam steps of at most kRelearnBatch texts; the rate with the lower loss on tuning texts counts.
inline constexpr int64_t kRelearnSteps = 24, kRelearnBatch = 8;
inline constexpr double kRelearnRates[] = {3e-4, 3e-3};

using MakeLossTrainer = std::function<std::unique_ptr<sae::TrainableLossHalf>()>;

/// What an attack got.
struct Relearned {
  int64_t texts = 0;
  double rate = 0;
  double own_loss = 0;         ///< nats a token, of the attacker's own texts behind the last step
  std::vector<double> losses;  ///< of `test`, as run_losses sums them
};

/// `own`: entries to train on, in turn. `tune`: those that choose the rate. Gradient: of the mean
/// loss of a batch's ordinary tokens. On the calling thread; deterministic. Throws Error where a
/// loss is not finite under both rates.
Relearned relearn(const MakeLossTrainer& make, const UnlearningCorpus& corpus,
                  const std::vector<int64_t>& own, const std::vector<int64_t>& tune,
                  const std::vector<int64_t>& test, const Edit* edit, int64_t batch);

}  // namespace assay::eval::unlearning
