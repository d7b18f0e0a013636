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

ArmScore test(const std::string& method, const LinearProbe& probe, const ProbingCell& cell,
              const SparseCell& features) {
  return {method, auroc(score(probe, features.id), cell.id.labels),
          auroc(score(probe, features.ood), cell.ood.labels)};
}

std::vector<int64_t> first_of(const std::vector<int64_t>& ranked, int64_t k) {
  return {ranked.begin(), ranked.begin() + std::min<int64_t>(k, std::ssize(ranked))};
}

std::vector<int64_t> rank(const ProbingCell& cell, const CellFeatures& features) {
  return rank_features(features.train.view(), cell.train.labels);
}
std::vector<int64_t> rank(const ProbingCell& cell, const SparseCell& features) {
  return rank_features(features.train, cell.train.labels);
}

ArmScore columns_arm(const std::string& method, const ProbingCell& cell,
                     const CellFeatures& features, const std::vector<int64_t>& columns,
                     uint64_t seed) {
  return test(method,
              fit_columns(features.train.view(), cell.train.labels, columns,
                          by_document(features.train.documents), seed),
              cell, features);
}
ArmScore columns_arm(const std::string& method, const ProbingCell& cell, const SparseCell& features,
                     const std::vector<int64_t>& columns, uint64_t seed) {
  return test(method, fit_columns(features.train, cell.train.labels, columns, {}, seed), cell,
              features);
}

template <class CellOf>
std::vector<ArmScore> top_k_arms(const std::string& space, const ProbingCell& cell,
                                 const CellOf& features, const OodConfig& config, uint64_t seed) {
  const std::vector<int64_t> ranked = rank(cell, features);
  std::vector<ArmScore> arms;
  for (const int64_t k : config.top_k)
    arms.push_back(
        columns_arm(fmt::format("{}_top{}", space, k), cell, features, first_of(ranked, k), seed));
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

bool has_two_of_each(const LabelledTexts& part) {
  const auto ones = std::count(part.labels.begin(), part.labels.end(), 1);
  return ones >= 2 && std::ssize(part.labels) - ones >= 2;
}

/// The columns as features of their own.
SparseFeatures take_columns(const SparseFeatures& x, const std::vector<int64_t>& columns) {
  const std::vector<float> values = dense_columns(x, columns);
  return sparse_of(ConstMatrix{values.data(), x.rows(), std::ssize(columns)}, x.documents);
}

}  // namespace

CellFeatures dense_features(const EncodeCache& cache, const std::vector<float>& pooled,
                            const ProbingCell& cell) {
  return {gather_dense(cache, pooled, cell.train.texts), gather_dense(cache, pooled, cell.id.texts),
          gather_dense(cache, pooled, cell.ood.texts)};
}

SparseCell latent_features(const EncodeCache& cache, const SparseCodes& pooled,
                           const ProbingCell& cell) {
  std::vector<int32_t> latents = active_latents(cache, pooled, cell.train.texts);
  if (latents.empty()) latents.push_back(0);  // silent on all: one constant column, which scores .5
  return {gather_sparse(cache, pooled, cell.train.texts, latents),
          gather_sparse(cache, pooled, cell.id.texts, latents),
          gather_sparse(cache, pooled, cell.ood.texts, latents)};
}

SparseCell sparse_cell(const CellFeatures& dense) {
  return {sparse_of(dense.train.view(), dense.train.documents),
          sparse_of(dense.id.view(), dense.id.documents),
          sparse_of(dense.ood.view(), dense.ood.documents)};
}

std::vector<ArmScore> dense_arms(const ProbingCell& cell, const CellFeatures& dense,
                                 const OodConfig& config, uint64_t seed) {
  ProbeOptions options;
  options.logistic.documents = dense.train.documents;
  options.pca_components = config.pca;
  options.neighbours = std::min(config.neighbours, dense.train.rows);
  const std::pair<const char*, ProbeKind> kinds[] = {{"dense_lr", ProbeKind::logistic},
                                                     {"diff_means", ProbeKind::diff_means},
                                                     {"lda", ProbeKind::lda},
                                                     {"pca_lr", ProbeKind::pca_logistic},
                                                     {"knn", ProbeKind::knn}};
  std::vector<ArmScore> arms;
  for (const auto& [method, kind] : kinds) {
    if (kind == ProbeKind::lda && !has_two_of_each(cell.train)) continue;
    arms.push_back(test(method,
                        *fit_probe(kind, dense.train.view(), cell.train.labels, options, seed),
                        cell, dense));
  }
  for (ArmScore& arm : neuron_arms(cell, dense, config, seed)) arms.push_back(std::move(arm));
  return arms;
}

ArmScore text_arm(const ProbingCell& cell, const TextTable& table,
                  const std::vector<std::string>& texts, uint64_t seed) {
  const std::vector<int64_t> documents = documents_of(table, cell.train.texts);
  const TextProbe probe = fit_tfidf_logistic(texts_of(cell.train, table, texts), cell.train.labels,
                                             by_document(documents), seed);
  return {"tfidf_lr", auroc(probe.score(texts_of(cell.id, table, texts)), cell.id.labels),
          auroc(probe.score(texts_of(cell.ood, table, texts)), cell.ood.labels)};
}

