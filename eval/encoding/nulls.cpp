#include "eval/encoding/nulls.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "eval/encoding/row_gather.h"
#include "eval/encoding/trained_nulls.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

/// Encodes by TopK at k latents a row: a threshold means nothing to random latents.
void make_random(sae::Dictionary& dictionary, int64_t k, const std::vector<float>& mean,
                 uint64_t seed) {
  const int64_t n = dictionary.info.n, d = dictionary.info.d;
  if (dictionary.info.width() != d)
    throw UsageError(
        fmt::format("a random control needs a dictionary of one hook, not d = {} and d_out = {}", d,
                    dictionary.info.width()));
  dictionary.info.k = k;
  // Whatever the parent encodes by: k random latents a row have its L0.
  dictionary.info.prefixes.clear();
  Rng rng(seed);
  std::vector<double> row(static_cast<size_t>(d));
  for (int64_t i = 0; i < n; ++i) {
    double norm = 0;
    for (double& value : row) {
      value = rng.normal();
      norm += value * value;
    }
    for (int64_t j = 0; j < d; ++j)
      dictionary.w_dec[i * d + j] = static_cast<float>(row[j] / std::sqrt(norm));
  }
  dictionary.info.encoding = "topk";
  dictionary.info.centred = true;
  dictionary.extra.clear();
  dictionary.w_enc = dictionary.w_dec;
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), 0.0f);
  // Rows that are normalised have another mean, which the file does not say.
  dictionary.b_dec = dictionary.info.input_norm == "none" ? mean : std::vector<float>(mean.size());
}

constexpr int64_t kRateRows = 4096;
constexpr int kRateRounds = 30;

/// Rows of ordinary tokens, drawn without replacement.
std::vector<float> sample_rows(const data::Dataset& dataset, uint64_t seed) {
  const std::vector<uint8_t>& special = dataset.left_out();
  std::vector<int64_t> ordinary;
  for (size_t row = 0; row < special.size(); ++row)
    if (!special[row]) ordinary.push_back(static_cast<int64_t>(row));
  Rng rng(seed);
  rng.shuffle(std::span(ordinary));
  if (std::ssize(ordinary) > kRateRows) ordinary.resize(kRateRows);
  std::vector<uint8_t> wanted(special.size());
  for (const int64_t row : ordinary) wanted[row] = 1;
  std::vector<float> rows;
  gather_rows(dataset, wanted, kRateRows, [&](std::span<const int64_t>, ConstMatrix x) {
    for (int64_t i = 0; i < x.rows; ++i) rows.insert(rows.end(), x.row(i), x.row(i) + x.cols);
  });
  return rows;
}

std::vector<double> firing(Context& context, const sae::Dictionary& dictionary, ConstMatrix x) {
  std::vector<double> counts(static_cast<size_t>(dictionary.info.n));
  const SparseCodes codes = dictionary.encode(context, x);
  for (size_t i = 0; i < codes.indices.size(); ++i) counts[codes.indices[i]] += codes.values[i] > 0;
  return counts;
}

/// k of the dictionary, or its mean L0 where the file that it came from does not say it.
int64_t latents_a_row(const sae::Dictionary& like, const data::Dataset& dataset, uint64_t seed) {
  if (like.info.k > 0) return like.info.k;
  Context context;
  const std::vector<float> rows = sample_rows(dataset, derive_seed(seed, {1}));
  const int64_t d = like.info.d, count = std::ssize(rows) / d;
  const std::vector<double> fired = firing(context, like, ConstMatrix(rows.data(), count, d));
  const double l0 = std::accumulate(fired.begin(), fired.end(), 0.0) / static_cast<double>(count);
  return std::clamp<int64_t>(std::llround(l0), 1, like.info.n);
}

/// Moves the biases of random latents until latent j fires as often as the parent's latent j.
void match_rates(sae::Dictionary& dictionary, const sae::Dictionary& like,
                 const data::Dataset& dataset, uint64_t seed) {
  Context context;
  const std::vector<float> rows = sample_rows(dataset, derive_seed(seed, {1}));
  const int64_t d = like.info.d;
  const ConstMatrix x(rows.data(), std::ssize(rows) / d, d);
  double squares = 0;
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < d; ++j)
      squares += std::pow(static_cast<double>(x.row(i)[j]) - dictionary.b_dec[j], 2);
  const double sd =
      std::sqrt(squares / static_cast<double>(x.rows * d));  // of a random unit direction
  const std::vector<double> wanted = firing(context, like, x);
  for (int round = 0; round < kRateRounds; ++round) {
    const std::vector<double> found = firing(context, dictionary, x);
    // In a Gaussian tail the log of a rate moves by about 2.5 a standard deviation of bias; half of
    // that step is stable.
    for (size_t j = 0; j < wanted.size(); ++j)
      dictionary.b_enc[j] +=
          static_cast<float>(0.2 * sd * std::log((wanted[j] + 0.5) / (found[j] + 0.5)));
  }
}

}  // namespace

const std::vector<std::string>& null_kinds() {
  static const std::vector<std::string> kinds{"random", "rate_matched", "permuted_encoder"};
  return kinds;
}

sae::Dictionary make_null(const std::string& kind, const sae::Dictionary& like,
                          const data::Dataset& dataset, uint64_t seed) {
  sae::Dictionary result = like;
  result.info.null_kind = kind;
  result.info.seed = seed;
  result.info.tokens = 0;
  const auto k = [&] { return latents_a_row(like, dataset, seed); };
  if (kind == "random") {
    make_random(result, k(), dataset.hook("activations").mean, seed);
  } else if (kind == "rate_matched") {
    make_random(result, k(), dataset.hook("activations").mean, seed);
    match_rates(result, like, dataset, seed);
  } else if (kind == "permuted_encoder") {
    Rng rng(seed);
    const auto d = static_cast<size_t>(like.info.d);
    for (int64_t i = 0; i < like.info.n; ++i)
      rng.shuffle(std::span(result.w_enc).subspan(static_cast<size_t>(i) * d, d));
  } else {
    throw UsageError(fmt::format("no control dictionary '{}': the kinds are {}, and trained {}",
                                 kind, fmt::join(null_kinds(), ", "),
                                 fmt::join(trained_null_kinds(), ", ")));
  }
  return result;
}

}  // namespace assay::eval
