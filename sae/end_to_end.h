// End-to-end loss: what the model makes of reconstructions that take the place of its activations
// (Braun, Taylor, Goldowsky-Dill, Sharkey 2024, "Identifying functionally important features with
// end-to-end sparse dictionary learning"; as a short fine-tuning beside the squared error: Karvonen
// 2025, "Revisiting end-to-end sparse autoencoder training: a short finetune is all you need").
//
// Ordinary tokens of whole texts are replaced by x̂, special ones stay. With o the upper half's
// output from the untouched residual and o′ from the replaced one, D is the mean over the texts of
//   logits   KL(softmax o ‖ softmax o′)
//   cosine   1 − cos(o, o′), for models whose output is an embedding. Up to a constant it is the KL
//            divergence of two von Mises–Fisher distributions of one concentration with mean
//            directions o and o′.
// What a variant then minimises, squared error and D together, is
//   (1 − share)·FVU + share·(FVU/D)·D,  FVU/D held fixed
// the two balanced anew each step, as Karvonen balances them, so that learning rate and sparsity
// penalty keep their meaning; that `share` is one number (½ weighs both alike, 1 is Braun et al.'s
// without squared error) is ours.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "sae/model_half.h"
#include "sae/outside_loss.h"
#include "sae/units.h"

namespace assay::sae {

/// Whole texts, one after another.
struct TextBatch {
  std::vector<int64_t> lengths;  ///< tokens of each text, special ones included
  std::vector<uint8_t> special;  ///< [all tokens]
  std::vector<float> raw;        ///< [all tokens, d] unscaled activations

  int64_t ordinary() const;
  /// The ordinary tokens' rows in training units, in the order of OutsideInput's rows.
  std::vector<float> rows(const Units& units) const;
};

enum class OutputLoss { cosine, logits };

class EndToEnd : public OutsideLoss {
 public:
  /// `upper` [d_out = d of the batch] is called from the context's threads, with at most `at_once`
  /// texts. 0 < share ≤ 1. `units`: of training, one hook's.
  EndToEnd(Context& context, const UpperHalf& upper, OutputLoss loss, double share, Units units,
           int64_t at_once);

  /// The texts of the next step, and the model's own outputs for them. Throws Error where an output
  /// is not finite.
  void load(TextBatch batch);
  /// For the rows of the texts loaded. The same bits on any number of threads, where the half gives
  /// them.
  OutsideGradient differentiate(const OutsideInput& input) override;
  /// D of the last differentiate().
  double divergence() const { return divergence_; }

 private:
  struct Padded;
  Padded pad(int64_t first, int64_t count, ConstMatrix reconstruction) const;
  void differentiate_part(int64_t first, int64_t count, ConstMatrix reconstruction, double* losses,
                          float* d_rows) const;
  int64_t texts() const { return static_cast<int64_t>(batch_.lengths.size()); }
  template <class Body>
  void for_parts(const Body& body) const;

  Context& context_;
  const UpperHalf& upper_;
  OutputLoss loss_;
  double share_;
  Units units_;
  int64_t at_once_;
  TextBatch batch_;
  std::vector<int64_t> start_;     // [texts + 1] first token of each text
  std::vector<int64_t> ordinary_;  // [tokens] row among the ordinary tokens, −1 for a special one
  std::vector<float> reference_;   // [texts, d_out]
  double divergence_ = 0;
};

}  // namespace assay::sae
