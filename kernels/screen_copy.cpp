#include "kernels/screen_copy.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/base/dtype.h"

namespace assay {

namespace {

float upper(float squared, int64_t d) {
  return std::sqrt(squared) * norm_margin(d) + norm_floor(d);
}

uint32_t pair_of(float even, float odd) {
  return to_bf16(even).bits | static_cast<uint32_t>(to_bf16(odd).bits) << 16;
}

}  // namespace

void ScreenCopy::Free::operator()(uint32_t* p) const { std::free(p); }

ScreenCopy::ScreenCopy(int64_t n, int64_t d)
    : n_(n), d_(d), pairs_((d + 1) / 2), norm_(n), error_(n) {
  const size_t bytes =
      static_cast<size_t>(std::max<int64_t>(1, blocks() * pairs_ * 16)) * sizeof(uint32_t);
  packed_.reset(static_cast<uint32_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
  if (!packed_) throw std::bad_alloc();
  std::memset(packed_.get(), 0, bytes);
}

RoundedRow round_row(const Primitives& primitives, const float* row, int64_t d, uint32_t* pairs,
                     float* scratch) {
  for (int64_t i = 0; i < d; ++i) scratch[i] = row[i] - to_float(to_bf16(row[i]));
  for (int64_t p = 0; p < d / 2; ++p) pairs[p] = pair_of(row[2 * p], row[2 * p + 1]);
  if (d % 2 != 0) pairs[d / 2] = pair_of(row[d - 1], 0);
  return {upper(primitives.dot(row, row, d), d), upper(primitives.dot(scratch, scratch, d), d)};
}

void ScreenCopy::refresh(const Primitives& primitives, int64_t j, const float* row) {
  thread_local std::vector<uint32_t> pairs;
  thread_local std::vector<float> scratch;
  pairs.resize(pairs_);
  scratch.resize(d_);
  const RoundedRow rounded = round_row(primitives, row, d_, pairs.data(), scratch.data());
  norm_[j] = rounded.norm;
  error_[j] = rounded.error;
  uint32_t* out = packed_.get() + j / 16 * pairs_ * 16 + j % 16;
  for (int64_t p = 0; p < pairs_; ++p) out[p * 16] = pairs[p];
}

void ScreenCopy::refresh(Context& context, ConstMatrix w) {
  const Primitives& p = primitives(context.isa());
  constexpr int64_t kTask = 64;
  context.pool().run((n_ + kTask - 1) / kTask, [&](int64_t task, int) {
    for (int64_t j = task * kTask; j < std::min(n_, (task + 1) * kTask); ++j)
      refresh(p, j, w.row(j));
  });
}

}  // namespace assay
