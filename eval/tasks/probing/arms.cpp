#include "eval/tasks/probing/arms.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/learners/probes.h"
#include "eval/learners/probes_text.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

ArmScore test(const std::string& method, const Scorer& scorer, const ProbingCell& cell,
              const CellFeatures& features) {
  return {method, auroc(scorer.score(features.id.view()), cell.id.labels),
          auroc(scorer.score(features.ood.view()), cell.ood.labels)};
}

ArmScore first_columns(const std::string& method, const ProbingCell& cell,
                       const CellFeatures& features, const std::vector<int64_t>& ranked, int64_t k,
                       uint64_t seed) {
  const std::vector<int64_t> columns(ranked.begin(),
                                     ranked.begin() + std::min<int64_t>(k, std::ssize(ranked)));
  return test(method, fit_columns(features.train.view(), cell.train.labels, columns, {}, seed),
              cell, features);
}

std::vector<ArmScore> top_k_arms(const std::string& space, const ProbingCell& cell,
                                 const CellFeatures& features, const OodConfig& config,
                                 uint64_t seed) {
  const std::vector<int64_t> ranked = rank_features(features.train.view(), cell.train.labels);
  std::vector<ArmScore> arms;
  for (const int64_t k : config.top_k)
    arms.push_back(
        first_columns(fmt::format("{}_top{}", space, k), cell, features, ranked, k, seed));
  return arms;
}

std::vector<std::string_view> texts_of(const LabelledTexts& part, const TextTable& table,
                                       const std::vector<std::string>& texts) {
  std::vector<std::string_view> result;
  for (const int64_t t : part.texts) {
    const int64_t number = table.number[t];
    if (number < 0 || number >= std::ssize(texts))
      throw Error(
          fmt::format("text number {} is not among the data set's {} texts", number, texts.size()));
    result.push_back(texts[number]);
  }
  return result;
}

/// Mean over columns of the variance over rows.
double mean_variance(ConstMatrix x) {
  double total = 0;
  for (int64_t j = 0; j < x.cols; ++j) {
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < x.rows; ++i) {
      sum += x.row(i)[j];
      squares += static_cast<double>(x.row(i)[j]) * x.row(i)[j];
    }
    const double mean = sum / static_cast<double>(x.rows);
    total += squares / static_cast<double>(x.rows) - mean * mean;
  }
  return total / static_cast<double>(std::max<int64_t>(1, x.cols));
}

/// L2 logistic regression on features as they are. Its C counts in units of their mean variance, so
/// that the grid means what it means for z-scored features.
ArmScore one_scale_arm(const std::string& method, const ProbingCell& cell,
                       const CellFeatures& features, uint64_t seed) {
  LogisticOptions options;
  options.standardise = false;
  options.c_grid = default_c_grid(Penalty::l2);
  const double variance = mean_variance(features.train.view());
  for (double& c : options.c_grid) c /= variance > 0 ? variance : 1;
  return test(method, fit_logistic(features.train.view(), cell.train.labels, options, seed), cell,
              features);
}

}  // namespace

CellFeatures dense_features(const EncodeCache& cache, const std::vector<float>& pooled,
                            const ProbingCell& cell) {
  return {gather_dense(cache, pooled, cell.train.texts), gather_dense(cache, pooled, cell.id.texts),
          gather_dense(cache, pooled, cell.ood.texts)};
}

CellFeatures latent_features(const EncodeCache& cache, const SparseCodes& pooled,
                             const ProbingCell& cell) {
  std::vector<int32_t> latents = active_latents(cache, pooled, cell.train.texts);
  if (latents.empty()) latents.push_back(0);  // silent on all: one constant column, which scores .5
  return {gather_latents(cache, pooled, cell.train.texts, latents),
          gather_latents(cache, pooled, cell.id.texts, latents),
          gather_latents(cache, pooled, cell.ood.texts, latents)};
}

