// The figures that a task declares in its results (eval/results/results.h, Figure), drawn. Only
// what stands in the results says what is drawn: no task and no arm is known here.
#pragma once

#include "eval/report/page.h"
#include "eval/results/results.h"

namespace assay::eval::report {

/// All of the task's figures in their order, small ones beside each other; where it declares none,
/// a table of its numbers. A figure whose numbers or details are not there is left out.
void add_figures(Page& page, const Results& results, const TaskResult& task);

/// "dictionary: arm", or either where there is only one.
std::string row_name(const TaskResult& task, const std::string& dictionary,
                     const std::string& method);
/// A frontier's line: dictionaries that differ in k or seed belong together.
std::string series_of(const DictionaryEntry& entry);
/// nullptr where there is none of that name.
const DictionaryEntry* find_dictionary(const Results& results, const std::string& name);

}  // namespace assay::eval::report
