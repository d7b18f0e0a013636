#include "data/hdf5.h"

#include <fmt/core.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::data::hdf5 {
namespace {

namespace fs = std::filesystem;

/// Before the first use: no printing of error stacks, and no closing at exit (a file whose disk is
/// full would be written again and again).
void prepare() {
  static const bool done = [] {
    H5dont_atexit();
    H5open();
    return true;
  }();
  (void)done;
  // A thread has its own setting.
  thread_local const bool quiet = H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr) >= 0;
  (void)quiet;
}

/// The reason lies in the innermost record; the operating system's, where there is one, is the
/// clearest.
std::string reason() {
  struct Found {
    std::string innermost, system;
  } found;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned n, const H5E_error2_t* record, void* data) -> herr_t {
        auto* into = static_cast<Found*>(data);
        const std::string text = record->desc != nullptr ? record->desc : "";
        if (n == 0) into->innermost = text;
        const size_t at = text.find("error message = '");
        if (at != std::string::npos && into->system.empty()) {
          const size_t start = at + 17;
          into->system = text.substr(start, text.find('\'', start) - start);
        }
        return 0;
      },
      &found);
  H5Eclear2(H5E_DEFAULT);
  std::string text = found.system.empty() ? found.innermost : found.system;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

/// Whether the library's records say that another program is writing the file. Leaves them.
bool in_use() {
  bool found = false;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned, const H5E_error2_t* record, void* data) -> herr_t {
        const std::string text = record->desc != nullptr ? record->desc : "";
        for (const char* sign : {"unable to lock file", "already open for write"})
          *static_cast<bool*>(data) |= text.find(sign) != std::string::npos;
        return 0;
      },
      &found);
  return found;
}

/// Where a link of this name leads; empty where there is none, or a data set itself.
std::string link_target(hid_t file, const std::string& name) {
  H5L_info_t info;
  if (H5Lget_info(file, name.c_str(), &info, H5P_DEFAULT) < 0 || info.type == H5L_TYPE_HARD)
    return {};
  std::string value(std::min<size_t>(info.u.val_size, 4096), '\0');
  if (H5Lget_val(file, name.c_str(), value.data(), value.size(), H5P_DEFAULT) < 0) return {};
  if (info.type == H5L_TYPE_SOFT) return value.c_str();
  const char *other = nullptr, *inside = nullptr;
  unsigned flags = 0;
  if (H5Lunpack_elink_val(value.data(), value.size(), &flags, &other, &inside) < 0) return {};
  return fmt::format("{} of {}", inside, other);
}

/// The first of the other files that hold the data set's rows; empty where it holds them itself.
std::string foreign_storage(hid_t properties) {
  std::string name(4096, '\0');
  if (H5Pget_layout(properties) == H5D_VIRTUAL) {
    if (H5Pget_virtual_filename(properties, 0, name.data(), name.size()) < 0) name = "others";
  } else if (H5Pget_external_count(properties) > 0) {
    if (H5Pget_external(properties, 0, name.size() - 1, name.data(), nullptr, nullptr) < 0)
      name = "others";
  } else {
    return {};
  }
  return name.c_str();
}

}  // namespace

std::unique_lock<std::mutex> lock() {
  static std::mutex mutex;
  std::unique_lock<std::mutex> held(mutex);
  prepare();
  return held;
}

bool Handle::close() {
  if (id_ < 0) return true;
  const hid_t id = std::exchange(id_, -1);
  switch (H5Iget_type(id)) {
    case H5I_FILE:
      return H5Fclose(id) >= 0;
    case H5I_GROUP:
      return H5Gclose(id) >= 0;
    case H5I_DATATYPE:
      return H5Tclose(id) >= 0;
    case H5I_DATASPACE:
      return H5Sclose(id) >= 0;
    case H5I_DATASET:
      return H5Dclose(id) >= 0;
    case H5I_ATTR:
      return H5Aclose(id) >= 0;
    default:
      return H5Idec_ref(id) >= 0;
  }
}

