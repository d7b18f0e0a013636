// What every use of the HDF5 library goes through: owned handles, and one-line errors that name the
// file.
//
// Rules: hold `lock()` around every use in a process that has other threads (the library is not
// reliably thread-safe, and a child must never be forked while it works). Files from strangers are
// opened inside `run_isolated` only (data/untrusted.h).
#pragma once

#include <hdf5.h>

#include <cstdint>
#include <filesystem>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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

}  // namespace assay::data::hdf5
