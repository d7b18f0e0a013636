// The report's style sheet and the script that draws its charts.
#pragma once

namespace assay::eval::report {

extern const char* const kStyle;
extern const char* const kScript;

}  // namespace assay::eval::report
