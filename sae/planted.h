// Planted dictionaries: activations whose true features are known, so that a trainer's fault shows.
//
//   x = Σ_i c_i f_i + noise·ε,   f_i unit rows drawn uniformly on the sphere, ε standard normal
//
// c_i = 0 where feature i is silent, else log-normal. Features fire independently or correlated
// (Gaussian copula of low rank), and some stand in trees: below an active feature at most one child
// is active (hierarchy and mutual exclusion in one). After the toy of Korznikov et al. (2026) and
// SynthSAEBench (Chanin and Garriga-Alonso 2026); see docs/planted.md for what differs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/base/config_fields.h"
#include "kernels/base/context.h"
#include "kernels/base/random.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"

namespace assay::sae {

struct PlantedOptions {
  int64_t d = 128, n = 512, rows = 1 << 20, seed = 0;
  std::string firing = "constant";
  double l0 = 8;
  double zipf = 0.5;                                ///< exponent
  double log10_least = -5.5, log10_largest = -1.2;  ///< of log_uniform
  double magnitude_sigma = 0.25;
  double noise = 0;
  int64_t roots = 0, branching = 4, depth = 3;
  double descend = 0.5;
  int64_t correlation_rank = 0;
  double correlation = 0.5;
};

void describe(config::Fields& fields, PlantedOptions& options);

/// The kinds `assay synthesize --kind` knows, each a choice of options.
std::vector<std::string> planted_kinds();
/// Throws UsageError naming the kinds.
PlantedOptions planted_kind(const std::string& kind);

/// Everything follows from the options: row i is a function of (options, i), so data are drawn in
/// any order, on any number of threads, and fresh rows for evaluation are those beyond
/// `options.rows`.
class PlantedModel {
 public:
  /// Throws UsageError naming the option where no such model exists (a probability above 1, trees
  /// larger than n).
  explicit PlantedModel(const PlantedOptions& options);

  const PlantedOptions& options() const { return options_; }
  /// unit rows
  ConstMatrix features() const { return {features_.data(), options_.n, options_.d}; }
  /// [n] exact marginals
  const std::vector<double>& probabilities() const { return probabilities_; }
  /// [n], −1 where none
  const std::vector<int32_t>& parents() const { return parents_; }
  /// Σ probabilities: the expected number of active features.
  double l0() const;
  /// E‖x − E x‖² where features fire independently (no trees, no correlation): Σ Var c_i +
  /// d·noise². Cross terms vanish whatever the angles between features. Throws UsageError for other
  /// models.
  double independent_variance() const;

  /// The true codes of rows [first, first + count), indices ascending.
  SparseCodes codes(Context& context, int64_t first, int64_t count) const;
  /// The activations that belong to codes(first, codes.rows()): out [rows, d].
  void activations(Context& context, int64_t first, const SparseCodes& codes, Matrix out) const;

 private:
  void plant_trees();
  void set_probabilities();
  void set_correlations();
  bool fires(int64_t feature, const std::vector<double>& factors, Random& random) const;
  void draw(int64_t row, std::vector<int32_t>& indices, std::vector<float>& values) const;

  PlantedOptions options_;
  std::vector<float> features_;
  std::vector<double> probabilities_;
  std::vector<int32_t> parents_;
  std::vector<int32_t> first_child_;   ///< [n], −1 at leaves; siblings are consecutive
  std::vector<double> child_weights_;  ///< [branching] share of each sibling, cumulated
  std::vector<double> thresholds_;     ///< [n] Φ⁻¹(1 − p) of correlated features
  std::vector<double> loadings_;       ///< [n, rank]
};

/// Writes the data set (f32 shards; no columns: every row is its own document) into `folder`,
/// beside it `planted.yaml` (the options) and `truth/` (the true features as an ordinary TopK
/// dictionary with encoder = decoder and k = round(L0), and planted.safetensors with probabilities
/// and parents). Killed, it continues after the last whole shard to the same bytes.
/// disk_limit > 0: a rolling cache of at most so many bytes, in shards of `rows_per_shard`, instead
/// of a data set.
struct PlantedFiles {
  std::filesystem::path folder;
  int64_t rows_per_shard = 1 << 18, disk_limit = 0;
};
void write_planted(Context& context, const PlantedOptions& options, const PlantedFiles& files);

/// The options of a planted folder. Error where it has no planted.yaml.
PlantedOptions read_planted(const std::filesystem::path& folder);

}  // namespace assay::sae
