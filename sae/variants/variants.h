// The variants this build knows, one file each. Adding one: a file that defines its entry, and its
// line in all.cpp.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sae/variant.h"

namespace assay::sae {

/// The arrays of the data that a variant learns from.
enum class Reads {
  one,      ///< data.hook is encoded and reconstructed
  pair,     ///< data.hook is encoded, data.target_hook reconstructed
  several,  ///< data.hook and data.more_hooks, side by side, are encoded and reconstructed
};

/// What L0 follows from.
enum class Governs {
  k,        ///< model.k
  penalty,  ///< model.sparsity
  both,     ///< model.sparsity weighs a penalty that aims at model.k
};

struct VariantEntry {
  const char* name;  ///< as model.variant spells it
  std::unique_ptr<Variant> (*make)(const VariantOptions& options);
  /// The optimiser's defaults of the source the file cites; those given here are Gao et al.'s.
  double (*learning_rate)(int64_t n);
  double beta1 = 0.9, beta2 = 0.999, eps = 6.25e-10;
  double aux_coefficient = 1.0 / 32;
  Reads reads = Reads::one;
  Governs governs = Governs::k;
  bool nested = false;           ///< uses model.prefixes
  bool batch_threshold = false;  ///< uses model.threshold
  bool routed = false;           ///< uses model.experts and model.balance
  bool freezes = false;          ///< can hold its encoder or decoder (model.frozen)

  bool takes_k() const { return governs != Governs::penalty; }
  bool takes_fractions() const { return batch_threshold || governs != Governs::k; }  ///< as k
  bool takes_sparsity() const { return governs != Governs::k; }
};

template <class T>
std::unique_ptr<Variant> make_as(const VariantOptions& options) {
  return std::make_unique<T>(options);
}

/// 2e-4/√(n/2¹⁴) (Gao et al. 2024, A.3): the TopK family's.
double topk_learning_rate(int64_t n);

/// 3e-4 for any n: what SAEBench (Karvonen et al. 2025) trains the penalised variants with.
double saebench_learning_rate(int64_t n);

extern const VariantEntry kTopK, kMultiTopK, kBatchTopK, kMatryoshkaTopK, kMatryoshkaBatchTopK,
    kReLU, kPAnneal, kGated, kJumpReLU, kSwitch, kMatchingPursuit, kTranscoder, kSkipTranscoder,
    kCrosscoder, kCrosscoderBatchTopK;

const std::vector<const VariantEntry*>& variants();
/// Throws UsageError naming the known ones.
const VariantEntry& variant_entry(const std::string& name);
/// Throws UsageError, beginning with `who` asks, where the variant reads more than data.hook.
void require_one_hook(const std::string& who, const std::string& variant);
std::unique_ptr<Variant> make_variant(const VariantOptions& options);

}  // namespace assay::sae
