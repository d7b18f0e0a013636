// Task "probe_regimes": the cells of OOD probing with a damaged training part: few texts of each
// class (scarcity), few positives among them (imbalance), flipped labels (noise).
// docs/tasks/probe_regimes.md has the protocol.
//
// Numbers: "auroc" per arm, dictionary and regime, parts "id" and "ood" with the regime ("ood, 16 a
// class", "ood, 5 % positive", "ood, 20 % flipped"). Scores: one table a family, parts "scarcity",
// "imbalance", "noise": OOD AUROC, the mean over a family's levels, over classes × runs. Label
// null: dense_lr with permuted labels at the first level of each family. details["curves"]:
// {family, level, method, dictionary, ood}.
#pragma once

#include <string>

#include "eval/tasks/probing/sample.h"
#include "eval/tasks/task.h"

namespace assay::eval::probing {

struct Regime {
  std::string family;  ///< "scarcity", "imbalance", "noise"
  int64_t level = 0;   ///< texts a class; per cent positive; per cent flipped
};

/// All regimes of the configuration, family by family.
std::vector<Regime> regimes_of(const RegimesConfig& config);
/// The cell with its training part damaged; tests stay. Texts are kept in the cell's own random
/// order, so a smaller level is a part of a larger one. scarcity: the first `level` of each class
/// (fewer where there are fewer). imbalance: as many texts as the cell has positives, `level` per
/// cent of them (at least 2) positive. noise: `level` per cent of each class's labels flipped,
/// rounded to the nearest.
ProbingCell damage(const ProbingCell& cell, const Regime& regime, uint64_t seed);

extern const TaskEntry kProbeRegimes;

}  // namespace assay::eval::probing
