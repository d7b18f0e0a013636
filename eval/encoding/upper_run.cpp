#include "eval/encoding/upper_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "eval/encoding/row_gather.h"
#include "kernels/base/error.h"

namespace assay::eval {

int64_t TextRows::entry(int64_t text_index) const {
  const auto found = std::lower_bound(text.begin(), text.end(), text_index);
  if (found == text.end() || *found != text_index)
    throw Error(fmt::format("text {} was not read", text_index));
  return found - text.begin();
}

TextRows read_text_rows(const data::Dataset& dataset, const TextTable& table,
                        const std::vector<int64_t>& texts) {
  TextRows result;
  result.d = dataset.hook("activations").d;
  result.text = texts;
  std::sort(result.text.begin(), result.text.end());
  result.text.erase(std::unique(result.text.begin(), result.text.end()), result.text.end());
  result.document = documents_of(table, result.text);
  const auto& position = dataset.position();
  std::vector<uint8_t> wanted(static_cast<size_t>(dataset.info().rows), 0);
  int64_t count = 0;
  for (const int64_t t : result.text) {
    for (int64_t i = 0; i < table.rows[t]; ++i) {
      const int64_t row = table.first[t] + i;
      if (position[row] != i)
        throw Error(
            fmt::format("{}: row {}: text {} is not whole: position {} where {} was expected; the "
                        "upper half needs "
                        "every token of a text",
                        dataset.info().path.string(), row, table.number[t], position[row], i));
      wanted[row] = 1;
      result.special.push_back(dataset.left_out()[row]);
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

std::vector<std::vector<int64_t>> batches_by_length(const TextRows& rows,
                                                    std::span<const int64_t> entries,
                                                    int64_t size) {
  std::vector<int64_t> order(entries.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
  std::sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::tuple(rows.rows[entries[a]], entries[a], a) <
           std::tuple(rows.rows[entries[b]], entries[b], b);
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

namespace {

/// Copies of these entries, edited.
PaddedTexts edited_texts(const TextRows& rows, std::span<const int64_t> own, const RowEdit& edit) {
  PaddedTexts texts = pad_to_longest(rows, own);
  for (int64_t b = 0; edit && b < texts.count; ++b)
    edit(own[b],
         Matrix(texts.residual.data() + b * texts.length * rows.d, rows.rows[own[b]], rows.d));
  return texts;
}

std::vector<int64_t> at(std::span<const int64_t> entries, std::span<const int64_t> positions) {
  std::vector<int64_t> own;
  for (const int64_t p : positions) own.push_back(entries[p]);
  return own;
}

}  // namespace

void run_losses(const sae::LossHalf& half, const TextRows& rows, std::span<const int64_t> entries,
                std::span<const int64_t> positions, const RowEdit& edit, std::span<double> out) {
  const std::vector<int64_t> own = at(entries, positions);
  const PaddedTexts texts = edited_texts(rows, own, edit);
  std::vector<int64_t> ids(texts.mask.size(), 0);
  for (int64_t b = 0; b < texts.count; ++b)
    std::copy_n(rows.tokens.begin() + rows.start[own[b]], rows.rows[own[b]],
                ids.begin() + b * texts.length);
  std::vector<float> loss(texts.mask.size());
  half.run(texts.residual.data(), ids.data(), texts.mask.data(), texts.count, texts.length,
           loss.data());
  for (int64_t b = 0; b < texts.count; ++b) {
    double sum = 0;
    for (int64_t t = 1; t < rows.rows[own[b]]; ++t)
      if (!rows.special[rows.start[own[b]] + t]) sum += loss[b * texts.length + t];
    if (!std::isfinite(sum))
      throw Error(
          "the model's upper half returned a value that is not finite: it does not fit these "
          "activations");
    out[positions[b]] = sum;
  }
}

void run_upper(const sae::UpperHalf& upper, const TextRows& rows, std::span<const int64_t> entries,
               std::span<const int64_t> positions, const RowEdit& edit, Matrix out) {
  const PaddedTexts texts = edited_texts(rows, at(entries, positions), edit);
  std::vector<float> result(static_cast<size_t>(texts.count * upper.d_out()));
  upper.run(texts.residual.data(), texts.mask.data(), texts.count, texts.length, result.data());
  if (!std::all_of(result.begin(), result.end(), [](float v) { return std::isfinite(v); }))
    throw Error(
        "the model's upper half returned a value that is not finite: it does not fit these "
        "activations");
  for (int64_t b = 0; b < texts.count; ++b)
    std::copy_n(result.begin() + b * upper.d_out(), upper.d_out(), out.row(positions[b]));
}

}  // namespace assay::eval
