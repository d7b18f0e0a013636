// What an auditor reads off an adapter: how it moves the audit texts' tokens, Δ = x' − x.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <vector>

#include "eval/tasks/hidden_goals/adapters.h"

namespace assay::eval::hidden_goals {

/// An adapter run on tokens. Δ of a token is basis · (its row of coordinates), exactly.
struct ShiftedTokens {
  Eigen::MatrixXd basis;             ///< [d, k] orthonormal columns, k ≤ units
  FloatRows audit;                   ///< [audit tokens, k]
  Eigen::MatrixXd query;             ///< [query texts, k] mean over a text's tokens
  std::vector<double> query_length;  ///< [query texts] mean ‖Δ‖
  /// of ‖Δ‖: audit tokens of the organism's absent class against all others
  double trigger_auroc = 0;
};

/// How far a token moves is said in two ways: ‖Δ‖, and Δ's coordinate along its first principal
/// component, with the sign that makes its third moment positive, since a trigger fires seldom.
inline constexpr std::array kShiftKinds = {"length", "main component"};

/// Linear in its parts: readings may be averaged and subtracted. "Audited" tokens are those of all
/// classes but the absent one.
struct ShiftReading {
  /// by kind: [audit tokens], mean 0 and sd 1 over the audited; others 0
  std::array<std::vector<double>, 2> moved;
  /// by kind: [query texts] mean over its tokens, in the same units
  std::array<std::vector<double>, 2> query;
  /// [d] mean of Δ over the audited, over √E‖Δ − mean‖²
  std::vector<double> mean;
  /// [classes] share of Δ's variance along the class's mean difference: of the first principal
  /// component alone, of all
  std::array<std::vector<double>, 2> spread;
};

/// a − the mean of `others`.
ShiftReading less_mean(ShiftReading a, const std::vector<ShiftReading>& others);

/// Runs adapters. The references must outlive it. Thread-safe.
class ShiftReader {
 public:
  ShiftReader(const GoalData& data, const TokenRows& audit, const TokenRows& query);
  ShiftedTokens run(const Adapter& adapter, int32_t absent) const;
  ShiftReading read(const ShiftedTokens& shifted, int32_t absent) const;

 private:
  const TokenRows& audit_;
  const TokenRows& query_;
  int64_t query_texts_;
  Eigen::MatrixXd
      differences_;  // [d, classes] unit directions of the classes' mean differences, raw
};

/// An organism's readings without its absent class: as they are, and less the mean of the other
/// calibration organisms, who are read without that class too: the gap then tells nothing.
struct ShiftReadings {
  ShiftReading raw, calibrated;
};
ShiftReadings read_organism(const ShiftReader& reader, const std::vector<Organism>& organisms,
                            const std::vector<ShiftedTokens>& shifted, size_t index);

}  // namespace assay::eval::hidden_goals
