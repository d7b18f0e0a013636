// The bf16 copy of an encoder that `encode_topk` screens with, and the norms its certificate needs.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "kernels/primitives.h"
#include "kernels/screen_bound.h"

namespace assay {

/// Packed for the screening kernels: blocks of 16 latents, within a block pair p of dimensions (2p,
/// 2p+1) of latent j at [p·16 + j], odd d padded with zero, n padded to a multiple of 32 with zero
/// latents. 2·n·d bytes.
class ScreenCopy {
 public:
  ScreenCopy() = default;
  ScreenCopy(int64_t n, int64_t d);

  /// Refresh latent j from its fp32 row [d]. Different latents may be refreshed from different
  /// threads.
  void refresh(const Primitives& primitives, int64_t j, const float* row);
  /// Refresh every latent from w [n, d].
  void refresh(Context& context, ConstMatrix w);

  int64_t latents() const { return n_; }
  int64_t pairs() const { return pairs_; }               ///< ceil(d / 2)
  int64_t blocks() const { return (n_ + 31) / 32 * 2; }  ///< of 16 latents; even
  const uint32_t* block(int64_t b) const { return packed_.get() + b * pairs_ * 16; }
  /// Upper bounds of ‖w_j‖ and of ‖bf16(w_j) − w_j‖.
  const std::vector<float>& norm() const { return norm_; }
  const std::vector<float>& error() const { return error_; }

 private:
  struct Free {
    void operator()(uint32_t* p) const;
  };
  int64_t n_ = 0, d_ = 0, pairs_ = 0;
  std::unique_ptr<uint32_t[], Free> packed_;
  std::vector<float> norm_, error_;
};

/// Round a row [d] to bf16 pairs [ceil(d/2)] and give ‖row‖ and ‖bf16(row) − row‖, both rounded up.
RoundedRow round_row(const Primitives& primitives, const float* row, int64_t d, uint32_t* pairs,
                     float* scratch);

}  // namespace assay
