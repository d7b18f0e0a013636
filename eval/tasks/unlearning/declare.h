// The words and figures that the unlearning tasks put into their results.
#pragma once

#include <string>
#include <vector>

#include "eval/results/results.h"
#include "eval/tasks/unlearning/frontier.h"
#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

// The names of parts: attackers with so many texts of each class, budgets of damage, and attackers
// who relearn from so many texts.
std::string few_shot_part(int64_t labels);
std::string budget_part(int64_t budget);
std::string relearning_part(int64_t texts);

/// A row of details["operating_points"].
nlohmann::json point_row(const OperatingPoint& point, int64_t budget,
                         const std::vector<std::string>& settings);

/// An arm whose headline point lies on an edge of its grid, with the setting: "leace
/// (strength=16)".
std::string edge_name(const std::string& method, const std::string& dictionary,
                      const OperatingPoint& point, const std::vector<std::string>& settings);
/// The task's caveat that names these arms; empty where there is none.
std::string edge_caveat(const std::vector<std::string>& arms);

void declare_unlearning(const UnlearningConfig& config, TaskResult& result);
void declare_unlearning_text(const UnlearningTextConfig& config,
                             const std::vector<std::string>& corpora, TaskResult& result);

}  // namespace assay::eval::unlearning
