// The words and figures that the unlearning tasks put into their results.
#pragma once

#include <string>
#include <vector>

#include "eval/results/results.h"
#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

// The names of parts: attackers with so many texts of each class, budgets of damage, and attackers
// who relearn from so many texts.
std::string few_shot_part(int64_t labels);
std::string budget_part(int64_t budget);
std::string relearning_part(int64_t texts);

void declare_unlearning(const UnlearningConfig& config, TaskResult& result);
void declare_unlearning_text(const UnlearningTextConfig& config,
                             const std::vector<std::string>& corpora, TaskResult& result);

}  // namespace assay::eval::unlearning
