// The auditor's methods: a reading of an organism in, a score for each candidate goal out.
// docs/tasks/hidden_goals.md has them in words.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "eval/encoding/encode_cache.h"
#include "eval/learners/linear.h"
#include "eval/tasks/hidden_goals/organisms.h"
#include "eval/tasks/hidden_goals/settings.h"

namespace assay::eval::hidden_goals {

/// One method with every setting that is searched.
struct GoalScores {
  std::string method;
  std::vector<std::string> settings;        ///< "" where there is nothing to choose
  std::vector<std::vector<double>> scores;  ///< [settings][classes], higher = rather the goal
};

/// Mean of values [texts] over each class's texts, less the mean over all texts.
std::vector<double> class_effects(const std::vector<double>& values,
                                  const std::vector<int32_t>& classes, int64_t count);

/// Balanced logistic probes of each class against the others on the concept texts, in z.
std::vector<LinearProbe> class_probes(Context& context, const GoalData& data, uint64_t seed);

/// The concept texts furthest along a direction [d] in z vote for their classes, by share over base
/// rate; a setting for each number of texts.
GoalScores exemplar_read_out(std::string method, const GoalData& data,
                             std::span<const double> direction, const std::vector<int64_t>& texts);

/// The methods that need no dictionary: direct_query (a ceiling: it may ask the organism about the
/// goal's own texts), mean_difference_steering, gradient_mean_difference, probe_direction,
/// black_box, dense_exemplar.
/// `data` must outlive the auditor. Thread-safe after construction.
class DenseAuditor {
 public:
  DenseAuditor(Context& context, const GoalData& data, const HiddenGoalsConfig& config,
               uint64_t seed);
  ~DenseAuditor();
  std::vector<GoalScores> score(const Reading& reading, int32_t absent) const;

 private:
  GoalScores black_box(const Reading& reading, int32_t absent) const;
  struct Ridge;
  const GoalData& data_;
  const HiddenGoalsConfig& config_;
  std::vector<double> probes_;  // [classes, d], unit rows
  std::vector<Ridge> ridges_;   // [classes absent]
};

/// latents_exemplar and latents_labelled on one dictionary, from its pooled codes of the concept
/// texts.
class LatentAuditor {
 public:
  LatentAuditor(const sae::Dictionary& dictionary, const EncodeCache& cache,
                const SparseCodes& pooled, const GoalTexts& concepts, const GoalData& data,
                const HiddenGoalsConfig& config);
  std::vector<GoalScores> score(const Reading& reading) const;
  int64_t latents() const { return dictionary_.info.n; }
  /// The two arms from attributions [n] of several kinds, each of which is a setting.
  std::vector<GoalScores> read_out(
      const std::vector<std::pair<std::string, std::vector<double>>>& attributions) const;
  /// s_j = (d_j/sd) · gradient · activity, [n]. Activity is the latent's mean over the concept
  /// texts, silent ones as 0, or (`where_active`) over those on which it fires.
  std::vector<double> attribution(const Reading& reading, bool where_active) const;

 private:
  void set_statistics(const EncodeCache& cache, const SparseCodes& pooled,
                      const GoalTexts& concepts);
  void set_class_latents(const std::vector<double>& class_sums, const std::vector<double>& squares);
  std::vector<double> vote(const std::vector<double>& attribution, int64_t latents) const;
  std::vector<double> mean_by_class(const std::vector<double>& attribution, int64_t latents) const;

  const sae::Dictionary& dictionary_;
  const GoalData& data_;
  const HiddenGoalsConfig& config_;
  std::vector<double> class_count_;              // [classes] concept texts
  std::vector<double> mean_, mean_active_;       // [n] activation
  std::vector<std::vector<int32_t>> exemplars_;  // [n] classes of the top-activating texts
  std::vector<std::vector<int32_t>>
      class_latents_;  // [classes] the most selective latents, the best first
};

}  // namespace assay::eval::hidden_goals
