#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/encoding/upper_run.h"
#include "eval/tasks/core/splice.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::core {
namespace {

/// x with the ordinary rows replaced by fill(i, out).
template <class Fill>
std::vector<float> replace_ordinary(const TextRows& rows, const Fill& fill) {
  std::vector<float> replaced = rows.x;
  for (int64_t i = 0; i < rows.all_rows(); ++i)
    if (!rows.special[i]) fill(i, replaced.data() + i * rows.d);
  return replaced;
}

enum Variant : size_t { kZero, kMean };  // then one a dictionary

std::vector<std::vector<float>> make_variants(Context& context, const TextRows& rows,
                                              std::span<const sae::Dictionary* const> dictionaries,
                                              const std::vector<float>& mean) {
  const int64_t d = rows.d;
  std::vector<std::vector<float>> variants;
  variants.push_back(
      replace_ordinary(rows, [&](int64_t, float* out) { std::fill_n(out, d, 0.0f); }));
  variants.push_back(
      replace_ordinary(rows, [&](int64_t, float* out) { std::copy_n(mean.begin(), d, out); }));
  std::vector<float> decoded(rows.x.size());
  for (const sae::Dictionary* dictionary : dictionaries) {
    const SparseCodes codes = dictionary->encode(context, rows.all());
    dictionary->decode(context, codes, Matrix(decoded.data(), rows.all_rows(), d), rows.all());
    variants.push_back(replace_ordinary(
        rows, [&](int64_t i, float* out) { std::copy_n(decoded.begin() + i * d, d, out); }));
  }
  return variants;
}

double cosine_loss(const float* a, const float* b, int64_t size) {
  double aa = 0, bb = 0, ab = 0;
  for (int64_t i = 0; i < size; ++i) {
    aa += double(a[i]) * a[i];
    bb += double(b[i]) * b[i];
    ab += double(a[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? 1 - ab / std::sqrt(aa * bb) : 1;
}

}  // namespace

std::vector<SpliceLoss> splice_losses(Context& context, const data::Dataset& dataset,
                                      const TextTable& table, const std::vector<int64_t>& texts,
                                      std::span<const sae::Dictionary* const> dictionaries,
                                      const std::vector<float>& mean, const sae::UpperHalf& upper,
                                      int64_t batch_size) {
  const TextRows rows = read_text_rows(dataset, table, texts);
  const auto variants = make_variants(context, rows, dictionaries, mean);
  std::vector<int64_t> entries;
  for (const int64_t t : texts) entries.push_back(rows.entry(t));
  const auto batches = batches_by_length(rows, entries, batch_size);
  const int64_t count = std::ssize(texts), d_out = upper.d_out();
  std::vector<std::vector<float>> outputs(1 + variants.size());  // the untouched one first
  for (auto& output : outputs) output.resize(static_cast<size_t>(count * d_out));
  context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    for (size_t v = 0; v < outputs.size(); ++v) {
      const RowEdit edit = [&](int64_t entry, Matrix own) {
        const std::vector<float>& source = v == 0 ? rows.x : variants[v - 1];
        std::copy_n(source.begin() + rows.start[entry] * rows.d, own.rows * own.cols, own.data);
      };
      run_upper(upper, rows, entries, batches[static_cast<size_t>(i)], edit,
                Matrix(outputs[v].data(), count, d_out));
    }
  });
  std::vector<SpliceLoss> losses(texts.size());
  for (size_t t = 0; t < texts.size(); ++t) {
    losses[t].document = table.document[texts[t]];
    for (size_t v = 0; v < variants.size(); ++v) {
      const size_t at = t * static_cast<size_t>(d_out);
      const double value = cosine_loss(outputs[0].data() + at, outputs[v + 1].data() + at, d_out);
      if (v == kZero) losses[t].zero = value;
      if (v == kMean) losses[t].mean = value;
      if (v > kMean) losses[t].dictionaries.push_back(value);
    }
  }
  return losses;
}

std::vector<int64_t> choose_splice_texts(const TextTable& table, const data::SplitRule& rule,
                                         int64_t count, uint64_t seed) {
  std::vector<std::pair<uint64_t, int64_t>> keyed;
  for (int64_t t = 0; t < table.size(); ++t)
    if (table.ordinary[t] > 0 && data::split_of(table.document[t], rule) == data::Split::validation)
      keyed.emplace_back(derive_seed(seed, {static_cast<uint64_t>(table.number[t])}), t);
  std::sort(keyed.begin(), keyed.end());
  if (std::ssize(keyed) > count) keyed.resize(static_cast<size_t>(count));
  std::vector<int64_t> texts;
  for (const auto& [key, t] : keyed) texts.push_back(t);
  return texts;
}

}  // namespace assay::eval::core
