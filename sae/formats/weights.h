// The four tensors that every dictionary has, under the names and in the orientation of a format;
// and the foldings that bring a format's arithmetic into ours (sae/dictionary.h), or ours into a
// format's.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/safetensors.h"
#include "sae/dictionary.h"
#include "sae/formats/source.h"

namespace assay::sae::formats {

/// A matrix in a file: as we hold it, or transposed.
struct Placed {
  const char* name;
  bool transposed = false;
};

/// We hold W_enc [n, d] and W_dec [n, d_out]. A format may lack biases (null).
struct Layout {
  Placed w_enc, w_dec;
  const char* b_enc;
  const char* b_dec;
};

/// Sizes and the four tensors, not centred; what the layout has no bias for is zero. Throws Error
/// naming file, tensor, expected and found shapes.
Dictionary read_weights(const Source& source, const Layout& layout);
/// A vector [size].
std::vector<float> read_vector(const Source& source, const std::string& name, int64_t size);
/// The value of a tensor of one element.
double read_number(const Source& source, const std::string& name);

// What comes behind the pre-activations. Each sets encoding and variant.
void activate_by_relu(Dictionary& dictionary);
/// ReLU(pre) where pre > threshold. Negative thresholds mean what 0 does.
void activate_by_threshold(Dictionary& dictionary, std::vector<float> threshold);
/// Throws Error where k is not one of 1 … n.
void activate_by_topk(Dictionary& dictionary, const Source& source, int64_t k);
/// ReLU(exp(r_mag)·(pre − b_gate) + b_mag) where pre > 0; b_enc becomes b_gate.
void activate_by_gate(Dictionary& dictionary, const Source& source, const char* b_gate,
                      const char* r_mag, const char* b_mag);
/// Add W_skip [d_out, d] from the file.
void add_skip(Dictionary& dictionary, const Source& source, const Placed& skip);
/// What it was trained on is x·in and y·out.
void fold_scales(Dictionary& dictionary, double in, double out);
/// pre_j ← pre_j·scale_j (and thresholds with it), W_dec_j ← W_dec_j/scale_j: codes are `scale`
/// times as large, and reconstructions stay.
void rescale_latents(Dictionary& dictionary, const std::vector<double>& scale);
std::vector<double> decoder_norms(const Dictionary& dictionary);
/// What it encodes and reconstructs; a transcoder where `target` is not empty.
void name_hooks(Dictionary& dictionary, const std::string& model, const std::string& hook,
                const std::string& target);

// --- the other way

bool is_transcoder(const Dictionary& dictionary);
/// b_enc for pre = W_enc(x − b_dec) + b_enc, or for pre = W_enc x + b_enc; sums in double.
std::vector<float> encoder_bias(const Dictionary& dictionary, bool centred);
/// The threshold of all latents where they share one.
std::optional<float> uniform_threshold(const Dictionary& dictionary);

/// Tensors on their way into a file: ours, or made for it.
class Tensors {
 public:
  void view(const std::string& name, const std::vector<float>& values, std::vector<int64_t> shape);
  void own(const std::string& name, std::vector<float> values, std::vector<int64_t> shape);
  void own(const std::string& name, std::vector<int32_t> values, std::vector<int64_t> shape);
  void own(const std::string& name, std::vector<int64_t> values, std::vector<int64_t> shape);
  /// values [rows, cols], transposed where the format wants it so.
  void place(const Placed& placed, const std::vector<float>& values, int64_t rows, int64_t cols);
  const std::map<std::string, data::TensorView>& views() const { return views_; }

 private:
  void add(const std::string& name, const char* dtype, std::vector<int64_t> shape, const void* data,
           size_t bytes);

  std::map<std::string, data::TensorView> views_;
  std::vector<std::vector<float>> floats_;
  std::vector<std::vector<int32_t>> ints_;
  std::vector<std::vector<int64_t>> longs_;
};

/// The four tensors, b_enc as for `centred`. `dictionary` must outlive them.
Tensors write_weights(const Dictionary& dictionary, const Layout& layout, bool centred);

/// Throws Error: FORMAT cannot hold WHAT.
[[noreturn]] void cannot_hold(const char* format, const std::string& what);
/// The same where the dictionary normalises rows, ranks by a scale, joins hooks, or has W_skip
/// (unless `skip`).
void require_plain(const char* format, const Dictionary& dictionary, bool skip = false);

}  // namespace assay::sae::formats
