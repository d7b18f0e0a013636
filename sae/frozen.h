// Parts of a dictionary that training holds at their random start (model.frozen): the controls of
// Korznikov et al. 2026, "Sanity checks for sparse autoencoders", arXiv 2602.14111. Everything else
// of the variant stays: loss, AuxK, optimiser, thresholds.
//   decoder       W_dec stays; W_enc, b_enc and b_dec learn
//   soft_decoder  every row of W_dec learns, but keeps a cosine of at least 0.8 with its start
//   encoder       W_enc and b_enc stay; W_dec and b_dec learn
// The start follows from train.seed, so that a checkpoint need not hold it.
#pragma once

#include <string>
#include <vector>

#include "kernels/backward_update.h"
#include "kernels/base/context.h"
#include "sae/train_config.h"
#include "sae/variants/variants.h"

namespace assay::sae {

constexpr float kSoftCosine = 0.8f;

/// A value of model.frozen, and the kind of control that it makes (DictionaryInfo::null_kind).
struct FrozenPart {
  const char* frozen;
  const char* null_kind;
};
/// All but "none".
const std::vector<FrozenPart>& frozen_parts();

/// The kind of control that the configuration trains; "" of an ordinary dictionary.
std::string null_kind_of(const ModelConfig& model);

/// Throws UsageError where the variant, or a setting of the training, would move what is frozen.
void check_frozen(const ModelConfig& model, const TrainConfig& train, const VariantEntry& entry);

/// What stays as it is, by the parameters' names.
bool stays(const ModelConfig& model, const std::string& parameter);

/// What of the latents a step holds. `axes`: the decoder's start [n, d_out], drawn into it at the
/// first call where it is needed; outlives the result.
Held held_by(Context& context, const ModelConfig& model, uint64_t seed, int64_t d_out,
             std::vector<float>& axes);

}  // namespace assay::sae