void fail(const std::string& where, const std::string& what) {
  const std::string why = reason();
  throw Error(why.empty() ? fmt::format("{}: {}", where, what)
                          : fmt::format("{}: {}: {}", where, what, why));
}

Handle own(hid_t id, const std::string& where, const std::string& what) {
  if (id < 0) fail(where, what);
  return Handle(id);
}

void check(herr_t status, const std::string& where, const std::string& what) {
  if (status < 0) fail(where, what);
}

Handle open_file(const fs::path& path) {
  prepare();
  const std::string where = path.string();
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) throw Error(fmt::format("{}: no such file", where));
  if (!fs::is_regular_file(status))
    throw Error(fmt::format("{}: not a file; name an HDF5 file", where));
  const htri_t known = H5Fis_hdf5(where.c_str());
  if (known < 0) fail(where, "cannot read");
  if (known == 0) throw Error(fmt::format("{}: not an HDF5 file, which is expected here", where));
  const hid_t file = H5Fopen(where.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  if (file < 0 && in_use()) {
    H5Eclear2(H5E_DEFAULT);
    throw Error(
        fmt::format("{}: another program has it open for writing, or was killed while it "
                    "did; close it there, or mend the file with h5clear -s",
                    where));
  }
  return own(file, where, "damaged HDF5 file; write it anew");
}

Handle create_file(const fs::path& path) {
  prepare();
  const Handle access(H5Pcreate(H5P_FILE_ACCESS));
  // Version 1.8 keeps attributes of any size (long label sets); its files are read by every library
  // since 2008.
  H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_LATEST);
  H5Pset_alignment(access, 64 << 10, 4096);  // the kernel copies whole pages faster
  const Handle creation(H5Pcreate(H5P_FILE_CREATE));
  H5Pset_obj_track_times(creation, false);
  try {
    return own(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), path.string(),
               "cannot create");
  } catch (const Error&) {
    std::error_code none;  // a full disk leaves a file without content
    if (fs::is_regular_file(path, none) && fs::file_size(path, none) == 0) fs::remove(path, none);
    throw;
  }
}

Handle create_dataset(hid_t file, const std::string& name, hid_t type, hid_t space,
                      hid_t properties, const std::string& where) {
  const Handle group_properties(H5Pcreate(H5P_GROUP_CREATE));
  H5Pset_obj_track_times(group_properties, false);
  for (size_t end = name.find('/', 1); end != std::string::npos; end = name.find('/', end + 1)) {
    const std::string group = name.substr(0, end);
    if (exists(file, group)) continue;
    own(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, group_properties, H5P_DEFAULT), where,
        "cannot create " + group);
  }
  const Handle creation(properties == H5P_DEFAULT ? H5Pcreate(H5P_DATASET_CREATE)
                                                  : H5Pcopy(properties));
  H5Pset_obj_track_times(creation, false);
  return own(H5Dcreate2(file, name.c_str(), type, space, H5P_DEFAULT, creation, H5P_DEFAULT), where,
             "cannot create " + name);
}

std::vector<std::string> members(hid_t file, const std::string& group) {
  std::vector<std::string> names;
  if (!exists(file, group)) return names;
  const Handle opened(H5Gopen2(file, group.c_str(), H5P_DEFAULT));
  if (!opened.valid()) {
    H5Eclear2(H5E_DEFAULT);
    return names;
  }
  H5Literate(
      opened, H5_INDEX_NAME, H5_ITER_INC, nullptr,
      [](hid_t, const char* name, const H5L_info_t* info, void* data) -> herr_t {
        auto* into = static_cast<std::vector<std::string>*>(data);
        if (info->type == H5L_TYPE_HARD) into->emplace_back(name);
        return into->size() < 4096 ? 0 : 1;
      },
      &names);
  std::sort(names.begin(), names.end());
  return names;
}

