// The report: one HTML file that opens offline, and the summary for the terminal. Both only show
// what results.json and metrics.jsonl hold, and the comparison (eval/results/compare.h) that
// follows from the scores in it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "eval/results/results.h"

namespace assay::eval {

/// Reads RUN/results.json and RUN/metrics.jsonl (at least one of them a run) and writes
/// OUT/report.html (whole or not at all; OUT is created). The charts' runtime is `vega-bundle.js`
/// beside the executable.
/// Throws UsageError where a run has neither file, Error where one does not fit the schema or the
/// runtime is missing.
void write_report(const std::vector<std::filesystem::path>& runs, const std::filesystem::path& out);

/// The summary as plain text, a line a dictionary, then what a reader must know beside it: which
/// simple baseline wins, which task is withheld and why. Ends with a newline; printable characters
/// only.
std::string summary_table(const Results& results);

}  // namespace assay::eval
