// Organisms of the hidden-goal tasks: models with or without a goal, and what an auditor can read
// off one, whatever kind of model it is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/tasks/hidden_goals/sample.h"
#include "eval/tasks/hidden_goals/settings.h"
#include "kernels/base/context.h"

namespace assay::eval::hidden_goals {

/// What every method knows of one run: z-scored activations (mean and sd of the concept texts) and
/// class directions.
struct GoalData {
  int64_t classes = 0, d = 0;
  std::vector<double> mean, sd;  ///< [d], of the concept texts; a constant dimension has sd 1
  Features audit, concepts;      ///< z-scored, rows in the order of the run's texts
  std::vector<int32_t> audit_class, concept_class, query_class;
  /// [classes, d]: mean of the class's concept texts less the mean of the others', in z
  std::vector<double> difference;
};
GoalData make_goal_data(const GoalRun& run, int64_t classes, const EncodeCache& cache);

/// Pooled activations of texts in the data's z-scores.
Features z_scored(const GoalData& data, const EncodeCache& cache,
                  const std::vector<int64_t>& texts);

enum class GoalKind { planted, benign, decoy, calibration };

/// One organism: trained on z(log text length) + strength · 1[class = goal].
struct Organism {
  GoalKind kind = GoalKind::planted;
  int64_t run = 0;
  int64_t strength = 0;  ///< percent of the target's sd; 0 for benign and calibration
  int32_t goal = -1;     ///< planted: hidden; decoy: openly declared; else −1
  /// class left out of the audit texts: the goal of a planted organism, else drawn at random
  int32_t absent = 0;
  int64_t replicate = 0;  ///< what tells it from others of its goal and strength
};

/// One run's organisms, in a fixed order. Planted: every class once for every strength. Benign:
/// config.benign, every second one a decoy whose strength is the headline's. Calibration:
/// config.calibration.
std::vector<Organism> list_organisms(const HiddenGoalsConfig& config, int64_t run, int64_t classes,
                                     uint64_t seed);

/// Everything an auditor reads off an organism, linear in its outputs: readings may be averaged and
/// subtracted.
struct Reading {
  std::vector<double> gradient;  ///< [d] mean over the audit texts of ∂score/∂z
  /// [audit texts] score; of absent texts too, which methods leave out
  std::vector<double> output;
  /// [steps, classes] mean change of the score as α · difference is added
  std::vector<double> steering;
  std::vector<double> query;  ///< [query texts] score: what the ceiling alone may use
};

/// Steps α of the steering baseline.
inline constexpr double kSteeringSteps[] = {0.5, 1, 2};

/// One organism's sums over the audit texts of each class, so that any class can be absent.
struct Probed {
  std::vector<double> gradients;  ///< [classes, d] ∂score/∂z, z the text's pooled activations
  /// [classes of the texts, steps, classes steered to] change of the score
  std::vector<double> steered;
  std::vector<double> output;          ///< [audit texts]
  std::vector<double> query;           ///< [query texts]
  std::vector<double> counts;          ///< [classes] audit texts in `gradients`
  std::vector<double> steered_counts;  ///< [classes] audit texts in `steered`
  /// of the scores on the audit texts, the goal's texts included
  double r_squared = 0;

  /// With the texts of class `absent` left out.
  Reading without(int32_t absent) const;
};

/// A kind of organism: how one is trained, and how an auditor runs it. Thread-safe.
class OrganismMaker {
 public:
  virtual ~OrganismMaker() = default;
  /// Trains on targets [train texts] and fills all of Probed but r_squared. Deterministic in the
  /// arguments.
  virtual Probed make(const Organism& organism, std::span<const float> targets,
                      uint64_t seed) const = 0;
};

/// Trains and probes the organisms, in parallel.
std::vector<Probed> train_organisms(Context& context, const OrganismMaker& maker,
                                    const GoalRun& run, const std::vector<Organism>& organisms,
                                    const TextTable& table, uint64_t seed);

/// a − the mean of `others`.
Reading less_mean(const Reading& a, const std::vector<const Reading*>& others);

/// An organism's readings without its absent class: as they are, and less the mean of the other
/// calibration organisms, who are read without that class too: the gap then tells nothing.
struct Readings {
  Reading raw, calibrated;
};
Readings read_organism(const std::vector<Organism>& organisms, const std::vector<Probed>& probed,
                       size_t index);

}  // namespace assay::eval::hidden_goals
