// A trained dictionary as it is published: works on raw (unscaled) activations, the training scale
// is folded in.
//
// On disk: a folder with `dictionary.safetensors` (W_enc [n, d], W_dec [n, d_out], b_enc [n], b_dec
// [d_out] and what the encoding needs besides, all fp32) and `cfg.json`. pre = W_enc (x − b_dec) +
// b_enc where `centred`, else W_enc x + b_enc. Encodings (codes carry ReLU'd values):
//   topk        the k largest of pre, ties to the smaller index; exactly k pairs a row, zeros among
//               them
//   threshold   pre where pre > threshold_j ≥ 0 (strict): BatchTopK, JumpReLU, ReLU
//   gated       where pre > 0: ReLU(exp(r_mag)·(pre − b_enc) + b_mag)
//   switch      as topk among the n/E latents of the expert that p = softmax(router·(x − b_dec) +
//               router_bias) favours, times its p
//   matching_pursuit  k greedy steps on the residual (sae/pursuit.h); at most k pairs a row
//   group_max   the largest of each of k groups of n/k neighbouring latents
//   batch_topk  the k·B largest positive of the B rows that are encoded together: what a row gets
//               depends on the others
// topk and batch_topk rank rank_scale_j·pre where the file holds rank_scale [n]. Rows are first
// normalised where `input_norm` says so (sae/input_norm.h), and reconstructions taken back where
// `restores_norm`: these dictionaries exist only as imports (sae/formats).
// What is reconstructed may be another array than what is encoded (`target`: a transcoder), and
// gets W_skip [d_out, d] times the encoded x on top where the file holds one (a skip transcoder).
// What is encoded may be several arrays of the same rows side by side (`hooks`: a crosscoder).
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/sparse_codes.h"
#include "sae/units.h"

namespace assay::sae {

/// One of several arrays that are encoded together.
struct DictionaryHook {
  std::string name;  ///< of the array in the shards
  int64_t d = 0;
  double scale = 1;  ///< the training scale that was folded in
};

struct DictionaryInfo {
  std::string variant = "topk";
  /// k: latents a token, of penalised variants the mean over training; 0: unknown, where the
  /// encoding needs none
  int64_t d = 0, n = 0, k = 0;
  std::string model, revision, hook;  ///< what the activations came from
  double scale = 1;                   ///< the training scale that was folded in
  std::string data_hash;              ///< content_hash of the training data set
  /// "validation=…,test=…,seed=…" of the training run; empty where unknown
  std::string split_rule;
  int64_t tokens = 0;  ///< activations trained on
  uint64_t seed = 0;
  std::string setting;  ///< setting_hash (sae/resume_check.h) of its configuration; empty = unknown
  std::string null_kind;  ///< "" for a trained dictionary, else which control it is ("random", …)
  std::string encoding = "topk";
  int64_t d_out = 0;                  ///< width of what is reconstructed; 0: d
  bool centred = true;                ///< b_dec is subtracted before encoding
  std::vector<int64_t> prefixes;      ///< Matryoshka: ends of the nested groups of latents
  std::string target;                 ///< the array that is reconstructed; empty: what is encoded
  std::vector<DictionaryHook> hooks;  ///< arrays encoded side by side, in order; empty: one
  std::vector<std::string> warnings;  ///< what training said against its own result
  std::string input_norm = "none";
  bool restores_norm = false;

  int64_t width() const { return d_out > 0 ? d_out : d; }
};

/// A tensor that only some encodings have.
struct NamedTensor {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

/// The folder with cfg.json: `path`, or its folder dictionary/ where it is a run. Throws Error
/// where there is none.
std::filesystem::path dictionary_folder(const std::filesystem::path& path);

struct Dictionary {
  DictionaryInfo info;
  std::vector<float> w_enc, w_dec, b_enc, b_dec;
  /// by its name in the file: threshold [n], W_skip [d_out, d], …
  std::map<std::string, NamedTensor> extra;

  /// Loads a dictionary folder, or a run folder that holds `dictionary/`. The files are treated as
  /// hostile: sizes and bounds are checked, non-finite weights and k > n refused. Throws Error
  /// naming the file and the fault.
  static Dictionary load(const std::filesystem::path& path);
  /// Written beside, fsynced, renamed.
  void save(const std::filesystem::path& folder) const;
  /// Hex SHA-256 over variant, shape, encoding and weights.
  std::string hash() const;

  /// x [B, d] raw → codes, indices ascending in a row. Throws UsageError where x.cols != d.
  SparseCodes encode(Context& context, ConstMatrix x) const;
  /// out [B, d_out] = Σ z_j W_dec[j] + b_dec (+ W_skip x). x [B, d], raw, is what was encoded; only
  /// needs_input() asks for it, and throws UsageError without.
  void decode(Context& context, const SparseCodes& codes, Matrix out, ConstMatrix x = {}) const;
  /// Throws Error naming `where` and the fault where sizes, settings or values do not fit one
  /// another, or a value is not finite.
  void check(const std::filesystem::path& where) const;
  /// Does a reconstruction take the encoded activations besides their codes?
  bool needs_input() const { return extra.count("W_skip") > 0 || info.restores_norm; }
  /// Make weights that were trained on x in the units `in` and y in the units `out` work on raw
  /// rows. With s, t their scales and μ, ν their shifts:
  ///   pre = (s·W_enc)(x − μ − b_dec/s) + b_enc, x̂ = Σ z·(W_dec/t) + b_dec/t + ν + (s·W_skip/t)(x −
  ///   μ)
  /// pre is unchanged, and so are thresholds. Where μ = ν ≠ 0 the result is `centred`: no large
  /// mean is left to cancel in b_enc.
  void fold(const Units& in, const Units& out);

  Matrix encoder() { return {w_enc.data(), info.n, info.d}; }
  Matrix decoder() { return {w_dec.data(), info.n, info.width()}; }

 private:
  ConstMatrix prepared(Context& context, ConstMatrix x, std::vector<float>& buffer) const;
  void move(const std::vector<float>& in, const std::vector<float>& out);
};

}  // namespace assay::sae
