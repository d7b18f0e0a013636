// Whole texts' activations, and the model's upper half run over changed copies of them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "kernels/base/view.h"
#include "sae/model_half.h"

namespace assay::eval {

/// The rows of some texts, special tokens included, entry after entry.
struct TextRows {
  int64_t d = 0;
  std::vector<int64_t> text;         ///< index into the text table, ascending
  std::vector<int64_t> document;     ///< of each entry
  std::vector<int64_t> start, rows;  ///< entry e has rows [start[e], start[e] + rows[e]) of x
  std::vector<int32_t> tokens;       ///< [all rows]; empty where the data set has none
  std::vector<uint8_t> special;      ///< [all rows] special or a sink: never edited, nor counted
  std::vector<float> x;              ///< [all rows, d]

  int64_t size() const { return static_cast<int64_t>(text.size()); }
  int64_t all_rows() const { return static_cast<int64_t>(special.size()); }
  ConstMatrix all() const { return {x.data(), all_rows(), d}; }
  /// The entry of a text. Throws Error where it was not read.
  int64_t entry(int64_t text_index) const;
};

/// `texts` in any order, repeats allowed. Throws Error where a text is not whole (positions not 0,
/// 1, 2 …).
TextRows read_text_rows(const data::Dataset& dataset, const TextTable& table,
                        const std::vector<int64_t>& texts);

/// Positions in `entries`, cut into batches of at most `size` texts of like length: less padding.
std::vector<std::vector<int64_t>> batches_by_length(const TextRows& rows,
                                                    std::span<const int64_t> entries, int64_t size);

/// Changes a copy of an entry's rows [rows, d] before the upper half sees it.
using RowEdit = std::function<void(int64_t entry, Matrix rows)>;

/// Texts as an upper half takes them: padded with zeros to the longest.
struct PaddedTexts {
  int64_t count = 0, length = 0;
  std::vector<float> residual;  ///< [count, length, d]
  std::vector<int64_t> mask;    ///< [count, length], 1 = token
};
PaddedTexts pad_to_longest(const TextRows& rows, std::span<const int64_t> entries);

/// Loads an upper half whose weights train.
using MakeTrainable = std::function<std::unique_ptr<sae::TrainableHalf>()>;

/// One forward pass on the calling thread, special rows and the text's first token left out:
/// out[positions[i]] = the sum of the losses of the tokens of entries[positions[i]]. The rows must
/// have tokens. Throws Error where one is not finite.
void run_losses(const sae::LossHalf& half, const TextRows& rows, std::span<const int64_t> entries,
                std::span<const int64_t> positions, const RowEdit& edit, std::span<double> out);

/// One forward pass on the calling thread: out row positions[i] = the output for
/// entries[positions[i]].
/// out [entries, d_out]. Throws Error where an output is not finite.
void run_upper(const sae::UpperHalf& upper, const TextRows& rows, std::span<const int64_t> entries,
               std::span<const int64_t> positions, const RowEdit& edit, Matrix out);

}  // namespace assay::eval
