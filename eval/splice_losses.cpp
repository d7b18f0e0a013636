#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/rng.h"
#include "eval/row_gather.h"
#include "eval/splice.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

/// The chosen texts' rows, all tokens, text after text in row order.
struct Rows {
  std::vector<int64_t> row;  // global
  std::vector<float> x;      // [rows, d]
};

Rows read_rows(const data::Dataset& dataset, const TextTable& table, const std::vector<int64_t>& texts) {
  const auto& position = dataset.position();
  std::vector<uint8_t> wanted(static_cast<size_t>(dataset.info().rows), 0);
  for (const int64_t t : texts)
    for (int64_t i = 0; i < table.rows[t]; ++i) {
      if (position[table.first[t] + i] != i)
        throw Error(fmt::format(
            "{}: row {}: text {} is not whole: position {} where {} was expected; the upper half needs "
            "every token of a text",
            dataset.info().path.string(), table.first[t] + i, table.number[t], position[table.first[t] + i], i));
      wanted[table.first[t] + i] = 1;
    }
  Rows result;
  gather_rows(dataset, wanted, 4096, [&](std::span<const int64_t> rows, ConstMatrix x) {
    result.row.insert(result.row.end(), rows.begin(), rows.end());
    result.x.insert(result.x.end(), x.data, x.data + x.rows * x.cols);
  });
  return result;
}

/// x with the ordinary rows replaced by fill(i, out).
template <class Fill>
std::vector<float> replace_ordinary(const Rows& rows, const std::vector<uint8_t>& special, int64_t d,
                                    const Fill& fill) {
  std::vector<float> replaced = rows.x;
  for (size_t i = 0; i < rows.row.size(); ++i)
    if (!special[rows.row[i]]) fill(static_cast<int64_t>(i), replaced.data() + static_cast<int64_t>(i) * d);
  return replaced;
}

enum Variant : size_t { kZero, kMean };  // then one a dictionary

std::vector<std::vector<float>> make_variants(Context& context, const Rows& rows, const std::vector<uint8_t>& special,
                                              std::span<const sae::Dictionary* const> dictionaries,
                                              const std::vector<float>& mean) {
  const int64_t d = std::ssize(mean), count = std::ssize(rows.row);
  std::vector<std::vector<float>> variants;
  variants.push_back(replace_ordinary(rows, special, d, [&](int64_t, float* out) { std::fill_n(out, d, 0.0f); }));
  variants.push_back(
      replace_ordinary(rows, special, d, [&](int64_t, float* out) { std::copy_n(mean.begin(), d, out); }));
  std::vector<float> decoded(rows.x.size());
  for (const sae::Dictionary* dictionary : dictionaries) {
    const SparseCodes codes = dictionary->encode(context, ConstMatrix(rows.x.data(), count, d));
    dictionary->decode(context, codes, Matrix(decoded.data(), count, d));
    variants.push_back(replace_ordinary(rows, special, d,
                                        [&](int64_t i, float* out) { std::copy_n(decoded.begin() + i * d, d, out); }));
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

/// Texts of one forward pass: where each one's rows start in Rows, and how many there are.
struct Batch {
  std::vector<size_t> texts;  // places in the caller's list
  std::vector<int64_t> start, rows;
  int64_t tokens = 0;  // the longest
};

std::vector<float> embed(const sae::UpperHalf& upper, const std::vector<float>& x, const Batch& batch) {
  const int64_t count = std::ssize(batch.texts), d = upper.d();
  std::vector<float> residual(static_cast<size_t>(count * batch.tokens * d), 0.0f);
  std::vector<int64_t> mask(static_cast<size_t>(count * batch.tokens), 0);
  for (int64_t b = 0; b < count; ++b) {
    std::copy_n(x.begin() + batch.start[b] * d, batch.rows[b] * d, residual.begin() + b * batch.tokens * d);
    std::fill_n(mask.begin() + b * batch.tokens, batch.rows[b], 1);
  }
  std::vector<float> out(static_cast<size_t>(count * upper.d_out()));
  upper.run(residual.data(), mask.data(), count, batch.tokens, out.data());
  if (!std::all_of(out.begin(), out.end(), [](float v) { return std::isfinite(v); }))
    throw Error("the model's upper half returned a value that is not finite: it does not fit these activations");
  return out;
}

/// Batches of texts of like length; the order changes no result, only the padding.
std::vector<Batch> make_batches(const TextTable& table, const std::vector<int64_t>& texts, const Rows& rows,
                                int64_t size) {
  std::vector<size_t> order(texts.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return std::pair(table.rows[texts[a]], texts[a]) < std::pair(table.rows[texts[b]], texts[b]);
  });
  std::vector<Batch> batches;
  for (size_t i = 0; i < order.size(); ++i) {
    if (i % static_cast<size_t>(size) == 0) batches.emplace_back();
    Batch& batch = batches.back();
    const int64_t t = texts[order[i]];
    const auto start = std::lower_bound(rows.row.begin(), rows.row.end(), table.first[t]) - rows.row.begin();
    batch.texts.push_back(order[i]);
    batch.start.push_back(start);
    batch.rows.push_back(table.rows[t]);
    batch.tokens = std::max(batch.tokens, table.rows[t]);
  }
  return batches;
}

}  // namespace

std::vector<SpliceLoss> splice_losses(Context& context, const data::Dataset& dataset, const TextTable& table,
                                      const std::vector<int64_t>& texts,
                                      std::span<const sae::Dictionary* const> dictionaries,
                                      const std::vector<float>& mean, const sae::UpperHalf& upper, int64_t batch_size) {
  const Rows rows = read_rows(dataset, table, texts);
  const auto variants = make_variants(context, rows, dataset.special(), dictionaries, mean);
  const std::vector<Batch> batches = make_batches(table, texts, rows, batch_size);
  std::vector<SpliceLoss> losses(texts.size());
  context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    const Batch& batch = batches[static_cast<size_t>(i)];
    const std::vector<float> clean = embed(upper, rows.x, batch);
    for (size_t v = 0; v < variants.size(); ++v) {
      const std::vector<float> changed = embed(upper, variants[v], batch);
      for (size_t b = 0; b < batch.texts.size(); ++b) {
        SpliceLoss& loss = losses[batch.texts[b]];
        loss.document = table.document[texts[batch.texts[b]]];
        const int64_t at = static_cast<int64_t>(b) * upper.d_out();
        const double value = cosine_loss(clean.data() + at, changed.data() + at, upper.d_out());
        if (v == kZero) loss.zero = value;
        if (v == kMean) loss.mean = value;
        if (v > kMean) loss.dictionaries.push_back(value);
      }
    }
  });
  return losses;
}

std::vector<int64_t> choose_splice_texts(const TextTable& table, const data::SplitRule& rule, int64_t count,
                                         uint64_t seed) {
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

}  // namespace assay::eval
