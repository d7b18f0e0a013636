#include "data/strided.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <mutex>
#include <utility>

#include "data/base/memory_room.h"
#include "data/base/within_memory.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr size_t kMostAxes = 64;

/// Elements from the first to the last, both counted; -1 on overflow.
int64_t reach_of(const std::vector<int64_t>& shape, const std::vector<int64_t>& strides) {
  int64_t reach = 1;
  for (size_t i = 0; i < shape.size(); ++i) {
    int64_t along = 0;
    if (__builtin_mul_overflow(shape[i] - 1, strides[i], &along) ||
        __builtin_add_overflow(reach, along, &reach)) {
      return -1;
    }
  }
  return reach;
}

/// The elements of a checked tensor with strides, row after row.
class GatheredBytes : public ByteSource {
 public:
  GatheredBytes(Tensor tensor, std::string what)
      : from_(std::move(tensor)), what_(std::move(what)) {
    width_ = static_cast<size_t>(element_bytes(from_.dtype));
  }

  void read(uint64_t offset, void* into, size_t bytes) const override {
    if (offset > size() || bytes > size() - offset) {
      throw Error(
          fmt::format("{} has {} bytes, expected {} at byte {}", what_, size(), bytes, offset));
    }
    const std::lock_guard hold(mutex_);
    if (rows_.empty()) within_memory(what_, [&] { gather(); });
    std::memcpy(into, rows_.data() + offset, bytes);
  }
  uint64_t size() const override { return static_cast<uint64_t>(from_.elements()) * width_; }

 private:
  void gather() const {
    const auto reach = static_cast<size_t>(reach_of(from_.shape, from_.strides));
    require_room(static_cast<int64_t>(reach * width_ + size()), what_ + ", which is a view,",
                 "save it contiguous");
    std::vector<std::byte> all(reach * width_);
    from_.source->read(from_.offset, all.data(), all.size());
    std::vector<std::byte> rows(size());
    std::vector<int64_t> index(from_.shape.size(), 0);
    int64_t at = 0;
    for (size_t done = 0; done < rows.size(); done += width_) {
      std::memcpy(rows.data() + done, all.data() + static_cast<size_t>(at) * width_, width_);
      for (size_t axis = index.size(); axis-- > 0;) {
        at += from_.strides[axis];
        if (++index[axis] < from_.shape[axis]) break;
        at -= index[axis] * from_.strides[axis];
        index[axis] = 0;
      }
    }
    rows_ = std::move(rows);
  }

  Tensor from_;
  std::string what_;
  size_t width_;
  mutable std::mutex mutex_;
  mutable std::vector<std::byte> rows_;
};

void check(const Tensor& tensor, const std::vector<int64_t>& strides, int64_t first, int64_t held,
           const std::string& what) {
  const std::vector<int64_t>& shape = tensor.shape;
  const auto described = [&](const char* why) {
    return Error(fmt::format("{} has shape [{}] and strides [{}] from element {} of {}: {}", what,
                             fmt::join(shape, ", "), fmt::join(strides, ", "), first, held, why));
  };
  if (shape.size() > kMostAxes || strides.size() > kMostAxes) {
    throw Error(fmt::format("{} has {} axes, expected at most {}; save it with fewer", what,
                            std::max(shape.size(), strides.size()), kMostAxes));
  }
  if (strides.size() != shape.size()) throw described("expected a stride an axis; save it anew");
  const int64_t elements = shape_product(shape);
  if (elements < 0) throw described("expected extents whose product is a size; save it anew");
  if (std::any_of(strides.begin(), strides.end(), [](int64_t stride) { return stride < 0; }))
    throw described("expected no negative strides; save a contiguous copy");
  if (elements == 0) return;
  const int64_t reach = reach_of(shape, strides);
  if (first < 0 || reach < 0 || first > held || reach > held - first)
    throw described("its elements lie outside; save it anew");
  if (elements > held) throw described("an expanded view; save a contiguous copy");
}

/// The extents of an array without elements may have any product.
int64_t times(int64_t stride, int64_t extent) {
  int64_t product = 0;
  return __builtin_mul_overflow(stride, std::max<int64_t>(1, extent), &product) ? INT64_MAX
                                                                                : product;
}

}  // namespace

std::vector<int64_t> row_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = shape.size(); i-- > 1;) strides[i - 1] = times(strides[i], shape[i]);
  return strides;
}

std::vector<int64_t> column_strides(const std::vector<int64_t>& shape) {
  std::vector<int64_t> strides(shape.size(), 1);
  for (size_t i = 1; i < shape.size(); ++i) strides[i] = times(strides[i - 1], shape[i - 1]);
  return strides;
}

void place(Tensor& tensor, const std::vector<int64_t>& strides, int64_t first, int64_t held,
           const std::string& what) {
  check(tensor, strides, first, held, what);
  tensor.strides.clear();
  if (tensor.elements() == 0) return;
  tensor.offset += static_cast<uint64_t>(first * element_bytes(tensor.dtype));
  const std::vector<int64_t> rows = row_strides(tensor.shape);
  bool gaps = false;
  for (size_t i = 0; i < rows.size(); ++i)  // along an axis of one element no step is taken
    gaps = gaps || (tensor.shape[i] > 1 && strides[i] != rows[i]);
  if (!gaps) return;
  tensor.strides = strides;
  if (tensor.is_float() && tensor.shape.size() <= 2) return;
  auto gathered = std::make_shared<GatheredBytes>(tensor, what);
  tensor.source = std::move(gathered);
  tensor.offset = 0;
  tensor.strides.clear();
}

}  // namespace assay::data
