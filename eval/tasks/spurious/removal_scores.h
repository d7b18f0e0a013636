// SCR and TPP on pooled activations.
//
// Zero ablation: x − Σ_{j in S} z_j d_j; what the dictionary leaves unexplained stays. Pooled it is
// the same, since decoding is affine. Effect of latent j on a probe w, over training texts: (mean
// of z_j over positives − over negatives) · (w · d_j). S: the n latents of largest |effect| (SCR),
// or of largest effect with negative differences of means counted as 0 (TPP); zero effects never;
// ties to the smaller index. Accuracies count scores above 0.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/learners/erasure.h"

namespace assay::eval::spurious {

/// Texts with their pooled activations and the codes of a dictionary (or of what stands in for
/// one).
struct RemovalSpace {
  Features train, test;        ///< codes [texts, m]
  std::vector<float> decoder;  ///< [m, d]
};

/// Dimensions as latents: z = x − mean over the training rows, so that ablation sets them to it.
RemovalSpace neuron_space(const Features& train, const Features& test);
/// A dictionary that knows the attributes, one latent each: LEACE's eraser of the attribute as code
/// and decoder row, so that ablating the latent is erasing the attribute.
RemovalSpace oracle_space(const Features& train, const Features& test,
                          const std::vector<Eraser>& attributes);

/// w · d_j, [m].
std::vector<double> alignments(const RemovalSpace& space, const LinearProbe& probe);
/// The chosen latents. `train_rows` and labels: the texts that means are taken over.
std::vector<int64_t> choose_ablated(const RemovalSpace& space,
                                    const std::vector<double>& alignments,
                                    const std::vector<int64_t>& train_rows, Labels labels,
                                    int64_t n, bool signed_effect);
/// Accuracy of a probe on test rows after ablation: its scores less Σ_{j in S} z_j (w · d_j).
double ablated_accuracy(const RemovalSpace& space, const std::vector<double>& scores,
                        const std::vector<double>& alignments, const std::vector<int64_t>& ablated,
                        const std::vector<int64_t>& test_rows, Labels labels);

/// (after − before)/(clean − before); 0 where clean is not above before.
double scr_score(double before, double after, double clean);

}  // namespace assay::eval::spurious