bool exists(hid_t file, const std::string& name) {
  for (size_t end = name.find('/', 1);; end = name.find('/', end + 1)) {
    const std::string prefix = name.substr(0, end);
    if (prefix != "/") {
      H5L_info_t info;
      if (H5Lexists(file, prefix.c_str(), H5P_DEFAULT) <= 0) return false;
      if (H5Lget_info(file, prefix.c_str(), &info, H5P_DEFAULT) < 0 || info.type != H5L_TYPE_HARD)
        return false;
    }
    if (end == std::string::npos) return true;
  }
}

Handle open_dataset(hid_t file, const std::string& name, const std::string& where) {
  if (!exists(file, name)) {
    const std::string target = link_target(file, name);
    H5Eclear2(H5E_DEFAULT);
    if (target.empty())
      throw Error(fmt::format("{}: no data set {}, which must be there", where, name));
    throw Error(
        fmt::format("{}: {} is a link to {}; copy the data into its place", where, name, target));
  }
  Handle dataset =
      own(H5Dopen2(file, name.c_str(), H5P_DEFAULT), where, name + " must be a data set");
  const Handle properties = own(H5Dget_create_plist(dataset), where, name);
  if (const std::string other = foreign_storage(properties); !other.empty()) {
    throw Error(fmt::format(
        "{}: {} is {}, its rows lie in other files ({}); copy them into this one", where, name,
        H5Pget_layout(properties) == H5D_VIRTUAL ? "virtual" : "external", other));
  }
  return dataset;
}

std::vector<int64_t> shape(hid_t dataset, const std::string& where) {
  const Handle space = own(H5Dget_space(dataset), where, "shape");
  const int rank = H5Sget_simple_extent_ndims(space);
  std::vector<hsize_t> dims(static_cast<size_t>(std::max(rank, 0)));
  if (rank > 0) check(H5Sget_simple_extent_dims(space, dims.data(), nullptr), where, "shape");
  for (const hsize_t n : dims) {
    if (n > (hsize_t{1} << 48))
      throw Error(fmt::format("{}: a dimension of {} is not possible", where, n));
  }
  return {dims.begin(), dims.end()};
}

namespace {

/// How many chunks cover the data set.
hsize_t chunks_of(hid_t properties, const std::vector<int64_t>& dims) {
  std::vector<hsize_t> chunk(dims.size());
  if (dims.empty() || H5Pget_chunk(properties, static_cast<int>(chunk.size()), chunk.data()) < 0)
    return 0;
  hsize_t count = 1;
  for (size_t i = 0; i < dims.size(); ++i)
    count *= (static_cast<hsize_t>(dims[i]) + chunk[i] - 1) / std::max<hsize_t>(chunk[i], 1);
  return count;
}

}  // namespace

void require_written(hid_t dataset, const std::string& name, const std::string& where) {
  const std::vector<int64_t> dims = shape(dataset, where);
  if (std::find(dims.begin(), dims.end(), 0) != dims.end()) return;
  const Handle properties = own(H5Dget_create_plist(dataset), where, name);
  const H5D_layout_t layout = H5Pget_layout(properties);
  hsize_t expected = 1, found = 1;
  if (layout == H5D_CHUNKED) {
    const Handle space = own(H5Dget_space(dataset), where, name);
    expected = chunks_of(properties, dims);
    check(H5Dget_num_chunks(dataset, space, &found), where, name);
  } else if (layout == H5D_CONTIGUOUS) {
    found = H5Dget_offset(dataset) != HADDR_UNDEF;
  }
  if (found == expected) return;
  throw Error(
      fmt::format("{}: {}: {} of {} chunks were never written and would read as zeros; write all "
                  "of it, or resize it to what was written",
                  where, name, expected - std::min(found, expected), expected));
}

}  // namespace assay::data::hdf5
