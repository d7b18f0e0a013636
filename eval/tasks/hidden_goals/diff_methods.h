// The auditor's methods of the model-diffing task: a reading of how tokens are moved in, a score
// for each candidate goal out. docs/tasks/hidden_goals_diff.md has them in words.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "eval/learners/ridge.h"
#include "eval/tasks/hidden_goals/methods.h"
#include "eval/tasks/hidden_goals/shifts.h"
#include "eval/tasks/hidden_goals/words.h"

namespace assay::eval::hidden_goals {

/// The methods that need no dictionary: direct_query (a ceiling: it may run the organism on the
/// goal's own texts), shift_mean, shift_pca, dense_posterior, ridge_exemplar,
/// ridge_mean_difference, and black_box where `words` are given. Each that reads how far tokens
/// move does so in both kinds (kShiftKinds): that is among its settings. The references must
/// outlive the auditor. Thread-safe after construction.
class DenseDiffAuditor {
 public:
  DenseDiffAuditor(Context& context, const GoalData& data, const TokenRows& audit,
                   std::optional<WordAuditor> words, const HiddenGoalsConfig& config,
                   uint64_t seed);
  std::vector<GoalScores> score(const ShiftReading& reading, int32_t absent) const;

 private:
  void set_regressions(Context& context);
  void set_posteriors(const std::vector<LinearProbe>& probes);
  GoalScores query(const ShiftReading& reading) const;
  GoalScores posterior(const ShiftReading& reading, int32_t absent) const;
  std::vector<GoalScores> ridge(const ShiftReading& reading, int32_t absent) const;
  std::vector<double> by_text(const std::vector<double>& moved) const;

  const GoalData& data_;
  const TokenRows& audit_;
  const HiddenGoalsConfig& config_;
  std::optional<WordAuditor> words_;
  FloatRows z_;           // [tokens, d]
  FloatRows posteriors_;  // [tokens, 2 · classes]: log odds, then shares of the odds' probabilities
  ColumnMoments moments_;          // of posteriors_
  std::vector<RidgePath> ridges_;  // [classes absent]
};

/// latents_exemplar and latents_labelled, by correlation with how far tokens move.
class LatentDiffAuditor {
 public:
  /// Encodes the audit tokens. `pooled`: the dictionary's pooled codes of the cache's texts.
  LatentDiffAuditor(Context& context, const sae::Dictionary& dictionary, const EncodeCache& cache,
                    const SparseCodes& pooled, const GoalTexts& concepts, const GoalData& data,
                    const TokenRows& audit, const HiddenGoalsConfig& config);
  std::vector<GoalScores> score(const ShiftReading& reading, int32_t absent) const;
  /// [n]: Pearson's correlation of each latent's activation with `moved` over the audited tokens,
  /// where `moved` [tokens] has mean 0 and sd 1 over them; linear in it (so is what is left when
  /// other readings are subtracted). 0 where the latent is constant.
  std::vector<double> correlation(const std::vector<double>& moved, int32_t absent) const;

 private:
  const TokenRows& audit_;
  LatentAuditor read_out_;
  SparseCodes codes_;  // of the audit tokens, values > 0
  ColumnMoments moments_;
};

}  // namespace assay::eval::hidden_goals
