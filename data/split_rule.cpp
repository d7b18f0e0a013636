#include "data/split_rule.h"

#include <fmt/format.h>

#include <cstdio>

namespace assay::data {

std::optional<SplitRule> parse_split_rule(const std::string& text) {
  SplitRule rule;
  unsigned long long seed = 0;
  int read = 0;
  if (std::sscanf(text.c_str(), "validation=%lf,test=%lf,seed=%llu%n", &rule.validation, &rule.test,
                  &seed, &read) != 3 ||
      static_cast<size_t>(read) != text.size())
    return std::nullopt;
  rule.seed = seed;
  const bool shares = rule.validation >= 0 && rule.test >= 0 && rule.validation + rule.test <= 1;
  return shares ? std::optional(rule) : std::nullopt;
}

std::string format_split_rule(const SplitRule& rule) {
  return fmt::format("validation={},test={},seed={}", rule.validation, rule.test, rule.seed);
}

}  // namespace assay::data
