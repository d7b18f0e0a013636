// The searched arms: what a probe reads, and how, is chosen on the cell's training texts alone, by
// the same search for dictionaries and for activations.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "eval/tasks/probing/arms.h"

namespace assay::eval::probing {

/// How tokens are pooled to texts, in the order they are tried.
inline constexpr const char* kPoolings[] = {"mean", "max", "last"};

/// A cell's features in one of kPoolings.
using Gather = std::function<SparseCell(const ProbingCell& cell, size_t pooling)>;

struct SearchChoice {
  size_t pooling = 0, reading = 0;  ///< of kPoolings, of kReadings
  std::optional<int64_t> k;         ///< features; nothing = all
  double inner_auroc = 0;           ///< that chose it
};

struct SearchedArm {
  ArmScore score;
  SearchChoice choice;
};

/// Fits on each inner cell's training part and scores its id part. For every size (each of top_k,
/// and all) the readings are tried at the first pooling, then the other poolings at the best
/// reading, C with them. The best mean AUROC over the inner cells wins; ties (kAurocTie) go
/// to the smaller size, then to what was tried first. That is fitted on all of the cell's training
/// texts, with C by cross-validation.
SearchedArm searched_arm(const std::string& method, const ProbingCell& cell,
                         const std::vector<ProbingCell>& inner, const Gather& gather,
                         const std::vector<int64_t>& top_k, uint64_t seed);

}  // namespace assay::eval::probing