std::vector<ArmScore> latent_arms(const ProbingCell& cell, const SparseCell& latents,
                                  const OodConfig& config, uint64_t seed) {
  std::vector<ArmScore> arms = sparse_latent_arms(cell, latents, config, seed);
  for (const auto& [method, how] : {std::pair("latents_all", "z_scored"),
                                    {"latents_all_one_scale", "raw"},
                                    {"latents_all_sqrt", "sqrt"},
                                    {"latents_all_binary", "binary"}})
    arms.push_back(read_arm(method, cell, latents, reading(how), std::nullopt, seed));
  LogisticOptions l1;
  l1.penalty = Penalty::l1;
  arms.push_back(
      test("latents_l1", fit_logistic(latents.train, cell.train.labels, l1, seed), cell, latents));
  return arms;
}

SparseCell read(const SparseCell& features, const Reading& how) {
  return {read(features.train, how), read(features.id, how), read(features.ood, how)};
}

SparseCell best_columns(const SparseCell& features, const std::vector<int64_t>& ranked, int64_t k) {
  const std::vector<int64_t> columns = first_of(ranked, k);
  return {take_columns(features.train, columns), take_columns(features.id, columns),
          take_columns(features.ood, columns)};
}

ArmScore reconstruction_arm(const ProbingCell& cell, const CellFeatures& reconstruction,
                            uint64_t seed) {
  return logistic_arm("reconstruction_lr", cell, reconstruction, seed);
}

ArmScore top_k_arm(const std::string& method, const ProbingCell& cell, const CellFeatures& features,
                   int64_t k, uint64_t seed) {
  return columns_arm(method, cell, features, first_of(rank(cell, features), k), seed);
}

ArmScore top_k_arm(const std::string& method, const ProbingCell& cell, const SparseCell& features,
                   int64_t k, uint64_t seed) {
  return columns_arm(method, cell, features, first_of(rank(cell, features), k), seed);
}

ArmScore read_arm(const std::string& method, const ProbingCell& cell, const SparseCell& features,
                  const Reading& how, std::optional<int64_t> k, uint64_t seed) {
  SparseCell own = read(features, how);
  if (k) own = best_columns(own, rank(cell, own), *k);
  return test(method, fit_logistic(own.train, cell.train.labels, options_of(how, own.train), seed),
              cell, own);
}

ArmScore logistic_arm(const std::string& method, const ProbingCell& cell,
                      const CellFeatures& features, uint64_t seed) {
  return test(method,
              fit_logistic(features.train.view(), cell.train.labels,
                           by_document(features.train.documents), seed),
              cell, features);
}

ArmScore diff_means_arm(const ProbingCell& cell, const CellFeatures& dense) {
  return test("diff_means", fit_diff_means(dense.train.view(), cell.train.labels), cell, dense);
}

std::vector<ArmScore> neuron_arms(const ProbingCell& cell, const CellFeatures& dense,
                                  const OodConfig& config, uint64_t seed) {
  return top_k_arms("neurons", cell, dense, config, seed);
}

std::vector<ArmScore> sparse_latent_arms(const ProbingCell& cell, const SparseCell& latents,
                                         const OodConfig& config, uint64_t seed) {
  return top_k_arms("latents", cell, latents, config, seed);
}

std::vector<ProbingCell> inner_cells(const ProbingCell& cell, std::span<const int64_t> documents,
                                     uint64_t seed) {
  constexpr int kFolds = 5;
  const std::vector<int> fold = stratified_folds(cell.train.labels, documents, kFolds, seed);
  std::vector<ProbingCell> cells;
  for (const int held_out : two_sided_folds(cell.train.labels, fold, kFolds)) {
    ProbingCell inner{cell.category, cell.run, {}, {}, {}};
    for (size_t i = 0; i < fold.size(); ++i) {
      LabelledTexts& part = fold[i] == held_out ? inner.id : inner.train;
      part.texts.push_back(cell.train.texts[i]);
      part.labels.push_back(cell.train.labels[i]);
    }
    inner.ood = inner.id;
    cells.push_back(std::move(inner));
  }
  if (cells.empty())
    throw Error(
        "probing: the training texts of a class are of one document: nothing can be chosen on "
        "other documents");
  std::stable_partition(cells.begin(), cells.end(),
                        [](const ProbingCell& inner) { return has_two_of_each(inner.train); });
  return cells;
}

ArmScore choose_arm(const std::string& method, const std::vector<ArmScore>& inner,
                    const std::vector<ArmScore>& arms) {
  const ArmScore* best = nullptr;
  for (const ArmScore& candidate : inner)
    if (!best || candidate.id > best->id) best = &candidate;
  for (const ArmScore& arm : arms)
    if (best && arm.method == best->method) return {method, arm.id, arm.ood};
  throw Error(fmt::format("probing: no arm '{}' to choose from", best ? best->method : ""));
}

ProbingCell permute_labels(const ProbingCell& cell, uint64_t seed) {
  ProbingCell permuted = cell;
  Rng rng(seed);
  rng.shuffle(std::span(permuted.train.labels));
  return permuted;
}

}  // namespace assay::eval::probing
