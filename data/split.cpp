#include "data/split.h"

#include <fmt/core.h>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::data {

std::string_view name_of(Split split) {
  switch (split) {
    case Split::train:
      return "train";
    case Split::validation:
      return "validation";
    case Split::test:
      return "test";
  }
  return "unknown";
}

Split parse_split(std::string_view name) {
  for (const Split split : {Split::train, Split::validation, Split::test}) {
    if (name == name_of(split)) return split;
  }
  throw UsageError(fmt::format("unknown split '{}': use train, validation or test", name));
}

Split split_of(int64_t document, const SplitRule& rule) {
  const uint64_t hash =
      mix64(mix64(static_cast<uint64_t>(document)) ^ mix64(rule.seed + 0x5eed5eed5eedull));
  const double unit = static_cast<double>(hash >> 11) * 0x1p-53;
  if (unit < rule.test) return Split::test;
  if (unit < rule.test + rule.validation) return Split::validation;
  return Split::train;
}

}  // namespace assay::data
