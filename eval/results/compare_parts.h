// What compare.cpp and compare_settings.cpp share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/results/compare.h"
#include "eval/results/compare_choice.h"

namespace assay::eval::compare_parts {

/// "Title: metric, part", for people.
std::string table_title(const TaskResult& task, const Score& score);
/// Is the pair's difference told from 0, after Holm?
bool told(const Paired& pair);
/// Verdicts and detectable differences of all tables, which are one family, and the controls that
/// lead, which are another.
void judge(std::vector<ScoreTable>& tables);
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
