#include "eval/tasks/spurious/fixes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <span>

#include "eval/learners/probes.h"
#include "eval/tasks/spurious/decoder_rows.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

/// Features of a cell in one space: train, anti, within usual, within other.
using Parts = std::array<Features, 4>;

std::array<const LabelledTexts*, 4> parts_of(const SpuriousCell& cell, size_t share) {
  return {&cell.train[share], &cell.anti, &cell.within[0], &cell.within[1]};
}

Parts dense_parts(const EncodeCache& cache, const SpuriousCell& cell, size_t share) {
  Parts parts;
  for (size_t i = 0; i < parts.size(); ++i)
    parts[i] = gather_dense(cache, cache.dense, parts_of(cell, share)[i]->texts);
  return parts;
}

Parts latent_parts(const EncodeCache& cache, const SparseCodes& pooled, const SpuriousCell& cell,
                   size_t share, const std::vector<int32_t>& latents) {
  Parts parts;
  for (size_t i = 0; i < parts.size(); ++i)
    parts[i] = gather_latents(cache, pooled, parts_of(cell, share)[i]->texts, latents);
  return parts;
}

/// Logistic regression on the columns (empty = all), and its AUROCs.
SpuriousScore test(std::string fix, int64_t strength, const Parts& x, const SpuriousCell& cell,
                   size_t share, const std::vector<int64_t>& columns, uint64_t seed,
                   LogisticOptions options = {}) {
  const auto parts = parts_of(cell, share);
  options.documents = x[0].documents;
  const LinearProbe probe =
      columns.empty() ? fit_logistic(x[0].view(), parts[0]->labels, options, seed)
                      : fit_columns(x[0].view(), parts[0]->labels, columns, options, seed);
  const auto score = [&](size_t i) { return auroc(probe.score(x[i].view()), parts[i]->labels); };
  return {std::move(fix), strength, score(1), (score(2) + score(3)) / 2};
}

/// Mean and sd (1/n) of a column.
std::array<double, 2> moments(const Features& x, int64_t column) {
  double sum = 0, squares = 0;
  for (int64_t i = 0; i < x.rows; ++i) sum += x.values[i * x.cols + column];
  const double mean = sum / static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i) {
    const double away = x.values[i * x.cols + column] - mean;
    squares += away * away;
  }
  return {mean, std::sqrt(squares / static_cast<double>(x.rows))};
}

/// x z-scored by the training part, and behind it a column: `scores` of the training texts,
/// z-scored, times `strength`; the same for all texts (the mean: 0) in the tests.
Parts with_covariate(const Parts& x, const std::vector<double>& scores, double strength) {
  Parts result;
  for (size_t part = 0; part < x.size(); ++part) {
    result[part] = {x[part].rows, x[part].cols + 1, {}, x[part].documents};
    result[part].values.resize(static_cast<size_t>(result[part].rows * result[part].cols));
  }
  const int64_t d = x[0].cols;
  for (int64_t j = 0; j < d; ++j) {
    const auto [mean, sd] = moments(x[0], j);
    for (size_t part = 0; part < x.size(); ++part)
      for (int64_t i = 0; i < x[part].rows && sd > 0; ++i)
        result[part].values[i * (d + 1) + j] =
            static_cast<float>((x[part].values[i * d + j] - mean) / sd);
  }
  Features column{std::ssize(scores), 1, {scores.begin(), scores.end()}};
  const auto [mean, sd] = moments(column, 0);
  for (int64_t i = 0; i < x[0].rows && sd > 0; ++i)
    result[0].values[i * (d + 1) + d] = static_cast<float>(strength * (scores[i] - mean) / sd);
  return result;
}

