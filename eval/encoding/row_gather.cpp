#include "eval/encoding/row_gather.h"

#include <algorithm>

namespace assay::eval {

void gather_rows(const data::Dataset& dataset, const std::vector<uint8_t>& wanted, int64_t block,
                 const std::function<void(std::span<const int64_t> rows, ConstMatrix x)>& body) {
  const int64_t d = dataset.hook("activations").d;
  std::vector<float> chunk_values, values(static_cast<size_t>(block * d));
  std::vector<int64_t> rows;
  const auto flush = [&] {
    if (!rows.empty()) body(rows, ConstMatrix(values.data(), static_cast<int64_t>(rows.size()), d));
    rows.clear();
  };
  const auto& chunks = dataset.chunks();
  for (size_t c = 0; c < chunks.size(); ++c) {
    const auto begin = wanted.begin() + chunks[c].first, end = begin + chunks[c].rows;
    if (std::find_if(begin, end, [](uint8_t w) { return w != 0; }) == end) continue;
    chunk_values.resize(static_cast<size_t>(chunks[c].rows * d));
    dataset.read_chunk("activations", static_cast<int64_t>(c),
                       Matrix(chunk_values.data(), chunks[c].rows, d));
    for (int64_t i = 0; i < chunks[c].rows; ++i) {
      if (!begin[i]) continue;
      std::copy_n(chunk_values.begin() + i * d, d,
                  values.begin() + static_cast<int64_t>(rows.size()) * d);
      rows.push_back(chunks[c].first + i);
      if (static_cast<int64_t>(rows.size()) == block) flush();
    }
  }
  flush();
}

}  // namespace assay::eval
