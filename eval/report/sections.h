// The parts of the report, in page order.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/report/log.h"
#include "eval/report/page.h"
#include "eval/report/summary.h"
#include "eval/results/compare.h"
#include "eval/results/results.h"

namespace assay::eval::report {

/// What one RUN folder holds.
struct Run {
  std::string name;
  std::optional<Results> results;
  std::optional<TrainingLog> log;
};

void add_summary(Page& page, const Results& results, const Comparison& comparison);
/// Frontiers, every pair of dictionaries and of settings, how far each metric can be trusted, and a
/// score card each.
void add_comparison(Page& page, const Results& results, const Comparison& comparison);
void add_checks(Page& page, const Results& results, const Comparison& comparison);
/// Curves of every run that has a log.
void add_training(Page& page, const std::vector<Run>& runs);
/// One task: question, state, charts where the report knows how to draw it, tables of its details.
void add_task(Page& page, const Results& results, const TaskResult& task);
/// Every number with n, seed and interval.
void add_numbers(Page& page, const Results& results);
void add_provenance(Page& page, const Results& results);

// Of the tasks that have charts.
void add_core_charts(Page& page, const Results& results, const TaskResult& task);
void add_unlearning_charts(Page& page, const TaskResult& task);
void add_unlearning_text_charts(Page& page, const TaskResult& task);
void add_probing_charts(Page& page, const Results& results, const TaskResult& task);
void add_goal_charts(Page& page, const TaskResult& task);
void add_spurious_charts(Page& page, const TaskResult& task);
/// One row an arm (dictionary and method), one column a metric and part, of the given metrics.
void add_arm_table(Page& page, const TaskResult& task, const std::vector<std::string>& metrics,
                   const std::string& caption);
void add_regime_charts(Page& page, const Results& results, const TaskResult& task);
/// The numbers of a task that has no charts, as one table.
void add_plain_numbers(Page& page, const TaskResult& task);
/// Any task's details as tables, folded.
void add_details(Page& page, const TaskResult& task);

}  // namespace assay::eval::report
