#include "data/layout.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/hdf5.h"
#include "data/hdf5_attributes.h"
#include "data/hdf5_values.h"
#include "data/layout_json.h"
#include "data/untrusted.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostChunks =
    16384;  // looking up a chunk costs time in proportion to their number
constexpr int64_t kChunkBytes = 8 << 20;  // of a logical chunk where the file does not say
constexpr int64_t kMostDimensions = 1 << 20;
constexpr int64_t kMostCompression = 100;  // of activations; a gzip bomb has 1000

std::string type_text(hid_t type) {
  const H5T_class_t kind = H5Tget_class(type);
  const char* name = kind == H5T_INTEGER ? "integer" : kind == H5T_FLOAT ? "float" : "other";
  return fmt::format("{} of {} bits", name, 8 * H5Tget_size(type));
}

/// "bf16", "BF16", "bfloat16", "torch.bfloat16": how the attribute dtype names it.
bool names_bfloat16(std::string text) {
  if (text.rfind("torch.", 0) == 0) text.erase(0, 6);
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text == "bf16" || text == "bfloat16";
}

/// HDF5's own 16-bit float with the exponent of float32.
hdf5::Handle bfloat16_type() {
  hdf5::Handle type(H5Tcopy(H5T_IEEE_F32LE));
  H5Tset_fields(type, 15, 7, 8, 0, 7);
  H5Tset_size(type, 2);
  H5Tset_ebias(type, 127);
  return type;
}

/// The element type; `direct` becomes false where the stored bytes are not ours: big-endian
/// numbers, and float64, which is read as float32.
DType element_type(hid_t file, hid_t dataset, const std::string& name, const std::string& where,
                   bool& direct) {
  const hdf5::Handle type = hdf5::own(H5Dget_type(dataset), where, name);
  const H5T_class_t kind = H5Tget_class(type);
  if (kind == H5T_FLOAT || kind == H5T_INTEGER) {
    const hdf5::Handle little = hdf5::little_endian(type);
    direct = H5Tequal(little, type) > 0;
    for (const DType known : {DType::f32, DType::f16})
      if (H5Tequal(little, hdf5::file_type(known)) > 0) return known;
    if (H5Tequal(little, bfloat16_type()) > 0) return DType::bf16;
    if (H5Tequal(little, H5T_IEEE_F64LE) > 0) {
      direct = false;
      return DType::f32;
    }
    if (H5Tequal(little, H5T_STD_U16LE) > 0) {
      std::string says = hdf5::read_text_attribute(dataset, "dtype", where);
      if (says.empty()) says = hdf5::read_text_attribute(file, "dtype", where);
      if (names_bfloat16(says)) return DType::bf16;
      throw Error(fmt::format(
          "{}: {} holds uint16 without an attribute dtype = \"bf16\"; add it if they are "
          "bfloat16 bits",
          where, name));
    }
  }
  throw Error(
      fmt::format("{}: {} holds {}; expected float16, bfloat16, float32 or float64, or uint16 with "
                  "the attribute dtype = \"bf16\"",
                  where, name, type_text(type)));
}

void name_missing_filters(hid_t properties, const std::string& name, const std::string& where) {
  for (int i = 0, n = H5Pget_nfilters(properties); i < n; ++i) {
    unsigned flags = 0, configuration = 0;
    size_t values = 0;
    char text[128] = {};
    const H5Z_filter_t filter =
        H5Pget_filter2(properties, static_cast<unsigned>(i), &flags, &values, nullptr,
                       sizeof text - 1, text, &configuration);
    if (H5Zfilter_avail(filter) <= 0) {
      throw Error(fmt::format(
          "{}: {} is compressed by HDF5 filter {} ({}), which is not installed; install its plugin "
          "or write the data without it",
          where, name, filter, text[0] != '\0' ? text : "unnamed"));
    }
  }
}

