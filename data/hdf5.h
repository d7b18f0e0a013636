// The one place that calls the HDF5 library: owned handles, one-line errors that name the file, and
// typed helpers.
//
// Rules: hold `lock()` around every use in a process that has other threads (the library is not
// reliably thread-safe, and a child must never be forked while it works). Files from strangers are
// opened inside `run_isolated` only (data/untrusted.h).
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "kernels/base/dtype.h"

namespace assay::data::hdf5 {

/// Serialises the library. Not recursive, and never taken by the functions below.
std::unique_lock<std::mutex> lock();

/// An owned identifier of any kind.
class Handle {
 public:
  Handle() = default;
  explicit Handle(hid_t id) : id_(id) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)) {}
  Handle& operator=(Handle&& other) noexcept {
    if (this != &other) {
      close();
      id_ = std::exchange(other.id_, -1);
    }
    return *this;
  }
  ~Handle() { close(); }
  operator hid_t() const { return id_; }
  bool valid() const { return id_ >= 0; }
  /// Give up the identifier without closing it.
  hid_t release() { return std::exchange(id_, -1); }
  /// False where the library could not close it (a write that failed).
  bool close();

 private:
  hid_t id_ = -1;
};

/// Throws Error "WHERE: WHAT: <the library's reason>"; the library's error stack is read and
/// cleared.
[[noreturn]] void fail(const std::string& where, const std::string& what);
/// `id` owned; fails where it is negative.
Handle own(hid_t id, const std::string& where, const std::string& what);
/// Fails where `status` is negative.
void check(herr_t status, const std::string& where, const std::string& what);

/// Open for reading. Errors: no such file, a folder, not HDF5, truncated.
Handle open_file(const std::filesystem::path& path);
/// Create, replacing what is there.
Handle create_file(const std::filesystem::path& path);

/// Create a data set with its groups. No times are stored, so that equal contents have equal bytes.
/// `properties` (a data set creation list) may be H5P_DEFAULT.
Handle create_dataset(hid_t file, const std::string& name, hid_t type, hid_t space,
                      hid_t properties, const std::string& where);

/// The names in a group ("/" or below), sorted. Hard links only: soft and external links lead
/// outside and are left out.
std::vector<std::string> members(hid_t file, const std::string& group);
/// Whether `name` ("/hooks/a") is reached by hard links alone.
bool exists(hid_t file, const std::string& name);
/// Open a data set. Refuses external and virtual storage, which would read other files.
Handle open_dataset(hid_t file, const std::string& name, const std::string& where);
/// Dimensions of a data set.
std::vector<int64_t> shape(hid_t dataset, const std::string& where);

/// Refuses a data set of which a part was never written, which would read as zeros.
void require_written(hid_t dataset, const std::string& name, const std::string& where);

/// The file type that stores `type` (little-endian; IEEE half; bf16 as uint16).
Handle file_type(DType type);

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
