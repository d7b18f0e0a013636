// The page of a sweep.
#pragma once

#include <string>

#include "eval/sweep/sweep.h"

namespace assay::eval::report {

/// One HTML document that opens offline. Throws Error where the charts' runtime is missing.
std::string sweep_page(const SweepResults& results);

}  // namespace assay::eval::report
