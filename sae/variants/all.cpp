#include <fmt/core.h>

#include <cmath>

#include "kernels/base/error.h"
#include "sae/frozen.h"
#include "sae/variants/variants.h"

namespace assay::sae {

double topk_learning_rate(int64_t n) { return 2e-4 / std::sqrt(static_cast<double>(n) / 16384.0); }

double saebench_learning_rate(int64_t) { return 3e-4; }

const std::vector<const VariantEntry*>& variants() {
  static const std::vector<const VariantEntry*> all{&kTopK,
                                                    &kMultiTopK,
                                                    &kBatchTopK,
                                                    &kMatryoshkaTopK,
                                                    &kMatryoshkaBatchTopK,
                                                    &kReLU,
                                                    &kPAnneal,
                                                    &kGated,
                                                    &kJumpReLU,
                                                    &kSwitch,
                                                    &kMatchingPursuit,
                                                    &kTranscoder,
                                                    &kSkipTranscoder,
                                                    &kCrosscoder,
                                                    &kCrosscoderBatchTopK};
  return all;
}

const VariantEntry& variant_entry(const std::string& name) {
  std::string known;
  for (const VariantEntry* entry : variants()) {
    if (entry->name == name) return *entry;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", entry->name);
  }
  throw UsageError(fmt::format("model.variant = {}: the variants are {}", name, known));
}

void require_one_hook(const std::string& who, const std::string& variant) {
  if (variant_entry(variant).reads == Reads::one) return;
  throw UsageError(
      fmt::format("{}: the variant {} reads more than one hook; choose another", who, variant));
}

std::unique_ptr<Variant> make_variant(const VariantOptions& options) {
  const ModelConfig& model = options.model;
  const VariantEntry& entry = variant_entry(model.variant);
  if (model.k != std::floor(model.k) && !entry.takes_fractions()) {
    throw UsageError(
        fmt::format("model.k = {}: {} keeps a whole number of latents of each token: set k = {}, "
                    "or use a variant of the BatchTopK family",
                    model.k, model.variant, model.row_k()));
  }
  check_frozen(model, options.train, entry);
  return entry.make(options);
}

}  // namespace assay::sae
