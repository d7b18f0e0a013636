// Matryoshka (Bussmann, Nabeshima, Karvonen, Nanda 2025, "Learning multi-level features with
// Matryoshka sparse autoencoders"): one selection over all latents, TopK's or BatchTopK's; the
// first n_1, n_2, … n latents each reconstruct alone with the same b_dec, and the loss is the mean
// of their errors. AuxK on the residual of all latents. Default prefixes: groups of n/32, n/16,
// n/8, n/4 and the rest (SAEBench's).
#include <fmt/core.h>

#include "kernels/base/error.h"
#include "sae/variants/batch_topk.h"
#include "sae/variants/topk.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

Geometry nested(const ModelConfig& model) {
  Geometry geometry;
  geometry.prefixes = model.prefixes;
  if (geometry.prefixes.empty()) {
    for (const int64_t share : {1, 3, 7, 15, 32}) {
      const int64_t end = model.n * share / 32;
      if (end > (geometry.prefixes.empty() ? 0 : geometry.prefixes.back()))
        geometry.prefixes.push_back(end);
    }
  }
  int64_t before = 0;
  for (const int64_t end : geometry.prefixes) {
    if (end <= before)
      throw UsageError(fmt::format("model.prefixes: {} after {}: they must rise", end, before));
    before = end;
  }
  if (before != model.n) {
    throw UsageError(fmt::format("model.prefixes: the last is {}, model.n is {}: make them equal",
                                 before, model.n));
  }
  return geometry;
}

}  // namespace

const VariantEntry kMatryoshkaTopK{
    .name = "matryoshka_topk",
    .make = [](const VariantOptions& o) -> std::unique_ptr<Variant> {
      return std::make_unique<TopK>(o, nested(o.model));
    },
    .learning_rate = topk_learning_rate,
    .nested = true,
    .freezes = true,
};
const VariantEntry kMatryoshkaBatchTopK{
    .name = "matryoshka_batch_topk",
    .make = [](const VariantOptions& o) -> std::unique_ptr<Variant> {
      return std::make_unique<BatchTopK>(o, nested(o.model));
    },
    .learning_rate = topk_learning_rate,
    .nested = true,
    .batch_threshold = true,
    .freezes = true,
};

}  // namespace assay::sae
