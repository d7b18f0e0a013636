// The arms of the OOD probing task: one cell's probes, on dense activations, words, latents and
// reconstructions.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/tasks/probing/readings.h"
#include "eval/tasks/probing/sample.h"
#include "eval/tasks/probing/settings.h"

namespace assay::eval::probing {

/// AUROC of one probe on both tests.
struct ArmScore {
  std::string method;
  double id = 0, ood = 0;
};

/// A cell's features in one space.
struct CellFeatures {
  Features train, id, ood;
};
/// Of latents, most of which are silent on a text.
struct SparseCell {
  SparseFeatures train, id, ood;
};

/// A cell's rows of a pooled dense matrix (activations or reconstructions).
CellFeatures dense_features(const EncodeCache& cache, const std::vector<float>& pooled,
                            const ProbingCell& cell);
/// A cell's pooled codes on the latents that are active on its training texts.
SparseCell latent_features(const EncodeCache& cache, const SparseCodes& pooled,
                           const ProbingCell& cell);
/// The same features, to be read as latents are.
SparseCell sparse_cell(const CellFeatures& dense);
SparseCell read(const SparseCell& features, const Reading& how);
/// The first k columns of a ranking (fewer if there are not so many), as features of their own.
SparseCell best_columns(const SparseCell& features, const std::vector<int64_t>& ranked, int64_t k);

/// dense_lr, diff_means, lda, pca_lr, knn, neurons_topK for every K of config.top_k (at most d).
/// lda is left out where a class has one text, as in an inner cell; knn has at most all training
/// texts for neighbours.
std::vector<ArmScore> dense_arms(const ProbingCell& cell, const CellFeatures& dense,
                                 const OodConfig& config, uint64_t seed);
/// tfidf_lr. `texts` by text number.
ArmScore text_arm(const ProbingCell& cell, const TextTable& table,
                  const std::vector<std::string>& texts, uint64_t seed);
/// latents_topK for every K, latents_all, latents_all_one_scale, latents_all_sqrt,
/// latents_all_binary, latents_l1. `latents` holds the latents active on the training texts: the
/// others are constant there, so no probe could use them.
std::vector<ArmScore> latent_arms(const ProbingCell& cell, const SparseCell& latents,
                                  const OodConfig& config, uint64_t seed);
/// reconstruction_lr: the dense probe on pooled reconstructions.
ArmScore reconstruction_arm(const ProbingCell& cell, const CellFeatures& reconstruction,
                            uint64_t seed);
/// Difference of means.
ArmScore diff_means_arm(const ProbingCell& cell, const CellFeatures& dense);
/// latents_topK for every K of config.top_k.
std::vector<ArmScore> sparse_latent_arms(const ProbingCell& cell, const SparseCell& latents,
                                         const OodConfig& config, uint64_t seed);
/// neurons_topK for every K of config.top_k (at most d).
std::vector<ArmScore> neuron_arms(const ProbingCell& cell, const CellFeatures& dense,
                                  const OodConfig& config, uint64_t seed);
/// One k-sparse probe: the k features of best contrast on the training part, then logistic
/// regression on them.
ArmScore top_k_arm(const std::string& method, const ProbingCell& cell, const CellFeatures& features,
                   int64_t k, uint64_t seed);
ArmScore top_k_arm(const std::string& method, const ProbingCell& cell, const SparseCell& features,
                   int64_t k, uint64_t seed);
/// Logistic regression on features read one way: the k of best contrast, or all.
ArmScore read_arm(const std::string& method, const ProbingCell& cell, const SparseCell& features,
                  const Reading& how, std::optional<int64_t> k, uint64_t seed);
/// Logistic regression on all features.
ArmScore logistic_arm(const std::string& method, const ProbingCell& cell,
                      const CellFeatures& features, uint64_t seed);

/// The cell's training part cut in two, five times, by class and by document (of each training
/// text): four fifths to train on, a fifth, another each time, as both tests. What is chosen by
/// their scores is chosen without the test part. Fifths that are not two_sided_folds are left out;
/// one that leaves a single text of a class to train on stands behind the others. Throws Error
/// where none is left: never where each class has two documents.
std::vector<ProbingCell> inner_cells(const ProbingCell& cell, std::span<const int64_t> documents,
                                     uint64_t seed);
/// The arm of `arms` whose partner of the same name in `inner` has the best id score (ties to the
/// earlier), as `method`.
ArmScore choose_arm(const std::string& method, const std::vector<ArmScore>& inner,
                    const std::vector<ArmScore>& arms);

/// The cell with its training labels permuted: what the arms find where there is nothing to find.
ProbingCell permute_labels(const ProbingCell& cell, uint64_t seed);

}  // namespace assay::eval::probing
