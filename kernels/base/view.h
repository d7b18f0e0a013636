// Plain views: a pointer, a shape, a row stride. They own nothing.
#pragma once

#include <cstdint>
#include <type_traits>

namespace assay {

/// Row-major matrix view. `stride` is the distance between rows in elements (>= cols).
template <class T>
struct MatrixView {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* d, int64_t r, int64_t c) : data(d), rows(r), cols(c), stride(c) {}
  MatrixView(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  /// A mutable view converts to a const one.
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T>>>
  MatrixView(const MatrixView<U>& o) : data(o.data), rows(o.rows), cols(o.cols), stride(o.stride) {}

  constexpr T* row(int64_t i) const { return data + i * stride; }
  /// Rows [first, first + count).
  MatrixView slice(int64_t first, int64_t count) const { return {row(first), count, cols, stride}; }
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

}  // namespace assay
