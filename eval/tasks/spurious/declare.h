// The words and figures that the tasks of this folder put into their results.
#pragma once

#include <map>
#include <set>
#include <string>

#include "eval/results/results.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

/// The strengths at which each fix was tried, by its name.
using TriedStrengths = std::map<std::string, std::set<int64_t>>;
/// `headline_part`: the share at which fixes are compared.
void declare_spurious(const TriedStrengths& tried, const std::string& headline_part,
                      TaskResult& result);

/// "share 1.00": the name of a share's part; in percent.
std::string share_part(int64_t share);

void declare_removal(const SpuriousConfig& config, TaskResult& result);
/// "n 20": the name of the part at which n are ablated.
std::string removal_part_name(int64_t n);

}  // namespace assay::eval::spurious