/// The places of the chunks where rows lie whole and unfiltered; empty where they do not.
std::vector<Extent> chunk_extents(hid_t dataset, hid_t properties, int64_t rows, int64_t d) {
  hsize_t chunk[2] = {0, 0};
  if (H5Pget_nfilters(properties) != 0 || H5Pget_chunk(properties, 2, chunk) != 2) return {};
  if (static_cast<int64_t>(chunk[1]) != d || chunk[0] == 0) return {};
  const auto chunk_rows =
      static_cast<int64_t>(std::min<hsize_t>(chunk[0], static_cast<hsize_t>(rows)));
  const int64_t expected = (rows + chunk_rows - 1) / chunk_rows;
  hsize_t count = 0;
  const hdf5::Handle space(H5Dget_space(dataset));  // release 1.10 does not take H5S_ALL here
  if (expected > kMostChunks || H5Dget_num_chunks(dataset, space, &count) < 0) return {};
  if (static_cast<int64_t>(count) != expected) return {};
  std::vector<Extent> extents;
  for (hsize_t i = 0; i < count; ++i) {
    hsize_t offset[2] = {0, 0}, size = 0;
    unsigned mask = 0;
    haddr_t address = HADDR_UNDEF;
    if (H5Dget_chunk_info(dataset, space, i, offset, &mask, &address, &size) < 0 ||
        address == HADDR_UNDEF)
      return {};
    const auto first = static_cast<int64_t>(offset[0]);
    extents.push_back({first, std::min(chunk_rows, rows - first), static_cast<int64_t>(address)});
  }
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.first < b.first; });
  return extents;
}

std::vector<Extent> find_extents(hid_t file, hid_t dataset, int64_t rows, int64_t d,
                                 const std::string& where) {
  const hdf5::Handle creation = hdf5::own(H5Fget_create_plist(file), where, "properties");
  hsize_t user_block = 0;
  H5Pget_userblock(creation, &user_block);
  if (user_block != 0 || rows == 0) return {};
  const hdf5::Handle properties = hdf5::own(H5Dget_create_plist(dataset), where, "properties");
  const H5D_layout_t layout = H5Pget_layout(properties);
  if (layout == H5D_CHUNKED) return chunk_extents(dataset, properties, rows, d);
  const haddr_t address = layout == H5D_CONTIGUOUS ? H5Dget_offset(dataset) : HADDR_UNDEF;
  if (address == HADDR_UNDEF) return {};
  return {{0, rows, static_cast<int64_t>(address)}};
}

/// Checksums and moments that our writer leaves with an array.
void read_promises(hid_t dataset, const FileLayout& file, ArrayLayout& array,
                   const std::string& where) {
  const std::vector<double> checksums = hdf5::read_numbers_attribute(dataset, "crc32c", where);
  if (static_cast<int64_t>(checksums.size()) == file.chunks()) {
    for (const double c : checksums)
      array.crc32c.push_back(c >= 0 && c <= 4294967295.0 ? static_cast<uint32_t>(c) : 0u);
  }
  const std::vector<double> mean = hdf5::read_numbers_attribute(dataset, "mean", where);
  const std::vector<double> variance = hdf5::read_numbers_attribute(dataset, "variance", where);
  const std::vector<double> counted = hdf5::read_numbers_attribute(dataset, "rows_counted", where);
  if (static_cast<int64_t>(mean.size()) != array.d || variance.size() != 1 || counted.size() != 1)
    return;
  if (!(counted[0] > 0 && counted[0] <= static_cast<double>(file.rows))) return;
  array.moments = {static_cast<int64_t>(counted[0]), mean, variance[0]};
}

/// One number that is finite and from 0 to `most`; −1 where the attribute is no such thing.
double promised_number(hid_t dataset, const char* name, double most, const std::string& where) {
  const std::vector<double> found = hdf5::read_numbers_attribute(dataset, name, where);
  return found.size() == 1 && found[0] >= 0 && found[0] <= most ? found[0] : -1;
}

