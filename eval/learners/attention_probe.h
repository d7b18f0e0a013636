// A probe that learns where in a text to look: tokens are pooled by softmax attention instead of
// their mean (the attention probes of McKenzie et al. 2025, "Detecting high-stakes interactions
// with activation probes", with one head). Single-threaded and reentrant, in double and in a fixed
// order: the same input and seed give the same bits. Errors as eval/learners/linear.h has them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "eval/learners/linear.h"
#include "eval/learners/text_tokens.h"

namespace assay::eval {

/// [texts, features]: what a mean-pooled probe reads.
std::vector<float> mean_pooled(const TextTokens& tokens);

/// score(text) = bias + Σ_t a_t (w · x_t), a = softmax_t(q · x_t) over the text's tokens.
struct AttentionProbe {
  std::vector<double> w, q;  ///< [features], in the features' own units
  double bias = 0;
  double c = 0;          ///< it was trained with
  int steps = 0;         ///< that training took
  double objective = 0;  ///< at the end

  std::vector<double> score(const TextTokens& tokens) const;
};

/// min over w, q, b of ½‖w‖² + ½‖q‖² + C · Σ_i log(1 + exp(−(2y_i − 1) score_i)), the intercept
/// free, on features divided by the sd of their mean-pooled values. Training starts from the
/// mean-pooled logistic regression with this C, where q = 0: the objective only falls from there.
/// L-BFGS; it ends at a largest gradient entry of 1e-5 · min(1, C · n), or after 300 steps. The
/// objective is not convex: what is found is a minimum that mean pooling leads to.
AttentionProbe fit_at(const TextTokens& tokens, Labels y, double c, uint64_t seed);

/// The same with the C of default_c_grid(l2) that has the best AUROC on a fifth of the texts, drawn
/// by class and by document (of each text), when trained on the rest; ties to the smaller C. The
/// fifth is the first of two_sided_folds; if there is none (a class of one document), C is the
/// smallest.
AttentionProbe fit_attention(const TextTokens& tokens, Labels y, std::span<const int64_t> documents,
                             uint64_t seed);

/// That objective on features as they are, and its gradient: parameters (w, q, b) in a row
/// [2 · features + 1], gradient of the same size.
double attention_objective(const TextTokens& tokens, Labels y, double c,
                           std::span<const double> parameters, std::span<double> gradient);

}  // namespace assay::eval