std::vector<ArmScore> dense_arms(const ProbingCell& cell, const CellFeatures& dense,
                                 const OodConfig& config, uint64_t seed) {
  ProbeOptions options;
  options.pca_components = config.pca;
  options.neighbours = config.neighbours;
  const std::pair<const char*, ProbeKind> kinds[] = {{"dense_lr", ProbeKind::logistic},
                                                     {"diff_means", ProbeKind::diff_means},
                                                     {"lda", ProbeKind::lda},
                                                     {"pca_lr", ProbeKind::pca_logistic},
                                                     {"knn", ProbeKind::knn}};
  std::vector<ArmScore> arms;
  for (const auto& [method, kind] : kinds)
    arms.push_back(test(method,
                        *fit_probe(kind, dense.train.view(), cell.train.labels, options, seed),
                        cell, dense));
  for (ArmScore& arm : top_k_arms("neurons", cell, dense, config, seed))
    arms.push_back(std::move(arm));
  return arms;
}

ArmScore text_arm(const ProbingCell& cell, const TextTable& table,
                  const std::vector<std::string>& texts, uint64_t seed) {
  const TextProbe probe =
      fit_tfidf_logistic(texts_of(cell.train, table, texts), cell.train.labels, {}, seed);
  return {"tfidf_lr", auroc(probe.score(texts_of(cell.id, table, texts)), cell.id.labels),
          auroc(probe.score(texts_of(cell.ood, table, texts)), cell.ood.labels)};
}

std::vector<ArmScore> latent_arms(const ProbingCell& cell, const CellFeatures& latents,
                                  const OodConfig& config, uint64_t seed) {
  std::vector<ArmScore> arms = sparse_latent_arms(cell, latents, config, seed);
  arms.push_back(logistic_arm("latents_all", cell, latents, seed));
  arms.push_back(one_scale_arm("latents_all_one_scale", cell, latents, seed));
  LogisticOptions l1;
  l1.penalty = Penalty::l1;
  arms.push_back(test("latents_l1", fit_logistic(latents.train.view(), cell.train.labels, l1, seed),
                      cell, latents));
  return arms;
}

ArmScore reconstruction_arm(const ProbingCell& cell, const CellFeatures& reconstruction,
                            uint64_t seed) {
  return logistic_arm("reconstruction_lr", cell, reconstruction, seed);
}

ArmScore top_k_arm(const std::string& method, const ProbingCell& cell, const CellFeatures& features,
                   int64_t k, uint64_t seed) {
  return first_columns(method, cell, features,
                       rank_features(features.train.view(), cell.train.labels), k, seed);
}

ArmScore logistic_arm(const std::string& method, const ProbingCell& cell,
                      const CellFeatures& features, uint64_t seed) {
  return test(method, fit_logistic(features.train.view(), cell.train.labels, {}, seed), cell,
              features);
}

ArmScore diff_means_arm(const ProbingCell& cell, const CellFeatures& dense) {
  return test("diff_means", fit_diff_means(dense.train.view(), cell.train.labels), cell, dense);
}

std::vector<ArmScore> sparse_latent_arms(const ProbingCell& cell, const CellFeatures& latents,
                                         const OodConfig& config, uint64_t seed) {
  return top_k_arms("latents", cell, latents, config, seed);
}

ProbingCell inner_cell(const ProbingCell& cell, uint64_t seed) {
  ProbingCell inner;
  inner.category = cell.category;
  inner.run = cell.run;
  const std::vector<int> fold = stratified_folds(cell.train.labels, 5, seed);
  for (size_t i = 0; i < fold.size(); ++i) {
    LabelledTexts& part = fold[i] == 0 ? inner.id : inner.train;
    part.texts.push_back(cell.train.texts[i]);
    part.labels.push_back(cell.train.labels[i]);
  }
  inner.ood = inner.id;
  return inner;
}

ArmScore choose_arm(const std::string& method, const std::vector<ArmScore>& inner,
                    const std::vector<ArmScore>& arms) {
  const ArmScore* best = nullptr;
  for (const ArmScore& candidate : inner)
    if (!best || candidate.id > best->id) best = &candidate;
  for (const ArmScore& arm : arms)
    if (best && arm.method == best->method) return {method, arm.id, arm.ood};
  throw Error(fmt::format("ood_probing: no arm '{}' to choose from", best ? best->method : ""));
}

ProbingCell permute_labels(const ProbingCell& cell, uint64_t seed) {
  ProbingCell permuted = cell;
  Rng rng(seed);
  rng.shuffle(std::span(permuted.train.labels));
  return permuted;
}

}  // namespace assay::eval::probing