/// What the formats differ by within a document that has texts of both: mean of the usual less mean
/// of the other.
Features paired_differences(const Features& x, const TextTable& texts,
                            const LabelledTexts& formats) {
  std::map<int64_t, std::array<std::vector<int64_t>, 2>> rows;  // of each document, by format
  for (size_t i = 0; i < formats.texts.size(); ++i)
    rows[texts.document[formats.texts[i]]][formats.labels[i]].push_back(static_cast<int64_t>(i));
  Features result{0, x.cols, {}};
  for (const auto& [document, own] : rows) {
    if (own[0].empty() || own[1].empty()) continue;
    std::vector<double> difference(static_cast<size_t>(x.cols));
    for (const size_t label : {0, 1})
      for (const int64_t row : own[label])
        for (int64_t j = 0; j < x.cols; ++j)
          difference[j] += (label ? 1.0 : -1.0) * x.values[row * x.cols + j] /
                           static_cast<double>(own[label].size());
    result.values.insert(result.values.end(), difference.begin(), difference.end());
    ++result.rows;
  }
  return result;
}

Parts erased(const Parts& x, const Eraser& eraser) {
  Parts result = x;
  for (Features& part : result)
    eraser.apply(part.view(), {part.values.data(), part.rows, part.cols});
  return result;
}

Eraser first_directions(const Eraser& eraser, int64_t rank) {
  Eraser result = eraser;
  const auto size = static_cast<size_t>(std::min(rank, eraser.rank()) * eraser.features());
  result.left.resize(size);
  result.right.resize(size);
  return result;
}

std::span<const int32_t> first_of(const std::vector<int32_t>& ranked, int64_t count) {
  return {ranked.data(), static_cast<size_t>(std::min<int64_t>(count, std::ssize(ranked)))};
}

/// All columns but those of `dropped`. `latents` are the columns' latents, ascending.
std::vector<int64_t> kept_columns(const std::vector<int32_t>& latents,
                                  std::span<const int32_t> dropped) {
  std::vector<uint8_t> gone(latents.size());
  for (const int32_t latent : dropped) {
    const auto at = std::lower_bound(latents.begin(), latents.end(), latent);
    if (at != latents.end() && *at == latent) gone[at - latents.begin()] = 1;
  }
  std::vector<int64_t> kept;
  for (size_t i = 0; i < gone.size(); ++i)
    if (!gone[i]) kept.push_back(static_cast<int64_t>(i));
  return kept;
}

/// Takes the part of the decoding that latents [from, to) of `ranked` made away from each text's
/// pooled activations.
void subtract_latents(const EncodeCache& cache, const sae::Dictionary& dictionary,
                      const SparseCodes& pooled, const std::vector<int64_t>& texts,
                      const std::vector<uint8_t>& taken, Features& x) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const int64_t slot = cache.slot(texts[i]);
    float* row = x.values.data() + i * x.cols;
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      if (!taken[pooled.indices[p]]) continue;
      const float* direction = dictionary.w_dec.data() + pooled.indices[p] * x.cols;
      for (int64_t j = 0; j < x.cols; ++j) row[j] -= pooled.values[p] * direction[j];
    }
  }
}

LogisticOptions as_they_are() {
  LogisticOptions options;
  options.standardise = false;
  return options;
}

void score_edits(const EncodeCache& cache, const sae::Dictionary& dictionary,
                 const SparseCodes& pooled, const SpuriousCell& cell, size_t share,
                 const LinearProbe& probe, const LatentFormat& format, const Grids& grids,
                 int64_t beside, uint64_t seed, std::vector<SpuriousScore>& scores) {
  Parts x = dense_parts(cache, cell, share);
  const std::vector<double> scores_of_format = probe.score(x[0].view());
  int64_t done = 0;
  for (const int64_t m : grids.latents) {
    std::vector<uint8_t> taken(static_cast<size_t>(dictionary.info.n));
    for (; done < std::min<int64_t>(m, std::ssize(format.ranked)); ++done)
      taken[format.ranked[done]] = 1;
    for (size_t i = 0; i < x.size(); ++i)
      subtract_latents(cache, dictionary, pooled, parts_of(cell, share)[i]->texts, taken, x[i]);
    scores.push_back(test("edit", m, x, cell, share, {}, seed));
    scores.push_back(test("edit_covariate", m,
                          with_covariate(x, scores_of_format, static_cast<double>(beside)), cell,
                          share, {}, seed, as_they_are()));
  }
}

