#include "eval/tasks/unlearning/text_relearn.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"

namespace assay::eval::unlearning {
namespace {

/// Ids and weights that give the mean loss over ordinary tokens, the first of each text left out.
void step(sae::TrainableLossHalf& half, const UnlearningCorpus& corpus,
          const std::vector<int64_t>& entries, const Edit* edit, double rate) {
  const TextRows& rows = corpus.rows;
  PaddedTexts texts = pad_to_longest(rows, entries);
  std::vector<int64_t> ids(texts.mask.size(), 0);
  std::vector<float> weights(texts.mask.size(), 0.0f);
  float tokens = 0;
  for (int64_t b = 0; b < texts.count; ++b) {
    const int64_t entry = entries[b], start = rows.start[entry];
    if (edit && edit->touches(corpus, entry))
      edit->apply(
          corpus, entry,
          Matrix(texts.residual.data() + b * texts.length * rows.d, rows.rows[entry], rows.d));
    std::copy_n(rows.tokens.begin() + start, rows.rows[entry], ids.begin() + b * texts.length);
    for (int64_t t = 1; t < rows.rows[entry]; ++t) {
      if (rows.special[start + t]) continue;
      weights[b * texts.length + t] = 1;
      tokens += 1;
    }
  }
  for (float& weight : weights) weight /= tokens;
  half.step(texts.residual.data(), ids.data(), texts.mask.data(), weights.data(), texts.count,
            texts.length, rate);
}

std::vector<double> losses(const sae::LossHalf& half, const UnlearningCorpus& corpus,
                           const std::vector<int64_t>& entries, const Edit* edit, int64_t batch) {
  RowEdit apply;
  if (edit)
    apply = [&](int64_t entry, Matrix rows) {
      if (edit->touches(corpus, entry)) edit->apply(corpus, entry, rows);
    };
  std::vector<double> out(entries.size());
  for (const auto& positions : batches_by_length(corpus.rows, entries, batch))
    run_losses(half, corpus.rows, entries, positions, apply, out);
  return out;
}

double sum(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

double tokens_of(const UnlearningCorpus& corpus, const std::vector<int64_t>& entries) {
  double tokens = 0;
  for (const int64_t entry : entries) {
    const auto first = corpus.rows.special.begin() + corpus.rows.start[entry];
    tokens += static_cast<double>(std::count(first + 1, first + corpus.rows.rows[entry], 0));
  }
  return tokens;
}

}  // namespace

Relearned relearn(const MakeLossTrainer& make, const UnlearningCorpus& corpus,
                  const std::vector<int64_t>& own, const std::vector<int64_t>& tune,
                  const std::vector<int64_t>& test, const Edit* edit, int64_t batch) {
  const auto size = std::min<size_t>(own.size(), kRelearnBatch);
  Relearned best;
  double least = std::numeric_limits<double>::infinity();
  for (const double rate : kRelearnRates) {
    const auto half = make();
    size_t next = 0;
    for (int64_t s = 0; s < kRelearnSteps; ++s) {
      std::vector<int64_t> entries;
      for (size_t i = 0; i < size; ++i, next = (next + 1) % own.size())
        entries.push_back(own[next]);
      step(*half, corpus, entries, edit, rate);
    }
    const double loss = sum(losses(*half, corpus, tune, edit, batch));
    if (loss >= least) continue;
    least = loss;
    best = {std::ssize(own), rate,
            sum(losses(*half, corpus, own, edit, batch)) / tokens_of(corpus, own),
            losses(*half, corpus, test, edit, batch)};
  }
  return best;
}

}  // namespace assay::eval::unlearning
