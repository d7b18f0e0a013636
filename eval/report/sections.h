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
/// One task: question, state, the figures it declares, tables of its details.
void add_task(Page& page, const Results& results, const TaskResult& task);
/// Every number with n, seed and interval.
void add_numbers(Page& page, const Results& results);
void add_provenance(Page& page, const Results& results);

}  // namespace assay::eval::report
