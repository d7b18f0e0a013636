// How much of a planted dictionary a trained one has found.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"
#include "sae/dictionary.h"
#include "sae/planted.h"

namespace assay::sae {

/// Directions alone, by cosine.
struct DirectionMatch {
  /// Mean |cos| over the one-to-one matching that makes it largest; min(features, latents) pairs
  /// (O'Neill et al. 2024).
  double mcc = 0;
  double recovered = 0;  ///< share of features with some latent at cos > 0.8
  /// Different features among those nearest (by |cos|) to each latent, over the number of latents:
  /// 1 where no two latents track the same feature.
  double uniqueness = 0;
  /// [latents] each latent's feature of largest |cos|; the smaller index among equals
  std::vector<int64_t> nearest;
};

/// features [m, d], latents [n, d]. Rows of length 0 have cosine 0. Holds n·m floats.
DirectionMatch match_directions(Context& context, ConstMatrix features, ConstMatrix latents);

/// Firing of each latent as a detector of its nearest feature, summed over batches.
class FiringCounts {
 public:
  FiringCounts(std::vector<int64_t> nearest, int64_t features);
  /// Codes of the same rows; a pair fires where its value is > 0.
  void add(const SparseCodes& truth, const SparseCodes& found);
  /// Mean over latents of F1 = 2·both / (latent fires + feature fires); latents where neither ever
  /// fired are left out.
  double f1() const;
  int64_t dead() const;  ///< latents that never fired
  double l0() const;     ///< mean active latents a row

 private:
  std::vector<int64_t> nearest_, both_, latent_, feature_;
  std::vector<int64_t> seen_;  ///< [features] 1 + the last row where each fired
  int64_t rows_ = 0;
};

/// Σ (x − y)², summed in double.
double squared_error(ConstMatrix x, ConstMatrix y);

struct Recovery {
  DirectionMatch directions;
  double f1 = 0, l0 = 0, true_l0 = 0;
  double ev = 0;  ///< 1 − Σ‖x − x̂‖² / Σ‖x − mean‖² over the rows
  int64_t dead = 0, rows = 0;
};

/// Over `rows` fresh rows: those the training data (options().rows) does not hold. Throws
/// UsageError where d differs.
Recovery measure_recovery(Context& context, const PlantedModel& model, const Dictionary& dictionary,
                          int64_t rows);

}  // namespace assay::sae
