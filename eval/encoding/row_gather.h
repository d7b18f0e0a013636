// Visits chosen rows of a data set in row order, in blocks, reading only the chunks that hold any.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace assay::eval {

/// `wanted` [rows of the data set], non-zero = visit. `body(rows, x)`: global row numbers and x
/// [rows.size(), d], unscaled fp32, at most `block` rows; every block but the last is full,
/// whatever the chunks are.
void gather_rows(const data::Dataset& dataset, const std::vector<uint8_t>& wanted, int64_t block,
                 const std::function<void(std::span<const int64_t> rows, ConstMatrix x)>& body);

}  // namespace assay::eval
