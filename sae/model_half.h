// A model's exported halves (data/python/export_halves.py): ids → residual stream at a layer,
// residual stream → output.
//
// Halves are code. A folder is loaded only where the SHA-256 of its manifest.json stands in the
// user's trust list ($ASSAY_TRUST_FILE, else ${XDG_DATA_HOME:-~/.local/share}/assay/trusted-models,
// which the exporter writes), or where the caller vouches for it; each file must have the hash that
// the manifest gives. No torch in this header.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "data/harvest.h"

namespace assay::sae {

/// `compiled` (.pt2, AOTInductor): forward only, bound to torch's version and the CPU it was made
/// on.
/// `script` (.ts.pt, TorchScript): differentiable, runs anywhere.
enum class HalfKind { compiled, script };

/// What the upper half gives: an embedding of the text, or, of a causal language model, each
/// token's loss.
enum class HalfOutput { embedding, token_loss };

struct HalfFile {
  std::string name, sha256;
};

/// manifest.json, checked and trusted.
struct ModelFolder {
  std::filesystem::path path;
  std::string model, revision, tokenizer_hash, torch_version;
  int64_t layer = 0, layers = 0;  ///< the residual stream is cut after `layer` of `layers`
  HalfOutput output = HalfOutput::embedding;
  int64_t d = 0, d_out = 0;  ///< dimensions of the residual stream and of the output (of losses 1)
  int64_t max_length = 0, vocabulary = 0;
  /// what the compiled halves may use, as /proc/cpuinfo spells it
  std::vector<std::string> cpu_flags;
  std::map<std::string, HalfFile> files;

  /// "layer 4": how data sets name what they hold.
  std::string hook() const { return "layer " + std::to_string(layer); }

  /// Throws Error naming the file and the fault: missing, not a manifest, a value out of bounds,
  /// not trusted (unless `trust_model_code`).
  static ModelFolder open(const std::filesystem::path& folder, bool trust_model_code);
};

/// A sentence encoder above the layer. Each call works on the calling thread alone and may run on
/// several threads at once.
class UpperHalf {
 public:
  virtual ~UpperHalf() = default;
  virtual int64_t d() const = 0;
  virtual int64_t d_out() const = 0;
  /// residual [batch, length, d] fp32, mask [batch, length] (1 = token) → out [batch, d_out].
  virtual void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                   float* out) const = 0;
  /// The same, and d_residual [batch, length, d] = the gradient of Σ d_out·out for given d_out
  /// [batch, d_out]. Throws UsageError on a compiled half.
  virtual void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                        const float* d_out, float* out, float* d_residual) const = 0;
};

/// A script upper half whose weights train. One thread at a time; the same steps give the same bits
/// on one machine.
class TrainableHalf : public UpperHalf {
 public:
  /// One Adam step (β .9 and .999, ε 1e-8, bias-corrected) on every weight. `loss_gradient` gets
  /// the outputs [batch, d_out] and fills the gradient of the loss by them. Throws Error where a
  /// gradient is not finite.
  virtual void step(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                    const std::function<void(const float* out, float* d_out)>& loss_gradient,
                    double learning_rate) = 0;
};

/// A causal language model above the layer; threads as for UpperHalf.
class LossHalf {
 public:
  virtual ~LossHalf() = default;
  virtual int64_t d() const = 0;
  /// residual [batch, length, d] fp32, ids and mask [batch, length], padding behind the text → loss
  /// [batch, length]: −log p(token | those before it), nats; 0 for a text's first token and where
  /// mask is 0.
  virtual void run(const float* residual, const int64_t* ids, const int64_t* mask, int64_t batch,
                   int64_t length, float* loss) const = 0;
};

/// A causal language model's ways from the residual stream to its vocabulary, forward only; threads
/// as for UpperHalf.
class WordHalf {
 public:
  virtual ~WordHalf() = default;
  virtual int64_t d() const = 0;
  virtual int64_t vocabulary() const = 0;
  /// residual [batch, length, d] fp32 at the layer, mask [batch, length] with padding behind the
  /// text → logits [batch, vocabulary] of the token behind each text's last.
  virtual void next(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                    float* logits) const = 0;
  /// The logit lens: x [rows, d], taken for the residual stream behind the last layer → logits
  /// [rows, vocabulary] by the model's last norm and unembedding.
  virtual void lens(const float* x, int64_t rows, float* logits) const = 0;
};

/// At most `concurrency` calls run at once (>= 1). Throws Error: file missing, wrong hash; for
/// compiled halves another torch version or a CPU flag that this machine lacks; a half whose output
/// has not the shape the manifest says; an upper half of the other output.
std::unique_ptr<data::LowerHalf> load_lower_half(const ModelFolder& folder, HalfKind kind,
                                                 int concurrency);
std::unique_ptr<UpperHalf> load_upper_half(const ModelFolder& folder, HalfKind kind,
                                           int concurrency);
std::unique_ptr<LossHalf> load_loss_half(const ModelFolder& folder, HalfKind kind, int concurrency);
/// Scripts. Throws Error also where the folder has none: it was exported before there were any.
std::unique_ptr<WordHalf> load_word_half(const ModelFolder& folder, int concurrency);
/// With the exported weights; what a step changes stays in this object.
std::unique_ptr<TrainableHalf> load_trainable_half(const ModelFolder& folder);

/// Throws UsageError unless a data set with these attributes holds what the folder's lower half
/// computes: the same d, model and hook. `where` names the data set.
void check_fit(const ModelFolder& folder, int64_t d, const std::string& model,
               const std::string& hook, const std::string& where);

/// The entries of `needed` missing from the first "flags" line of `cpuinfo`.
std::vector<std::string> missing_cpu_flags(const std::vector<std::string>& needed,
                                           std::string_view cpuinfo);

}  // namespace assay::sae
