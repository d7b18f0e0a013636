// A tokenised corpus, as data/python/tokenise.py writes it: what the harvester reads.
//
// One HDF5 file: /tokens int32 [N] and /special uint8 [N], all texts one after another; /offsets
// int64 [T + 1], where text t is tokens [offsets[t], offsets[t + 1]); /document int64 [T];
// /labels/NAME int32 [T] (attribute `classes`); /text_bytes uint8 and /text_offsets int64 [T + 1],
// the UTF-8 sources. Attributes: format = "assay-corpus", format_version = 1, model,
// tokenizer_hash, source_hash, max_length, prepend_bos.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace assay::data {

/// Held in memory whole: about 5 bytes a token, and the sources.
struct Corpus {
  std::filesystem::path path;
  std::string model, tokenizer_hash, source_hash;
  int64_t max_length = 0;  ///< tokens the longest text may have
  bool prepend_bos = false;
  std::vector<int32_t> tokens;
  std::vector<uint8_t> special;
  std::vector<int64_t> offsets, document;
  std::vector<uint8_t> text_bytes;
  std::vector<int64_t> text_offsets;
  std::vector<LabelInfo> labels;
  std::vector<std::vector<int32_t>> label_values;  ///< [labels][T], −1 = none

  int64_t texts() const { return static_cast<int64_t>(offsets.size()) - 1; }
  int64_t length(int64_t text) const {
    return offsets[static_cast<size_t>(text + 1)] - offsets[static_cast<size_t>(text)];
  }

  /// Reads a file that may be hostile, in a child process. Every bound is checked: offsets rise
  /// from 0 to N, no text is empty or longer than max_length, tokens are not negative, special is 0
  /// or 1, label values lie in −1 … classes − 1 (any where there are no classes). Throws Error
  /// naming the file, the data set and the entry.
  static Corpus open(const std::filesystem::path& path);
};

}  // namespace assay::data
