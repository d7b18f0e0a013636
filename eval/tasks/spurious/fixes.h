// The fixes of the spurious-correlation task: what is taken away before a probe is trained, each at
// several strengths.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/learners/erasure.h"
#include "eval/learners/matched_latents.h"
#include "eval/tasks/spurious/sample.h"
#include "eval/tasks/spurious/settings.h"
#include "sae/dictionary.h"

namespace assay::eval::spurious {

/// What the format texts of one run say: erasers, and dimensions by contrast. Classes play no part.
struct DenseFormat {
  Eraser mean_difference, leace, inlp;  ///< inlp's first r directions are the eraser of rank r
  /// likewise; nothing where no document has texts of both formats
  std::optional<Eraser> paired;
  /// all dimensions, the largest contrast between formats first
  std::vector<int64_t> neurons;
  LinearProbe probe;  ///< usual format or other?
};
DenseFormat learn_dense_format(const EncodeCache& cache, const TextTable& texts,
                               const LabelledTexts& formats, const Grids& grids, uint64_t seed);

/// As many other latents in the place of the first of a ranking, matched in rate and size over the
/// format texts.
struct RandomLatents {
  std::vector<int32_t> latents;
  MatchQuality match;

  bool complete() const { return match.drawn == match.chosen; }
};

/// The same for a dictionary: the latents that fire on the format texts.
struct LatentFormat {
  std::vector<int32_t> ranked;                   ///< by contrast
  std::vector<LatentWeight> weights = {};        ///< [ranked]
  uint64_t seed = 0;                             ///< of what is drawn
  std::map<int64_t, RandomLatents> random = {};  ///< by how many of `ranked` they stand for
};
LatentFormat learn_latent_format(const EncodeCache& cache, const sae::Dictionary& dictionary,
                                 const SparseCodes& pooled, const LabelledTexts& formats,
                                 uint64_t seed);
/// Fills format.random for the first `count`, as score_latent_grids needs it.
void draw_random(LatentFormat& format, int64_t count);

/// One probe after one fix.
struct SpuriousScore {
  std::string fix;       ///< "inlp", "latents_drop", …
  int64_t strength = 0;  ///< directions, dimensions or latents taken away; 0 = none
  double anti = 0;       ///< AUROC on the anti part
  double within = 0;     ///< mean AUROC within either format
};

/// INLP's directions on the format texts; the first r are those of rank r.
Eraser learn_inlp(const EncodeCache& cache, const LabelledTexts& formats, int64_t rank,
                  uint64_t seed);

/// What has no grid: logistic regression on dense activations without a fix ("dense", strength 0,
/// which belongs to every fix of them), behind mean_difference and behind leace (strength 1).
/// `share`: index into cell.train.
std::vector<SpuriousScore> score_dense_plain(const EncodeCache& cache, const SpuriousCell& cell,
                                             size_t share, const DenseFormat& format,
                                             uint64_t seed);

/// The fixes of dense activations at the strengths of the grids, logistic regression behind them:
/// inlp, neurons_drop, covariate, and where pairs could be learnt paired and paired_covariate.
/// covariate: the format probe's score (of the untouched activations), z-scored and multiplied by
/// the strength, stands beside the z-scored activations in training and is held constant in the
/// test (adjustment for a confounder: Landeiro and Culotta 2016). paired_covariate: the projection,
/// and the covariate times `beside`.
std::vector<SpuriousScore> score_dense_grids(const EncodeCache& cache, const SpuriousCell& cell,
                                             size_t share, const DenseFormat& format,
                                             const Grids& grids, int64_t beside, uint64_t seed);

/// No fix on one dictionary: "latents", strength 0 of latents_drop and latents_random, and "edit",
/// strength 0 of the edits.
std::vector<SpuriousScore> score_latent_plain(const EncodeCache& cache, const SparseCodes& pooled,
                                              const SpuriousCell& cell, size_t share,
                                              uint64_t seed);

/// The fixes of one dictionary at the strengths of the grid. latents_drop: logistic regression on
/// all latents but the top m by format; latents_random: but as many others, format.random; edit:
/// the top m latents' parts of the decoding are taken from the activations (what the dictionary
/// does not explain stays), dense logistic regression behind it; edit_covariate: and the covariate
/// times `beside` beside them, `probe` being the format's. A strength that leaves no latent to read
/// gives no score, nor does latents_random where there are not as many others.
std::vector<SpuriousScore> score_latent_grids(const EncodeCache& cache,
                                              const sae::Dictionary& dictionary,
                                              const SparseCodes& pooled, const SpuriousCell& cell,
                                              size_t share, const LinearProbe& probe,
                                              const LatentFormat& format, const Grids& grids,
                                              int64_t beside, uint64_t seed);

/// "dense" and "latents" with the training labels permuted: what there is to find where there is
/// nothing.
SpuriousScore score_dense_null(const EncodeCache& cache, SpuriousCell cell, size_t share,
                               uint64_t seed);
SpuriousScore score_latent_null(const EncodeCache& cache, const SparseCodes& pooled,
                                SpuriousCell cell, size_t share, uint64_t seed);

}  // namespace assay::eval::spurious
