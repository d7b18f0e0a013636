// Tables of a task's details.
#pragma once

#include "eval/report/page.h"
#include "eval/results/results.h"

namespace assay::eval::report {

/// Any task's details, folded: lists of flat objects and flat objects as tables, texts as they are,
/// the rest as JSON. What a histogram has drawn is left out.
void add_details(Page& page, const TaskResult& task);

}  // namespace assay::eval::report
