// Texts of a data set that a probe trains on or is tested on.
#pragma once

#include <cstdint>
#include <vector>

#include "data/text_table.h"

namespace assay::eval {

using data::TextTable;

/// The document of each of these texts.
inline std::vector<int64_t> documents_of(const TextTable& table,
                                         const std::vector<int64_t>& texts) {
  std::vector<int64_t> documents;
  for (const int64_t t : texts) documents.push_back(table.document[t]);
  return documents;
}

/// Texts that a probe trains on or is tested on, positives first, and their labels (1 = the class).
struct LabelledTexts {
  std::vector<int64_t> texts;  ///< indices into the text table
  std::vector<uint8_t> labels;
};

}  // namespace assay::eval
