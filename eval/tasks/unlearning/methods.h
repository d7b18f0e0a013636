// The ways of hiding a class that the unlearning task compares, each with its grid of settings.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/learners/matched_latents.h"
#include "eval/tasks/unlearning/edit.h"
#include "eval/tasks/unlearning/frontier.h"

namespace assay::eval::unlearning {

/// What an edit for one class is estimated on: the estimate texts of all of them.
struct EstimateSet {
  uint64_t seed = 0;             ///< of this class
  std::vector<int64_t> entries;  ///< into the corpus
  std::vector<uint8_t> labels;   ///< 1 = the class to forget
  Features pooled;               ///< [entries, d]
};

EstimateSet make_estimate_set(const UnlearningCorpus& corpus, std::vector<int64_t> entries,
                              std::vector<uint8_t> labels, uint64_t seed);

/// Reentrant: several classes are fitted at once.
class UnlearningMethod {
 public:
  virtual ~UnlearningMethod() = default;
  const std::string& name() const { return name_; }
  std::optional<size_t> dictionary() const { return dictionary_; }
  bool gated() const { return gated_; }  ///< leaves whole texts alone by a gate of its own
  const std::vector<std::string>& settings() const { return settings_; }
  /// The ways through the settings along which the method grows stronger.
  const std::vector<Line>& lines() const { return lines_; }

  using Visit = std::function<void(size_t setting, const Edit& edit)>;
  /// Calls visit for each of `which` (ascending indices into settings()), in order.
  virtual void fit(const UnlearningCorpus& corpus, const EstimateSet& set,
                   const std::vector<size_t>& which, const Visit& visit) const = 0;
  /// How well random latents match those they stand for, by number; empty of other methods.
  virtual std::map<int64_t, MatchQuality> match(const UnlearningCorpus&, const EstimateSet&) const {
    return {};
  }

 protected:
  UnlearningMethod(std::string name, std::optional<size_t> dictionary, bool gated)
      : name_(std::move(name)), dictionary_(dictionary), gated_(gated) {}
  std::string name_;
  std::optional<size_t> dictionary_;
  bool gated_;
  std::vector<std::string> settings_;
  std::vector<Line> lines_;
};

using UnlearningMethods = std::vector<std::unique_ptr<UnlearningMethod>>;

/// gated_steering (at these strengths), gated_mean, leace, mean_projection, contrastive_pca: 12
/// settings each.
void add_dense_methods(const std::array<double, 4>& steering, UnlearningMethods& methods);

/// The settings of latent methods: every number of latents with every clamp.
struct LatentGrid {
  std::vector<int64_t> latents;
  std::vector<int64_t> clamps;
  /// Where given, a clamp is minus this many hundredths of it, along the decoder's direction; else
  /// minus this many times the latent's own mean active value.
  std::optional<double> norm;
};

/// Of one dictionary: latents, latents_gated (by the latents' own rate), latents_lda_gated, and,
/// for a trained one, random_latents: matched_latents in the place of the largest m, and of these
/// the first, so that m still adds to what there is. m × c settings each.
/// A line raises m at one clamp, then the clamp at the largest m. The dictionary must outlive the
/// methods.
void add_latent_methods(const sae::Dictionary& dictionary, size_t index, bool trained,
                        const LatentGrid& grid, UnlearningMethods& methods);

/// fine_tuning: the upper half trained so that forget texts land on the retained mean and retained
/// texts stay, at two learning rates, stopped after 4 … 32 steps of 8 texts to forget and 24 to
/// keep. `clean`: untouched outputs [all entries, d_out]; must outlive it.
void add_fine_tuning(MakeTrainable make, const Features& clean, UnlearningMethods& methods);

/// Every ordinary token of every text becomes `mean` [d]: what special tokens and lengths alone
/// still tell.
std::unique_ptr<Edit> mean_ablation(const std::vector<float>& mean);

/// Rates at which latents fire on the ordinary tokens of the estimate texts.
struct LatentRates {
  std::vector<double> forget, retain;  ///< [n], shares of tokens
  std::vector<double> overall;         ///< [n]
  std::vector<double> mean_active;     ///< [n], mean value where active; 0 where never
};
LatentRates latent_rates(const UnlearningCorpus& corpus, size_t index, int64_t latents,
                         const EstimateSet& set);

/// The m latents with the largest (f_F − f_R)/√(f_F(1 − f_F) + f_R(1 − f_R) + 1e-3), best first;
/// ties to the smaller index.
std::vector<int64_t> select_latents(const LatentRates& rates, int64_t m);

/// [n]: overall rate, and the mean length of what a latent adds to a token on which it fires.
std::vector<LatentWeight> token_weights(const sae::Dictionary& dictionary,
                                        const LatentRates& rates);

}  // namespace assay::eval::unlearning
