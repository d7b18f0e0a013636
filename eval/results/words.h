// The words that a task's results carry: looked up for people, and checked. Names that are not
// declared are shown as they are.
#pragma once

#include <optional>
#include <string>

#include "eval/results/results.h"

namespace assay::eval {

/// nullptr where the task does not declare it.
const ArmEntry* find_arm(const TaskResult& task, const std::string& name);
const MetricEntry* find_metric(const TaskResult& task, const std::string& name);
const PartEntry* find_part(const TaskResult& task, const std::string& name);

/// A metric's chance level; nothing if it is not declared or has none.
std::optional<double> chance_of(const TaskResult& task, const std::string& metric);

std::string arm_label(const TaskResult& task, const std::string& name);
/// With what the arm reads, where it says so: "4 latents (reads 4)".
std::string arm_with_cost(const TaskResult& task, const std::string& name);
std::string metric_label(const TaskResult& task, const std::string& name);
std::string part_label(const TaskResult& task, const std::string& name);
/// The task's title, or its name where it has none.
std::string task_label(const TaskResult& task);

/// Declares `name`, the arm `a` less another, for numbers that are differences. `b_label` is for
/// people. Nothing happens where it is declared already.
void declare_difference(TaskResult& task, const std::string& name, const std::string& a,
                        const std::string& b_label);

/// The part of check_task that is about words.
void check_words(const TaskResult& task);

}  // namespace assay::eval
