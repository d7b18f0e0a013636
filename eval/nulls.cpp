#include "eval/nulls.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "eval/rng.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

void make_random(sae::Dictionary& dictionary, const std::vector<float>& mean, uint64_t seed) {
  const int64_t n = dictionary.info.n, d = dictionary.info.d;
  if (dictionary.info.width() != d || dictionary.info.k < 1)
    throw UsageError(
        fmt::format("a random control needs a dictionary of one hook with k >= 1, not d_out = {} and k = {}",
                    dictionary.info.width(), dictionary.info.k));
  // Whatever the parent encodes by: k random latents a row have its L0.
  dictionary.info.encoding = "topk";
  dictionary.info.centred = true;
  dictionary.info.prefixes.clear();
  dictionary.extra.clear();
  Rng rng(seed);
  std::vector<double> row(static_cast<size_t>(d));
  for (int64_t i = 0; i < n; ++i) {
    double norm = 0;
    for (double& value : row) {
      value = rng.normal();
      norm += value * value;
    }
    for (int64_t j = 0; j < d; ++j) dictionary.w_dec[i * d + j] = static_cast<float>(row[j] / std::sqrt(norm));
  }
  dictionary.w_enc = dictionary.w_dec;
  std::fill(dictionary.b_enc.begin(), dictionary.b_enc.end(), 0.0f);
  dictionary.b_dec = mean;
}

}  // namespace

const std::vector<std::string>& null_kinds() {
  static const std::vector<std::string> kinds{"random", "permuted_encoder"};
  return kinds;
}

sae::Dictionary make_null(const std::string& kind, const sae::Dictionary& like, const data::Dataset& dataset,
                          uint64_t seed) {
  sae::Dictionary result = like;
  result.info.null_kind = kind;
  result.info.seed = seed;
  result.info.tokens = 0;
  if (kind == "random") {
    make_random(result, dataset.hook("activations").mean, seed);
  } else if (kind == "permuted_encoder") {
    Rng rng(seed);
    const auto d = static_cast<size_t>(like.info.d);
    for (int64_t i = 0; i < like.info.n; ++i)
      rng.shuffle(std::span(result.w_enc).subspan(static_cast<size_t>(i) * d, d));
  } else {
    throw UsageError(fmt::format("no control dictionary '{}': the kinds are {}", kind, fmt::join(null_kinds(), ", ")));
  }
  return result;
}

}  // namespace assay::eval
