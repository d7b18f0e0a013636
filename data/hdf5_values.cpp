#include "data/hdf5_values.h"

#include <fmt/core.h>

#include <algorithm>
#include <type_traits>

#include "kernels/base/error.h"

namespace assay::data::hdf5 {

Handle vector_space(size_t count) {
  const hsize_t n = count;
  return Handle(H5Screate_simple(1, &n, nullptr));
}

Handle little_endian(hid_t type) {
  Handle little(H5Tcopy(type));
  H5Tset_order(little, H5T_ORDER_LE);
  return little;
}

Handle file_type(DType type) {
  if (type == DType::f32) return Handle(H5Tcopy(H5T_IEEE_F32LE));
  if (type == DType::bf16) return Handle(H5Tcopy(H5T_STD_U16LE));
  Handle half(H5Tcopy(H5T_IEEE_F32LE));
  H5Tset_fields(half, 15, 10, 5, 0, 10);
  H5Tset_size(half, 2);
  H5Tset_ebias(half, 15);
  return half;
}

// clang-format off
template <> hid_t native_type<int32_t>() { return H5T_NATIVE_INT32; }
template <> hid_t native_type<int64_t>() { return H5T_NATIVE_INT64; }
template <> hid_t native_type<uint8_t>() { return H5T_NATIVE_UINT8; }
template <> hid_t native_type<uint16_t>() { return H5T_NATIVE_UINT16; }
template <> hid_t native_type<float>() { return H5T_NATIVE_FLOAT; }
template <> hid_t native_type<double>() { return H5T_NATIVE_DOUBLE; }
// clang-format on

template <class T>
Handle write_vector(hid_t file, const std::string& name, const std::vector<T>& values,
                    const std::string& where) {
  Handle dataset =
      create_dataset(file, name, native_type<T>(), vector_space(values.size()), H5P_DEFAULT, where);
  if (!values.empty()) {
    check(H5Dwrite(dataset, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), where,
          fmt::format("cannot write {} bytes of {}", values.size() * sizeof(T), name));
  }
  return dataset;
}

namespace {

/// Whether the stored integers are unsigned; refuses what 64 bits do not hold.
bool stored_unsigned(hid_t dataset, const std::string& name, const std::string& where) {
  Handle type = own(H5Dget_type(dataset), where, name);
  if (H5Tget_class(type) == H5T_ENUM) type = own(H5Tget_super(type), where, name);  // booleans
  if (H5Tget_class(type) != H5T_INTEGER)
    throw Error(fmt::format("{}: {} must hold integers", where, name));
  if (H5Tget_size(type) > 8) {
    throw Error(fmt::format("{}: {} holds integers of {} bits; at most 64 are read", where, name,
                            8 * H5Tget_size(type)));
  }
  return H5Tget_sign(type) == H5T_SGN_NONE;
}

}  // namespace

std::vector<int64_t> read_integers(hid_t dataset, const std::string& name, int64_t first,
                                   int64_t count, IntegerRange range, const std::string& where,
                                   const char* unit) {
  const bool is_unsigned = stored_unsigned(dataset, name, where);
  std::vector<int64_t> values(static_cast<size_t>(count));
  if (count == 0) return values;
  const hsize_t offset = static_cast<hsize_t>(first), size = static_cast<hsize_t>(count);
  const Handle space = own(H5Dget_space(dataset), where, name);
  check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &offset, nullptr, &size, nullptr), where,
        "cannot read " + name);
  const Handle memory(H5Screate_simple(1, &size, nullptr));
  check(H5Dread(dataset, is_unsigned ? H5T_NATIVE_UINT64 : H5T_NATIVE_INT64, memory, space,
                H5P_DEFAULT, values.data()),
        where, "cannot read " + name);
  for (size_t i = 0; i < values.size(); ++i) {
    const bool beyond = is_unsigned && values[i] < 0;
    if (!beyond && values[i] >= range.low && values[i] <= range.high) continue;
    throw Error(fmt::format(
        "{}: {}: {} {}: {} does not fit; expected {} to {}", where, name, unit,
        first + static_cast<int64_t>(i),
        beyond ? std::to_string(static_cast<uint64_t>(values[i])) : std::to_string(values[i]),
        range.low, range.high));
  }
  return values;
}

template <class T>
std::vector<T> read_vector(hid_t file, const std::string& name, int64_t most,
                           const std::string& where) {
  const Handle dataset = open_dataset(file, name, where);
  const std::vector<int64_t> dims = shape(dataset, where);
  if (dims.size() != 1 || dims[0] > most) {
    throw Error(
        fmt::format("{}: {} must have one dimension of at most {} elements", where, name, most));
  }
  require_written(dataset, name, where);
  if constexpr (std::is_integral_v<T>) {
    const std::vector<int64_t> wide =
        read_integers(dataset, name, 0, dims[0], range_of<T>(), where);
    return {wide.begin(), wide.end()};
  } else {
    const Handle type = own(H5Dget_type(dataset), where, name);
    if (H5Tget_class(type) != H5T_FLOAT)
      throw Error(fmt::format("{}: {} must hold floats", where, name));
    std::vector<T> values(static_cast<size_t>(dims[0]));
    if (!values.empty()) {
      check(H5Dread(dataset, native_type<T>(), H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()), where,
            "cannot read " + name);
    }
    return values;
  }
}

#define ASSAY_INSTANTIATE(T)                                                        \
  template Handle write_vector<T>(hid_t, const std::string&, const std::vector<T>&, \
                                  const std::string&);                              \
  template std::vector<T> read_vector<T>(hid_t, const std::string&, int64_t, const std::string&);
ASSAY_INSTANTIATE(int32_t)
ASSAY_INSTANTIATE(int64_t)
ASSAY_INSTANTIATE(uint8_t)
ASSAY_INSTANTIATE(uint16_t)
ASSAY_INSTANTIATE(float)
ASSAY_INSTANTIATE(double)
#undef ASSAY_INSTANTIATE

}  // namespace assay::data::hdf5