/// "latents", no fix. Where no latent fires every text scores alike.
SpuriousScore score_all_latents(const EncodeCache& cache, const SparseCodes& pooled,
                                const SpuriousCell& cell, size_t share, uint64_t seed) {
  const std::vector<int32_t> latents = active_latents(cache, pooled, cell.train[share].texts);
  if (latents.empty()) return {"latents", 0, .5, .5};
  return test("latents", 0, latent_parts(cache, pooled, cell, share, latents), cell, share, {},
              seed);
}

void permute(SpuriousCell& cell, size_t share, uint64_t seed) {
  Rng(derive_seed(seed, {'n'})).shuffle(std::span(cell.train[share].labels));
}

}  // namespace

Eraser learn_inlp(const EncodeCache& cache, const LabelledTexts& formats, int64_t rank,
                  uint64_t seed) {
  LogisticOptions one_c;
  one_c.c_grid = {1};  // cross-validation in each of its rounds would cost 25 times as much
  const Features x = gather_dense(cache, cache.dense, formats.texts);
  return fit_inlp(x.view(), formats.labels, rank, one_c, seed);
}

DenseFormat learn_dense_format(const EncodeCache& cache, const TextTable& texts,
                               const LabelledTexts& formats, const Grids& grids, uint64_t seed) {
  const Features x = gather_dense(cache, cache.dense, formats.texts);
  const int64_t rank = grids.inlp.empty() ? 1 : grids.inlp.back();
  DenseFormat format{fit_mean_projection(x.view(), formats.labels),
                     fit_leace(x.view(), formats.labels),
                     learn_inlp(cache, formats, rank, seed),
                     std::nullopt,
                     rank_features(x.view(), formats.labels),
                     fit_logistic(x.view(), formats.labels, by_document(x.documents), seed)};
  if (const Features pairs = paired_differences(x, texts, formats); pairs.rows > 0)
    format.paired = fit_paired_projection(pairs.view(), cache.d);
  return format;
}

LatentFormat learn_latent_format(const EncodeCache& cache, const sae::Dictionary& dictionary,
                                 const SparseCodes& pooled, const LabelledTexts& formats,
                                 uint64_t seed) {
  const std::vector<int32_t> latents = active_latents(cache, pooled, formats.texts);
  LatentFormat result{.ranked = {}, .seed = derive_seed(seed, {'r'})};
  if (latents.empty()) return result;
  const Features x = gather_latents(cache, pooled, formats.texts, latents);
  const std::vector<LatentWeight> weights =
      latent_weights(x.view(), gather_decoder(dictionary, latents));
  for (const int64_t column : rank_features(x.view(), formats.labels)) {
    result.ranked.push_back(latents[column]);
    result.weights.push_back(weights[column]);
  }
  return result;
}

void draw_random(LatentFormat& format, int64_t count) {
  std::vector<int64_t> chosen(first_of(format.ranked, count).size());
  std::iota(chosen.begin(), chosen.end(), int64_t{0});
  const std::vector<int64_t> partners = matched_latents(
      format.weights, chosen, derive_seed(format.seed, {static_cast<uint64_t>(count)}));
  RandomLatents& random = format.random[count];
  random.match.add(format.weights, chosen, partners);
  for (const int64_t place : partners)
    if (place != kUnmatched) random.latents.push_back(format.ranked[place]);
}

std::vector<SpuriousScore> score_dense_plain(const EncodeCache& cache, const SpuriousCell& cell,
                                             size_t share, const DenseFormat& format,
                                             uint64_t seed) {
  const Parts x = dense_parts(cache, cell, share);
  return {test("dense", 0, x, cell, share, {}, seed),
          test("mean_difference", 1, erased(x, format.mean_difference), cell, share, {}, seed),
          test("leace", 1, erased(x, format.leace), cell, share, {}, seed)};
}