/// What our writer says of the marks in /sink; unknown where a part of it is missing.
void read_sinks(hid_t handle, FileLayout& file) {
  constexpr double kMost = std::numeric_limits<double>::max();
  const std::string where = file.path.string();
  const hdf5::Handle column = hdf5::open_dataset(handle, "/sink", where);
  const double rows = promised_number(column, "rows", static_cast<double>(file.rows), where);
  const double crc = promised_number(column, "crc32c", 4294967295.0, where);
  bool known = rows >= 0 && crc >= 0;
  for (ArrayLayout& array : file.arrays) {
    const hdf5::Handle dataset = hdf5::open_dataset(handle, array.dataset(), where);
    array.sinks = {promised_number(dataset, "sink_bound", kMost, where),
                   promised_number(dataset, "sink_square", kMost, where),
                   promised_number(dataset, "square", kMost, where)};
    known &= array.sinks.bound >= 0 && array.sinks.square >= 0 && array.sinks.total >= 0;
  }
  if (known) file.sinks = {static_cast<int64_t>(rows), static_cast<uint32_t>(crc)};
}

int64_t logical_chunk_rows(hid_t dataset, const ArrayLayout& array, int64_t rows,
                           const std::string& where) {
  const std::vector<double> said = hdf5::read_numbers_attribute(dataset, "chunk_rows", where);
  if (said.size() == 1 && said[0] >= 1 && said[0] <= 1e15) return static_cast<int64_t>(said[0]);
  // Small files are cut in 64, so that the stream's lanes have chunks to share.
  const int64_t fitting =
      std::max<int64_t>(1, std::min(kChunkBytes / array.row_bytes(), rows / 64));
  const hdf5::Handle properties = hdf5::own(H5Dget_create_plist(dataset), where, "properties");
  hsize_t chunk[2] = {0, 0};
  if (H5Pget_layout(properties) != H5D_CHUNKED || H5Pget_chunk(properties, 2, chunk) != 2)
    return fitting;
  const auto stored = static_cast<int64_t>(
      std::min<hsize_t>(chunk[0], static_cast<hsize_t>(std::max<int64_t>(rows, 1))));
  return stored >= fitting ? std::min(stored, 2 * fitting) : fitting / stored * stored;
}

/// What is declared fits the file's bytes, compressed or not: time and memory follow the rows.
void require_held(hid_t properties, const FileLayout& file, const ArrayLayout& array) {
  const int64_t most = H5Pget_nfilters(properties) > 0 ? kMostCompression : 1;
  if (file.rows <= file.bytes * most / array.row_bytes()) return;
  throw Error(fmt::format(
      "{}: {} declares {} rows of {} bytes, more than {} bytes of file can hold{}",
      file.path.string(), array.dataset(), file.rows, array.row_bytes(), file.bytes,
      most > 1 ? fmt::format(" at {}:1; store it less compressed", kMostCompression) : ""));
}

ArrayLayout read_array(hid_t handle, FileLayout& file, const std::string& name) {
  const std::string where = file.path.string();
  ArrayLayout array;
  array.name = name;
  const std::string dataset_name = array.dataset();
  const hdf5::Handle dataset = hdf5::open_dataset(handle, dataset_name, where);
  const std::vector<int64_t> dims = hdf5::shape(dataset, where);
  if (dims.size() == 3) {
    throw Error(fmt::format(
        "{}: {} has the shape [{}, {}, {}]; write it as two dimensions, x.reshape(-1, {}), and the "
        "sequence of each row as /document",
        where, dataset_name, dims[0], dims[1], dims[2], dims[2]));
  }
  if (dims.size() != 2 || dims[1] < 1 || dims[1] > kMostDimensions) {
    throw Error(fmt::format("{}: {} has {} dimensions; expected [rows, d] with d from 1 to {}",
                            where, dataset_name, dims.size(), kMostDimensions));
  }
  array.d = dims[1];
  bool direct = true;
  array.dtype = element_type(handle, dataset, dataset_name, where, direct);
  const hdf5::Handle properties = hdf5::own(H5Dget_create_plist(dataset), where, dataset_name);
  name_missing_filters(properties, dataset_name, where);
  if (name == "activations") {
    file.rows = dims[0];
    file.chunk_rows = logical_chunk_rows(dataset, array, file.rows, where);
  } else if (dims[0] != file.rows) {
    throw Error(fmt::format("{}: {} has {} rows, /activations {}: they must be equal", where,
                            dataset_name, dims[0], file.rows));
  }
  hdf5::require_written(dataset, dataset_name, where);
  require_held(properties, file, array);
  if (direct) array.extents = find_extents(handle, dataset, file.rows, array.d, where);
  read_promises(dataset, file, array, where);
  return array;
}

