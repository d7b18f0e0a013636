// Tensors whose elements lie as a file's own strides say (views that torch saved, Fortran order),
// checked before anything relies on them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tensor_file.h"

namespace assay::data {

/// Gives `tensor`, whose dtype (one that element_bytes knows), shape, source and offset are set,
/// its place in an array of `held` elements that begins at that offset: element number `first`,
/// from which `strides` lead to the others. Rows without gaps get empty strides. Tensors that
/// TensorFile cannot read in place (strides, and integers or more than two axes) get a source that
/// gathers them into memory at the first read; it may be shared by threads.
///
/// Throws Error "WHAT ..." for more than 64 axes, another number of strides, negative extents or
/// strides, elements outside the array, and more elements than the array has (an expanded view).
void place(Tensor& tensor, const std::vector<int64_t>& strides, int64_t first, int64_t held,
           const std::string& what);
/// Elements from one index to the next where rows (or, in Fortran order, columns) lie one behind
/// another.
std::vector<int64_t> row_strides(const std::vector<int64_t>& shape);
std::vector<int64_t> column_strides(const std::vector<int64_t>& shape);

}  // namespace assay::data
