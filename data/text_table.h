// Texts of a data set: where each one's rows lie, which document it belongs to, and its labels.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::data {

/// One entry a text, in row order. A text's rows are contiguous.
struct TextTable {
  std::vector<int64_t> first, rows;  ///< rows [first, first + rows) of the data set
  std::vector<int64_t> ordinary;     ///< how many of them are neither special nor sinks
  std::vector<int64_t> document;
  std::vector<int64_t> number;  ///< the data set's text number
  /// 1 = held back: may be trained on and not be tested on; empty = none is
  std::vector<uint8_t> not_for_tests;

  int64_t size() const { return static_cast<int64_t>(first.size()); }
  bool holds_back() const { return !not_for_tests.empty(); }
  bool for_tests(int64_t text) const { return not_for_tests.empty() || !not_for_tests[text]; }
};

/// Throws Error where the data set has no text column, or where a text's rows disagree about the
/// document.
TextTable text_table(const Dataset& dataset);

/// Does the data set have this label? For tasks that are left out where theirs is missing.
bool has_label(const Dataset& dataset, const std::string& name);

/// One value a text: the label of its ordinary rows, −1 for none. Throws UsageError naming the
/// known labels where `name` is not one, Error where the ordinary rows of a text disagree.
std::vector<int32_t> text_labels(const Dataset& dataset, const TextTable& texts,
                                 const std::string& name);

/// Index of `name` among the label's classes; throws Error naming the known ones.
int32_t class_index(const LabelInfo& label, const std::string& name);

}  // namespace assay::data
