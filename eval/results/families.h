// Families of tests that a task publishes: differences between arms, and label nulls. Holm's
// adjustment over a family is said here, once.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "eval/results/results.h"
#include "eval/statistics/inference.h"

namespace assay::eval {

/// Adds the estimate's "low" and "high" to a row of details, if it has an interval.
void add_interval(nlohmann::json& row, const Estimate& estimate);

/// Adds "p_holm", Holm's adjustment of all rows' "p", to every row.
void add_holm(nlohmann::json& rows);

/// The number's value and interval, and how the interval was made: "Student's t over 27 documents".
/// `noun` is what the estimate's values are, in the plural.
void set_estimate(Number& number, const Estimate& estimate, const std::string& noun);

/// The same of a mean over so many units and runs, which says what is not known of the runs.
void set_estimate(Number& number, const Estimate& estimate, const std::string& noun, int64_t units,
                  int64_t runs);

/// The same of a mean over these cells.
void set_estimate(Number& number, const Estimate& estimate, const std::string& noun,
                  std::span<const Cell> cells);

/// The differences that a task fixed beforehand.
class DifferenceFamily {
 public:
  /// Publishes the number, whose value and interval are the estimate's.
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

/// A check "label null: NAME" a test: passed if Holm's p over all of them is at least kCheckAlpha.
void add_null_checks(const std::vector<NullTest>& tests, TaskResult& result);

}  // namespace assay::eval
