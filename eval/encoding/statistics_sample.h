// Which tokens reconstruction is measured on: whole documents of the validation split, and of a
// sample of the train split of about its size.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "data/dataset.h"
#include "data/split.h"

namespace assay::eval {

enum SamplePart : uint8_t { kNoPart, kValidationPart, kTrainPart };

struct StatisticsRequest {
  int64_t tokens = std::numeric_limits<int64_t>::max();  ///< at most so many of either part
  uint64_t seed = 0;
};

/// What was taken of a part.
struct SampledPart {
  std::vector<int64_t> documents;  ///< ascending ids
  int64_t tokens = 0;              ///< of these documents
  int64_t of = 0;                  ///< of all documents of the split
};

struct StatisticsSample {
  std::vector<uint8_t> part;  ///< [rows] a SamplePart; special rows and sinks are kNoPart
  SampledPart validation, train;
};

/// Train documents are first thinned by a hash until they hold about as many tokens as validation.
/// Where a part then has more than `request.tokens`, every file gives the same share of its own:
/// documents in the order of a hash of their id and the seed, until the next would pass the share.
/// What a file leaves of it goes to the next file. A document belongs to the file of its first row.
/// At least one document stays. Throws Error where the validation split is empty.
StatisticsSample sample_statistics(const data::Dataset& dataset, const data::SplitRule& rule,
                                   const StatisticsRequest& request);

}  // namespace assay::eval
