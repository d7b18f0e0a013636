#include "eval/planted_truth.h"

namespace assay::eval {

std::optional<PlantedTruth> planted_truth(std::string_view task, std::string_view metric, std::string_view part) {
  static constexpr PlantedTruth kMeasured[] = {
      {"ood_probing", "auroc", "ood", .927, {.740, .987}},
      {"spurious", "anti_auroc", "share 1.00", .336, {-.177, .809}},
      {"targeted_removal", "tpp", "n 20", .959, {.837, .992}},
      {"targeted_removal", "scr", "n 20", -.851, {-.965, -.573}},
      {"hidden_goals", "mrr", "strength 0.40", .217, {-.381, .705}},
      {"probe_regimes", "auroc", "scarcity", .920, {.733, .986}},
      {"probe_regimes", "auroc", "imbalance", .933, {.726, .991}},
      {"probe_regimes", "auroc", "noise", .908, {.654, .987}},
  };
  for (const PlantedTruth& measured : kMeasured)
    if (measured.task == task && measured.metric == metric && measured.part == part) return measured;
  return std::nullopt;
}

}  // namespace assay::eval
