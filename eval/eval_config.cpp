#include "eval/eval_config.h"

#include <algorithm>

namespace assay::eval {

void make_quick(EvalConfig& config) {
  config.seeds = 1;
  config.resamples = std::min<int64_t>(config.resamples, 200);
  config.ood.classes = std::min<int64_t>(config.ood.classes, 6);
  config.ood.train_per_class = std::min<int64_t>(config.ood.train_per_class, 100);
  config.ood.test_positives = std::min<int64_t>(config.ood.test_positives, 100);
  config.ood.test_negatives = std::min<int64_t>(config.ood.test_negatives, 300);
  config.splice.texts = std::min<int64_t>(config.splice.texts, 100);
}

void describe(config::Fields& fields, OodConfig& config) {
  fields.text("class_label", config.class_label, "Label whose classes are probed for, one against the rest.");
  fields.text("domain_label", config.domain_label, "Label that tells the training domain from the shifted one.");
  fields.text("source", config.source,
              "Class of domain_label that probes train on; its unseen documents are the ID test.");
  fields.text("target", config.target, "Class of domain_label that makes the OOD test.");
  fields.text("filter_label", config.filter_label, "Label that texts are filtered by; empty = no filter.");
  fields.text("filter_class", config.filter_class, "Class of filter_label that is kept.");
  fields.integer("classes", config.classes, {2, 10000}, "classes",
                 "At most this many classes, those with most target texts.");
  fields.integer("min_target", config.min_target, {1, 1 << 30}, "texts",
                 "Fewest positive target texts a class must have in each test part.");
  fields.integer("train_per_class", config.train_per_class, {4, 1 << 30}, "texts",
                 "At most this many positive training texts, and as many negatives.");
  fields.integer("test_positives", config.test_positives, {1, 1 << 30}, "texts",
                 "At most this many positive test texts.");
  fields.integer("test_negatives", config.test_negatives, {1, 1 << 30}, "texts",
                 "At most this many negative test texts.");
  fields.integers("top_k", config.top_k, {1, 1 << 20}, "features", "Numbers of features in the k-sparse probes.");
  fields.integer("headline_k", config.headline_k, {1, 1 << 20}, "features",
                 "The k of the k-sparse probe that scores a dictionary; one of top_k.");
  fields.integer("pca", config.pca, {1, 1 << 20}, "components", "Principal components of the PCA baseline.");
  fields.integer("neighbours", config.neighbours, {1, 1 << 20}, "texts", "Neighbours of the kNN baseline.");
}

void describe(config::Fields& fields, SpliceConfig& config) {
  fields.integer("texts", config.texts, {2, 1 << 30}, "texts",
                 "At most this many validation texts run through the upper half.");
  fields.integer("batch", config.batch, {1, 4096}, "texts", "Texts a forward pass.");
}

void describe(config::Fields& fields, EvalConfig& config) {
  fields.integer("seeds", config.seeds, {1, 1000}, "seeds",
                 "Evaluation seeds; each cuts the documents in halves anew and is run with swapped roles.");
  fields.integer("resamples", config.resamples, {100, 1000000}, "resamples", "Bootstrap resamples of every interval.");
  fields.texts("nulls", config.nulls, "Control dictionaries built beside every trained one: random, permuted_encoder.");
  fields.section(
      "ood_probing", [&](config::Fields& f) { describe(f, config.ood); }, "Out-of-distribution probing.");
  fields.section(
      "splice", [&](config::Fields& f) { describe(f, config.splice); },
      "Reconstructions spliced into the model's upper half.");
}

}  // namespace assay::eval
