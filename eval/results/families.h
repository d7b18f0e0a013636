// Families of tests that a task publishes: differences between arms, and label nulls. Holm's
// adjustment over a family is said here, once.
#pragma once

#include <string>
#include <vector>

#include "eval/results/results.h"
#include "eval/statistics/stats.h"

namespace assay::eval {

/// Adds "p_holm", Holm's adjustment of all rows' "p", to every row.
void add_holm(nlohmann::json& rows);

/// The number's value and interval.
void set_estimate(Number& number, const Estimate& estimate);

/// The differences that a task fixed beforehand.
class DifferenceFamily {
 public:
  /// Publishes the number with this estimate.
  void add(Number number, const Estimate& estimate, TaskResult& result);
  /// details["differences"]: {dictionary, method, value, p, p_holm} of all that were added.
  void finish(TaskResult& result);

 private:
  nlohmann::json rows_ = nlohmann::json::array();
};

/// A test of "there is nothing to find" where there is nothing.
struct NullTest {
  std::string name;  ///< of the arm
  double p = 1;
  std::string detail;  ///< what was found, up to its p: "AUROC .49 with permuted labels, p"
};

/// A check "label null: NAME" a test: passed if Holm's p over all of them is at least kAlpha.
void add_null_checks(const std::vector<NullTest>& tests, TaskResult& result);

}  // namespace assay::eval
