// What compare.cpp and compare_settings.cpp share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/results/compare.h"

namespace assay::eval::compare_parts {

/// One arm's cells, signed so that higher is better.
struct Arm {
  std::string dictionary, method;
  std::string label;  ///< for people
  bool headline = false;
  std::vector<Cell> cells;
};

/// Cells composed of the arms that were chosen on other units.
struct Chosen {
  std::string methods, labels;  ///< see ChosenArm
  std::vector<Cell> cells;
};

/// See ChosenArm. Nothing where there are no arms or fewer than 2 units (ascending).
std::optional<Chosen> choose_on_other_units(const std::vector<const Arm*>& arms,
                                            const std::vector<int64_t>& units);
/// "Title: metric, part", for people.
std::string table_title(const TaskResult& task, const Score& score);
/// Fills p_holm.
void adjust(const std::vector<Paired*>& family);
void note_l0(Paired& pair, std::optional<double> a, std::optional<double> b);
/// Throws Error where the dictionary has not exactly one.
const Arm& headline_arm(const std::vector<Arm>& arms, const std::string& dictionary);
const DictionaryEntry& entry_of(const Results& results, const std::string& name);
/// Settings, pairs and reliability of a table whose cards are made.
void add_settings(const Results& results, const std::vector<Arm>& arms, ScoreTable& table);

/// `table`: the metric's, null where the task is withheld.
MetricState metric_state(const TaskResult& task, const Score& score, const ScoreTable* table);

}  // namespace assay::eval::compare_parts
