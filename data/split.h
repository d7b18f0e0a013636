// Splitting by document: every row of a document falls into the same part, whatever shard it lies
// in.
#pragma once

#include <cstdint>
#include <string_view>

namespace assay::data {

enum class Split { train, validation, test };

/// "train", "validation" or "test".
std::string_view name_of(Split split);
Split parse_split(std::string_view name);

/// Shares of documents; train gets the rest. The part depends on (document id, seed) alone, by a
/// 64-bit mix hash.
struct SplitRule {
  double validation = 0.05;
  double test = 0.05;
  uint64_t seed = 0;
};

Split split_of(int64_t document, const SplitRule& rule);

}  // namespace assay::data
