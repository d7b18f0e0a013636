// How numbers are shown to people.
#pragma once

#include <optional>
#include <string>

#include "eval/results/results.h"
#include "eval/statistics/inference.h"

namespace assay::eval {

/// About four significant digits; shares and AUROC with three decimals, counts whole.
std::string value_text(double value);
std::string signed_text(double value);
/// "[0.713, 0.801]", or "" where there is none.
std::string interval_text(const Number& number, bool with_sign = false);
/// "0.750 [0.713, 0.801]", the value alone if there is no interval.
std::string estimate_text(const Estimate& estimate, bool with_sign = false);
/// "chance 0.500", or "" where a metric has none.
std::string chance_text(const std::optional<double>& chance);
/// "of a part, chance 0.500": what stands under a column's name.
std::string with_chance(const std::string& text, const std::optional<double>& chance);
/// 1234567 as "1,234,567".
std::string count_text(int64_t count);
/// Control characters (escape sequences in a terminal) replaced by '?'.
std::string printable(const std::string& text);

}  // namespace assay::eval
