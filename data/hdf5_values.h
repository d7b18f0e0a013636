// Typed values of HDF5 data sets: their types, one-dimensional reading and writing.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "data/hdf5.h"
#include "kernels/base/dtype.h"

namespace assay::data::hdf5 {

/// The file type that stores `type` (little-endian; IEEE half; bf16 as uint16).
Handle file_type(DType type);

/// A stored type with its least significant byte first.
Handle little_endian(hid_t type);
/// A space of one dimension.
Handle vector_space(size_t count);

/// The native type of T: int32_t, int64_t, uint8_t, uint16_t, float or double.
template <class T>
hid_t native_type();

/// Write a one-dimensional data set (contiguous; created with its group).
template <class T>
Handle write_vector(hid_t file, const std::string& name, const std::vector<T>& values,
                    const std::string& where);

/// The values that an integer may have, both ends included.
struct IntegerRange {
  int64_t low = INT64_MIN, high = INT64_MAX;
};
template <class T>
constexpr IntegerRange range_of() {
  return {std::numeric_limits<T>::min(), std::numeric_limits<T>::max()};
}

/// Elements [first, first + count) of a one-dimensional data set of integers or booleans, read as
/// they are stored: the library's conversions would silently replace values beyond the target's
/// range by its ends. Error naming element (as `unit`) and value where one is outside `range`.
std::vector<int64_t> read_integers(hid_t dataset, const std::string& name, int64_t first,
                                   int64_t count, IntegerRange range, const std::string& where,
                                   const char* unit = "row");

/// Read a one-dimensional data set of at most `most` elements, converted to T. Values out of T's
/// range are an Error.
template <class T>
std::vector<T> read_vector(hid_t file, const std::string& name, int64_t most,
                           const std::string& where);

}  // namespace assay::data::hdf5
