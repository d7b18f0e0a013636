// The words and figures that the tasks of this folder put into their results.
#pragma once

#include <string>

#include "eval/results/results.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

/// `headline_part`: the share at which fixes are compared.
void declare_spurious(const SpuriousConfig& config, const std::string& headline_part,
                      TaskResult& result);
/// "leace_1": the name of a fix at one strength; a strength of 0 is no fix, and has its name.
std::string fix_name(const std::string& fix, int64_t strength);

void declare_removal(const SpuriousConfig& config, TaskResult& result);
/// "n 20": the name of the part at which n are ablated.
std::string removal_part_name(int64_t n);

}  // namespace assay::eval::spurious
