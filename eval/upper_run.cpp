#include "eval/upper_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "eval/row_gather.h"
#include "kernels/error.h"

namespace assay::eval {

int64_t TextRows::entry(int64_t text_index) const {
  const auto found = std::lower_bound(text.begin(), text.end(), text_index);
  if (found == text.end() || *found != text_index) throw Error(fmt::format("text {} was not read", text_index));
  return found - text.begin();
}

TextRows read_text_rows(const data::Dataset& dataset, const TextTable& table, const std::vector<int64_t>& texts) {
  TextRows result;
  result.d = dataset.hook("activations").d;
  result.text = texts;
  std::sort(result.text.begin(), result.text.end());
  result.text.erase(std::unique(result.text.begin(), result.text.end()), result.text.end());
  const auto& position = dataset.position();
  std::vector<uint8_t> wanted(static_cast<size_t>(dataset.info().rows), 0);
  int64_t count = 0;
  for (const int64_t t : result.text) {
    for (int64_t i = 0; i < table.rows[t]; ++i) {
      const int64_t row = table.first[t] + i;
      if (position[row] != i)
        throw Error(
            fmt::format("{}: row {}: text {} is not whole: position {} where {} was expected; the upper half needs "
                        "every token of a text",
                        dataset.info().path.string(), row, table.number[t], position[row], i));
      wanted[row] = 1;
      result.special.push_back(dataset.special()[row]);
      if (dataset.info().has_tokens) result.tokens.push_back(dataset.tokens()[row]);
    }
    result.start.push_back(count);
    result.rows.push_back(table.rows[t]);
    count += table.rows[t];
  }
  gather_rows(dataset, wanted, 4096, [&](std::span<const int64_t>, ConstMatrix x) {
    result.x.insert(result.x.end(), x.data, x.data + x.rows * x.cols);
  });
  return result;
}

std::vector<std::vector<int64_t>> batches_by_length(const TextRows& rows, std::span<const int64_t> entries,
                                                    int64_t size) {
  std::vector<int64_t> order(entries.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::tuple(rows.rows[entries[a]], entries[a], a) < std::tuple(rows.rows[entries[b]], entries[b], b);
  });
  std::vector<std::vector<int64_t>> batches;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i % static_cast<size_t>(size) == 0) batches.emplace_back();
    batches.back().push_back(order[i]);
  }
  return batches;
}

PaddedTexts pad_to_longest(const TextRows& rows, std::span<const int64_t> entries) {
  PaddedTexts padded;
  padded.count = std::ssize(entries);
  for (const int64_t entry : entries) padded.length = std::max(padded.length, rows.rows[entry]);
  padded.residual.assign(static_cast<size_t>(padded.count * padded.length * rows.d), 0.0f);
  padded.mask.assign(static_cast<size_t>(padded.count * padded.length), 0);
  for (int64_t b = 0; b < padded.count; ++b) {
    const int64_t entry = entries[b], length = rows.rows[entry];
    std::copy_n(rows.x.begin() + rows.start[entry] * rows.d, length * rows.d,
                padded.residual.begin() + b * padded.length * rows.d);
    std::fill_n(padded.mask.begin() + b * padded.length, length, 1);
  }
  return padded;
}

void run_upper(const sae::UpperHalf& upper, const TextRows& rows, std::span<const int64_t> entries,
               std::span<const int64_t> positions, const RowEdit& edit, Matrix out) {
  const int64_t count = std::ssize(positions), d = rows.d;
  std::vector<int64_t> own;
  for (const int64_t p : positions) own.push_back(entries[p]);
  PaddedTexts texts = pad_to_longest(rows, own);
  for (int64_t b = 0; edit && b < count; ++b)
    edit(own[b], Matrix(texts.residual.data() + b * texts.length * d, rows.rows[own[b]], d));
  std::vector<float> result(static_cast<size_t>(count * upper.d_out()));
  upper.run(texts.residual.data(), texts.mask.data(), count, texts.length, result.data());
  if (!std::all_of(result.begin(), result.end(), [](float v) { return std::isfinite(v); }))
    throw Error("the model's upper half returned a value that is not finite: it does not fit these activations");
  for (int64_t b = 0; b < count; ++b)
    std::copy_n(result.begin() + b * upper.d_out(), upper.d_out(), out.row(positions[b]));
}

}  // namespace assay::eval
