// One run of the unlearning task: every method is fitted, tuned and tested on every class.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/harvest.h"
#include "eval/tasks/unlearning/methods.h"
#include "eval/tasks/unlearning/probes.h"
#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

/// Points of accuracy over retained classes that an edit costs.
double retain_damage(const PanelScores& edited, const PanelScores& clean);

/// One class under one setting, on the test part.
struct ClassOutcome {
  PanelScores scores;
  double forget_edited = 0, retain_edited = 0;  ///< share of test texts that the edit touches
  /// headline few-shot AUROC on padded texts; gated methods
  std::optional<double> padded_auc;
  /// share of padded forget texts that the edit touches
  std::optional<double> padded_edited;
};

/// One method, all classes.
struct MethodOutcome {
  std::string name;
  std::optional<size_t> dictionary;
  bool gated = false;
  std::vector<std::string> settings;
  Tuning tuning;                           ///< [settings]: over classes; damage in points
  std::vector<std::optional<Walk>> walks;  ///< [budgets]: chosen on tuning texts
  std::vector<OperatingPoint> points;      ///< [budgets]: on those walks, at equal test damage
  /// [classes], by setting measured on the published parts; no edit is always there
  std::map<Setting, std::vector<ClassOutcome>> outcome;
  std::map<int64_t, MatchQuality> match;  ///< of random_latents by number, summed over classes
};

struct RunOutcome {
  std::vector<std::string> classes, left_out;
  std::vector<PanelScores> clean, permuted;  ///< [classes]: untouched texts; the label null
  /// [classes]: headline AUROC of untouched padded texts; or empty
  std::vector<double> padded_clean;
  std::vector<std::vector<int32_t>> nearest;  ///< [classes]: benign neighbours
  std::vector<MethodOutcome> methods;         ///< in the order of the methods
  std::vector<ClassOutcome> ablated;          ///< mean_ablation
  /// Forget texts exchanged for retained ones: the ceiling of the drop, below 1 since |AUROC − ½|
  /// is never 0.
  std::vector<ClassOutcome> oracle;
};

/// What a run reads. `lower` and `trainable` may be empty: no padding attack, no fine-tuning.
struct UnlearningInputs {
  Context& context;
  const data::Dataset& dataset;
  const TextTable& table;
  const UnlearningConfig& config;
  std::vector<const sae::Dictionary*> dictionaries = {};
  std::vector<uint8_t> trained = {};  ///< [dictionaries]: not a control
  const sae::UpperHalf& upper;
  data::LowerHalf* lower = nullptr;
  int64_t max_length = 0;  ///< of the lower half
  MakeTrainable trainable = {};
  std::function<void(const std::string&)> log;
};

/// Deterministic in (inputs, plan, seed) on any number of threads. Throws Error where parts share a
/// document, or a class cannot be told apart on untouched texts well enough for a drop to mean
/// anything (headline AUROC within .05 of chance on average over classes).
RunOutcome run_unlearning(const UnlearningInputs& in, const UnlearningPlan& plan, uint64_t seed);

/// Each text with `count` filler tokens behind its last ordinary token, through the lower half: the
/// tokens that are most frequent among the ordinary tokens of `filler_from`, in a random order of
/// each text's own. `texts`: indices into the table, among those of `rows`.
TextRows pad_texts(Context& context, const TextRows& rows, const std::vector<int64_t>& texts,
                   const std::vector<int64_t>& filler_from, int64_t count, data::LowerHalf& lower,
                   int64_t batch, uint64_t seed);

}  // namespace assay::eval::unlearning
