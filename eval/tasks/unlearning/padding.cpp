// The padding attack: filler words in the hope that a gate averages over them.
#include <algorithm>
#include <cmath>
#include <map>

#include "eval/tasks/unlearning/run.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

constexpr size_t kFillerWords = 20;

/// The most frequent ordinary tokens, ties to the smaller id.
std::vector<int32_t> filler_words(const TextRows& rows, const std::vector<int64_t>& texts) {
  std::map<int32_t, int64_t> counts;
  for (const int64_t text : texts) {
    const int64_t entry = rows.entry(text);
    for (int64_t row = rows.start[entry]; row < rows.start[entry] + rows.rows[entry]; ++row)
      if (!rows.special[row]) ++counts[rows.tokens[row]];
  }
  std::vector<std::pair<int64_t, int32_t>> order;
  for (const auto& [token, count] : counts) order.emplace_back(-count, token);
  std::sort(order.begin(), order.end());
  order.resize(std::min(order.size(), kFillerWords));
  std::vector<int32_t> words;
  for (const auto& [count, token] : order) words.push_back(token);
  return words;
}

/// Tokens and flags of the padded texts; activations are still missing.
TextRows padded_tokens(const TextRows& rows, std::vector<int64_t> texts,
                       const std::vector<int32_t>& words, int64_t count, uint64_t seed) {
  std::sort(texts.begin(), texts.end());
  TextRows padded;
  padded.d = rows.d;
  for (const int64_t text : texts) {
    const int64_t entry = rows.entry(text), first = rows.start[entry], size = rows.rows[entry];
    int64_t body = size;  // up to and with the last ordinary token
    while (body > 0 && rows.special[first + body - 1]) --body;
    padded.text.push_back(text);
    padded.start.push_back(padded.all_rows());
    padded.rows.push_back(size + count);
    Rng rng(derive_seed(seed, {static_cast<uint64_t>(text)}));
    const auto copy = [&](int64_t from, int64_t to) {
      padded.tokens.insert(padded.tokens.end(), rows.tokens.begin() + first + from,
                           rows.tokens.begin() + first + to);
      padded.special.insert(padded.special.end(), rows.special.begin() + first + from,
                            rows.special.begin() + first + to);
    };
    copy(0, body);
    for (int64_t i = 0; i < count; ++i) {
      padded.tokens.push_back(words[rng.below(words.size())]);
      padded.special.push_back(0);
    }
    copy(body, size);
  }
  return padded;
}

}  // namespace

TextRows pad_texts(Context& context, const TextRows& rows, const std::vector<int64_t>& texts,
                   const std::vector<int64_t>& filler_from, int64_t count, data::LowerHalf& lower,
                   int64_t batch, uint64_t seed) {
  TextRows padded = padded_tokens(rows, texts, filler_words(rows, filler_from), count, seed);
  padded.x.resize(static_cast<size_t>(padded.all_rows() * padded.d));
  std::vector<int64_t> entries(static_cast<size_t>(padded.size()));
  for (size_t e = 0; e < entries.size(); ++e) entries[e] = static_cast<int64_t>(e);
  const auto batches = batches_by_length(padded, entries, batch);
  context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    const std::vector<int64_t>& own = batches[static_cast<size_t>(i)];
    const int64_t length = padded.rows[own.back()], size = std::ssize(own);  // sorted by length
    std::vector<int64_t> ids(static_cast<size_t>(size * length), 0), mask(ids.size(), 0);
    for (int64_t b = 0; b < size; ++b) {
      std::copy_n(padded.tokens.begin() + padded.start[own[b]], padded.rows[own[b]],
                  ids.begin() + b * length);
      std::fill_n(mask.begin() + b * length, padded.rows[own[b]], 1);
    }
    std::vector<float> out(static_cast<size_t>(size * length * padded.d));
    lower.run(ids.data(), mask.data(), size, length, out.data());
    for (int64_t b = 0; b < size; ++b) {
      const auto first = out.begin() + b * length * padded.d;
      std::copy_n(first, padded.rows[own[b]] * padded.d,
                  padded.x.begin() + padded.start[own[b]] * padded.d);
    }
  });
  if (!std::all_of(padded.x.begin(), padded.x.end(), [](float v) { return std::isfinite(v); }))
    throw Error(
        "unlearning: the model's lower half returned a value that is not finite on padded texts");
  return padded;
}

}  // namespace assay::eval::unlearning
