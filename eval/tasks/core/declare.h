// The words and figures that the tasks of this folder put into their results.
#pragma once

#include "eval/results/results.h"

namespace assay::eval::core {

void declare_core(TaskResult& result);
/// What core reports besides of a data set with sinks.
void declare_sinks(TaskResult& result);
void declare_splice(TaskResult& result);
void declare_seed_stability(TaskResult& result);

}  // namespace assay::eval::core