std::vector<SpuriousScore> score_dense_grids(const EncodeCache& cache, const SpuriousCell& cell,
                                             size_t share, const DenseFormat& format,
                                             const Grids& grids, int64_t beside, uint64_t seed) {
  const Parts x = dense_parts(cache, cell, share);
  std::vector<SpuriousScore> scores;
  for (const int64_t rank : grids.inlp)
    scores.push_back(
        test("inlp", rank, erased(x, first_directions(format.inlp, rank)), cell, share, {}, seed));
  const std::vector<double> scores_of_format = format.probe.score(x[0].view());
  const auto beside_format = [&](const char* fix, int64_t strength, const Parts& parts,
                                 int64_t times) {
    scores.push_back(test(fix, strength,
                          with_covariate(parts, scores_of_format, static_cast<double>(times)), cell,
                          share, {}, seed, as_they_are()));
  };
  for (const int64_t times : grids.covariate) beside_format("covariate", times, x, times);
  for (const int64_t rank : grids.paired) {
    if (!format.paired) continue;
    const Parts projected = erased(x, first_directions(*format.paired, rank));
    scores.push_back(test("paired", rank, projected, cell, share, {}, seed));
    beside_format("paired_covariate", rank, projected, beside);
  }
  for (const int64_t count : grids.neurons) {
    std::vector<int64_t> kept(format.neurons.begin() + count, format.neurons.end());
    std::sort(kept.begin(), kept.end());
    scores.push_back(test("neurons_drop", count, x, cell, share, kept, seed));
  }
  return scores;
}

std::vector<SpuriousScore> score_latent_plain(const EncodeCache& cache, const SparseCodes& pooled,
                                              const SpuriousCell& cell, size_t share,
                                              uint64_t seed) {
  return {score_all_latents(cache, pooled, cell, share, seed),
          test("edit", 0, dense_parts(cache, cell, share), cell, share, {}, seed)};
}

std::vector<SpuriousScore> score_latent_grids(const EncodeCache& cache,
                                              const sae::Dictionary& dictionary,
                                              const SparseCodes& pooled, const SpuriousCell& cell,
                                              size_t share, const LinearProbe& probe,
                                              const LatentFormat& format, const Grids& grids,
                                              int64_t beside, uint64_t seed) {
  const std::vector<int32_t> latents = active_latents(cache, pooled, cell.train[share].texts);
  const Parts x = latent_parts(cache, pooled, cell, share, latents);
  std::vector<SpuriousScore> scores;
  const auto drop = [&](const char* fix, int64_t m, std::span<const int32_t> dropped) {
    const std::vector<int64_t> kept = kept_columns(latents, dropped);
    if (!kept.empty()) scores.push_back(test(fix, m, x, cell, share, kept, seed));
  };
  for (const int64_t m : grids.latents) drop("latents_drop", m, first_of(format.ranked, m));
  for (const int64_t m : grids.latents)
    if (const RandomLatents& random = format.random.at(m); random.complete())
      drop("latents_random", m, random.latents);
  score_edits(cache, dictionary, pooled, cell, share, probe, format, grids, beside, seed, scores);
  return scores;
}

SpuriousScore score_dense_null(const EncodeCache& cache, SpuriousCell cell, size_t share,
                               uint64_t seed) {
  permute(cell, share, seed);
  return test("dense", 0, dense_parts(cache, cell, share), cell, share, {}, seed);
}

SpuriousScore score_latent_null(const EncodeCache& cache, const SparseCodes& pooled,
                                SpuriousCell cell, size_t share, uint64_t seed) {
  permute(cell, share, seed);
  return score_all_latents(cache, pooled, cell, share, seed);
}

}  // namespace assay::eval::spurious
