// The split rule as dictionaries and results state it: "validation=0.05,test=0.05,seed=0".
#pragma once

#include <optional>
#include <string>

#include "data/split.h"

namespace assay::data {

std::string format_split_rule(const SplitRule& rule);
/// Its inverse; nothing if the text is no such rule, or its shares are no shares.
std::optional<SplitRule> parse_split_rule(const std::string& text);

}  // namespace assay::data
