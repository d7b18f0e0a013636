#include "eval/results/planted_truth.h"

namespace assay::eval {

std::optional<PlantedTruth> planted_truth(std::string_view task, std::string_view metric,
                                          std::string_view part) {
  // python experiments/planted_truth.py --out DIR (its defaults: 18 dictionaries, 3 draws of each
  // of 6 worths, 1200 documents, seed 0), Assay 0.1.0 of 2026-11-30. A change to a task's headline
  // arm or to that script makes these stale: run it with --check, which fails where a figure is no
  // longer its own.
  static constexpr PlantedTruth kMeasured[] = {
      {"ood_probing", "auroc", "ood", .927, {.740, .987}},
      {"spurious", "both_auroc", "share 1.00", .412, {-.213, .827}},
      {"targeted_removal", "tpp", "n 20", .964, {.841, .993}},
      {"targeted_removal", "scr", "n 20", -.858, {-.975, -.587}},
      {"hidden_goals", "mrr", "strength 0.40", .217, {-.381, .705}},
      {"probe_regimes", "auroc", "scarcity", .920, {.733, .986}},
      {"probe_regimes", "auroc", "imbalance", .933, {.726, .991}},
      {"probe_regimes", "auroc", "noise", .908, {.654, .987}},
  };
  for (const PlantedTruth& measured : kMeasured)
    if (measured.task == task && measured.metric == metric && measured.part == part)
      return measured;
  return std::nullopt;
}

}  // namespace assay::eval