void check_column(hid_t handle, const FileLayout& file, const std::string& name) {
  const std::string where = file.path.string();
  const hdf5::Handle column = hdf5::open_dataset(handle, name, where);
  const std::vector<int64_t> dims = hdf5::shape(column, where);
  if (dims.size() != 1 || dims[0] != file.rows) {
    throw Error(fmt::format(
        "{}: {} must have one dimension of {} rows, as /activations, found [{}]; write it anew",
        where, name, file.rows, fmt::join(dims, ", ")));
  }
  hdf5::require_written(column, name, where);
}

FileLayout read_layout(const fs::path& path) {
  const std::string where = path.string();
  const hdf5::Handle handle = hdf5::open_file(path);
  FileLayout file;
  file.path = path;
  file.bytes = static_cast<int64_t>(fs::file_size(path));
  file.arrays.push_back(read_array(handle, file, "activations"));
  for (const std::string& hook : hdf5::members(handle, "/hooks"))
    file.arrays.push_back(read_array(handle, file, hook));
  for (const std::string& name : column_names()) {
    if (!hdf5::exists(handle, "/" + name)) continue;
    check_column(handle, file, "/" + name);
    file.columns.push_back(name);
  }
  if (file.has_column("sink")) read_sinks(handle, file);
  for (const std::string& name : hdf5::members(handle, "/labels")) {
    check_column(handle, file, "/labels/" + name);
    const hdf5::Handle dataset = hdf5::open_dataset(handle, "/labels/" + name, where);
    file.labels.push_back({name, hdf5::read_names_attribute(dataset, "classes", where)});
  }
  for (const std::string& name : attribute_names()) {
    std::string value = hdf5::read_text_attribute(handle, name, where);
    if (!value.empty()) file.attributes[name] = std::move(value);
  }
  return file;
}

/// What a child reports is checked again: extents must cover the rows in order and lie inside the
/// file.
void check_extents(const FileLayout& file) {
  for (const ArrayLayout& array : file.arrays) {
    if (array.extents.empty()) continue;
    int64_t next = 0;
    for (const Extent& extent : array.extents) {
      const bool inside = extent.rows > 0 && extent.address >= 0 && extent.address <= file.bytes &&
                          extent.rows <= (file.bytes - extent.address) / array.row_bytes();
      if (extent.first != next || !inside) {
        throw Error(fmt::format(
            "{}: truncated or damaged: rows from {} of {} lie outside the file of {} bytes",
            file.path.string(), extent.first, array.dataset(), file.bytes));
      }
      next += extent.rows;
    }
    if (next != file.rows)
      throw Error(fmt::format("{}: damaged: {} lacks rows", file.path.string(), array.dataset()));
  }
}

}  // namespace

const std::vector<std::string>& column_names() {
  static const std::vector<std::string> names{"tokens",  "document", "position",
                                              "special", "text",     "sink"};
  return names;
}

const std::vector<std::string>& attribute_names() {
  static const std::vector<std::string> names{"model",          "revision",    "hook",
                                              "tokenizer_hash", "source_hash", "chat_template",
                                              "writer_options", "made_by"};
  return names;
}

std::vector<FileLayout> read_layouts(const std::vector<fs::path>& files) {
  std::vector<FileLayout> layouts;
  for (const fs::path& path : files) {
    const std::string answer = run_isolated(
        path.string(),
        [](std::string_view file) { return layout_to_json(read_layout(fs::path(file))); },
        path.string());
    layouts.push_back(layout_from_json(answer, path));
    check_extents(layouts.back());
  }
  return layouts;
}

}  // namespace assay::data
