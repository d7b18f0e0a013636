// Texts by class and format, in two folds of the documents: what the tasks about spurious
// correlations draw from.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

enum Format : size_t { kUsual, kOther };

/// Label values of the table's texts.
struct FormatPool {
  std::vector<int32_t> category;
  std::vector<std::string> names;
  std::vector<int32_t> format, filter;
  int32_t formats[2];
  int32_t kept, reference;  ///< classes of the filter label
};

/// For Task::missing: empty where the data have the labels that the pool is made of, else the one
/// they lack.
std::string lacks_formats(const data::Dataset& dataset, const SpuriousConfig& config);

/// Throws Error on an unknown label or class.
FormatPool format_pool(const data::Dataset& dataset, const TextTable& table,
                       const SpuriousConfig& config);

/// One fold of one cut: texts in the cut's random order.
struct FormatFold {
  std::array<std::vector<int64_t>, 2> all;                    ///< [format], of every class
  std::vector<std::array<std::vector<int64_t>, 2>> by_class;  ///< [class][format]
  /// [format], of the reference class of the filter
  std::array<std::vector<int64_t>, 2> reference;
};

/// The fold's texts that tests may use.
FormatFold for_tests(const FormatFold& fold, const TextTable& table);

/// Documents cut in folds by hash.
std::array<FormatFold, 2> cut_folds(const FormatPool& pool, const TextTable& table, uint64_t seed);

/// Classes with min_texts texts of either format that tests may use in every fold of every cut, the
/// ones with most texts of the other format first, ties to the smaller label; at most
/// config.classes. Throws Error where they are fewer than two.
std::vector<int32_t> choose_format_classes(const FormatPool& pool,
                                           const std::vector<std::array<FormatFold, 2>>& cuts,
                                           const TextTable& table, const SpuriousConfig& config);

}  // namespace assay::eval::spurious
