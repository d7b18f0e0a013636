// What the unlearning task does to texts at the dictionary's layer before the model's upper half
// reads them.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/encoding/upper_run.h"
#include "eval/learners/erasure.h"
#include "eval/learners/steering.h"
#include "kernels/base/context.h"
#include "kernels/sparse_codes.h"
#include "sae/dictionary.h"

namespace assay::eval::unlearning {

/// Texts as edits and gates see them.
struct UnlearningCorpus {
  TextRows rows;
  Features pooled;                 ///< [entries, d]: mean over ordinary tokens
  std::vector<SparseCodes> codes;  ///< one a dictionary, of all rows

  std::span<const float> pooled_row(int64_t entry) const {
    return {pooled.values.data() + entry * pooled.cols, static_cast<size_t>(pooled.cols)};
  }
};

/// Pools and encodes; a null dictionary has no codes. Throws Error where a dictionary's d is not
/// the rows'.
UnlearningCorpus make_corpus(Context& context, TextRows rows,
                             std::span<const sae::Dictionary* const> dictionaries);

/// A change of ordinary tokens. Reentrant.
class Edit {
 public:
  virtual ~Edit() = default;
  /// False where apply would leave the text as it is: its output is then the untouched one.
  virtual bool touches(const UnlearningCorpus& corpus, int64_t entry) const = 0;
  /// rows: the entry's [rows, d].
  virtual void apply(const UnlearningCorpus& corpus, int64_t entry, Matrix rows) const = 0;
  /// The upper half that reads the text; null = the model's own.
  virtual const sae::UpperHalf* upper() const { return nullptr; }
};

/// A set of latents and the value each is clamped to.
struct LatentTargets {
  std::vector<uint8_t> chosen;  ///< [n]
  std::vector<float> target;    ///< [n]
};

/// x += Σ_j (t_j − z_j) d_j over the chosen latents that are active on a token; the error term
/// stays.
std::unique_ptr<Edit> clamp_edit(const sae::Dictionary& dictionary, size_t index,
                                 LatentTargets targets);
/// x −= strength · (what the eraser removes).
std::unique_ptr<Edit> erase_edit(std::shared_ptr<const Eraser> eraser, double strength);
/// x += strength · shift.
std::unique_ptr<Edit> shift_edit(const std::vector<double>& shift, double strength);
/// x += strength · (mean − x).
std::unique_ptr<Edit> mean_edit(const std::vector<double>& mean, double strength);

/// `inner`, on texts whose pooled activations open the gate.
std::unique_ptr<Edit> gated_edit(std::unique_ptr<Edit> inner, std::shared_ptr<const Gate> gate);
/// `inner`, on texts where more than `threshold` of the ordinary tokens have a chosen latent
/// active.
std::unique_ptr<Edit> latent_gated_edit(std::unique_ptr<Edit> inner, size_t index,
                                        std::vector<uint8_t> chosen, double threshold);
/// That share.
double active_share(const UnlearningCorpus& corpus, size_t index, int64_t entry,
                    const std::vector<uint8_t>& chosen);

/// Outputs [entries, d_out] of the edited texts, on the calling thread; rows of `clean` [all
/// entries, d_out] stand where the edit touches nothing.
Features run_edit(const sae::UpperHalf& upper, const UnlearningCorpus& corpus,
                  const Features& clean, const std::vector<int64_t>& entries, const Edit& edit,
                  int64_t batch);

/// The untouched outputs of all entries, on the context's threads.
Features run_clean(Context& context, const sae::UpperHalf& upper, const TextRows& rows,
                   int64_t batch);

}  // namespace assay::eval::unlearning
