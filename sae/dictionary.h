// A trained dictionary as it is published: works on raw (unscaled) activations, the training scale is folded in.
//
// On disk: a folder with `dictionary.safetensors` (W_enc [n, d], W_dec [n, d], b_enc [n], b_dec [d], all fp32) and
// `cfg.json`. Encoding is TopK: pre = W_enc (x − b_dec) + b_enc, z = ReLU(top_k(pre)); ties go to the smaller index.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "kernels/context.h"
#include "kernels/sparse_codes.h"
#include "kernels/view.h"

namespace assay::sae {

struct DictionaryInfo {
  std::string variant = "topk";
  int64_t d = 0, n = 0, k = 0;
  std::string model, revision, hook;  ///< what the activations came from
  double scale = 1;                   ///< the training scale that was folded in
  std::string data_hash;              ///< content_hash of the training data set
  std::string split_rule;             ///< "validation=…,test=…,seed=…" of the training run; empty where unknown
  int64_t tokens = 0;                 ///< activations trained on
  uint64_t seed = 0;
  std::string null_kind;  ///< "" for a trained dictionary, else which control it is ("random", …)
};

struct Dictionary {
  DictionaryInfo info;
  std::vector<float> w_enc, w_dec, b_enc, b_dec;

  /// Loads a dictionary folder, or a run folder that holds `dictionary/`. The files are treated as hostile: sizes and
  /// bounds are checked, non-finite weights and k > n refused. Throws Error naming the file and the fault.
  static Dictionary load(const std::filesystem::path& path);
  /// Written beside, fsynced, renamed.
  void save(const std::filesystem::path& folder) const;
  /// Hex SHA-256 over variant, shape and weights.
  std::string hash() const;

  /// x [B, d] raw → codes with exactly k pairs a row, values ReLU'd. Throws UsageError where x.cols != d.
  SparseCodes encode(Context& context, ConstMatrix x) const;
  /// out [B, d] = Σ z_j W_dec[j] + b_dec.
  void decode(Context& context, const SparseCodes& codes, Matrix out) const;

  Matrix encoder() { return {w_enc.data(), info.n, info.d}; }
  Matrix decoder() { return {w_dec.data(), info.n, info.d}; }
};

}  // namespace assay::sae
