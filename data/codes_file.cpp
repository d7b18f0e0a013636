#include "data/codes_file.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

#include "data/base/atomic_file.h"
#include "data/hdf5.h"
#include "data/hdf5_attributes.h"
#include "data/hdf5_values.h"
#include "data/untrusted.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kVersion = 1;
constexpr int64_t kChunk = 1 << 18;  // elements: 1 or 2 MiB

fs::path beside(const fs::path& file) {
  fs::path part = file;
  part += ".part";
  return part;
}

/// A one-dimensional data set that grows chunk by chunk. Chunks go to the file directly: what the
/// library kept in its cache would be written when it closes, where a full disk brings it down.
template <class T>
class Column {
 public:
  Column(hid_t file, std::string name, int64_t expected, std::string where)
      : name_(std::move(name)),
        where_(std::move(where)),
        buffer_(static_cast<size_t>(std::clamp<int64_t>(expected, 1, kChunk))) {
    const hsize_t start = 0, most = H5S_UNLIMITED, chunk = buffer_.size();
    const hdf5::Handle space(H5Screate_simple(1, &start, &most)),
        properties(H5Pcreate(H5P_DATASET_CREATE));
    hdf5::check(H5Pset_chunk(properties, 1, &chunk), where_, name_);
    handle_ = hdf5::create_dataset(file, name_, hdf5::native_type<T>(), space, properties, where_);
  }
  void append(const T* values, int64_t count) {
    while (count > 0) {
      const int64_t taken = std::min(count, static_cast<int64_t>(buffer_.size()) - filled_);
      std::copy_n(values, taken, buffer_.data() + filled_);
      values += taken;
      count -= taken;
      filled_ += taken;
      if (filled_ == static_cast<int64_t>(buffer_.size())) flush();
    }
  }
  void finish() {
    flush();
    handle_.close();
  }

 private:
  void flush() {
    if (filled_ == 0) return;
    std::fill(buffer_.begin() + filled_, buffer_.end(), T{});
    const hsize_t extent = static_cast<hsize_t>(written_) + static_cast<hsize_t>(filled_),
                  offset = static_cast<hsize_t>(written_);
    const size_t bytes = buffer_.size() * sizeof(T);
    const std::string what = fmt::format("cannot write {} bytes of {}", bytes, name_);
    hdf5::check(H5Dset_extent(handle_, &extent), where_, what);
    hdf5::check(H5Dwrite_chunk(handle_, H5P_DEFAULT, 0, &offset, bytes, buffer_.data()), where_,
                what);
    written_ += filled_;
    filled_ = 0;
  }

  std::string name_, where_;
  std::vector<T> buffer_;
  int64_t filled_ = 0, written_ = 0;
  hdf5::Handle handle_;
};

void write_attributes(hid_t file, const CodesInfo& info, const std::string& where) {
  hdf5::write_integer_attribute(file, "assay_codes", kVersion, where);
  hdf5::write_integer_attribute(file, "n", info.n, where);
  hdf5::write_integer_attribute(file, "d", info.d, where);
  hdf5::write_integer_attribute(file, "k", info.k, where);
  hdf5::write_text_attribute(file, "variant", info.variant, where);
  hdf5::write_text_attribute(file, "dictionary_hash", info.dictionary_hash, where);
  hdf5::write_text_attribute(file, "source_hash", info.source_hash, where);
  hdf5::write_text_attribute(file, "hook", info.hook, where);
}

}  // namespace

struct CodesWriter::State {
  explicit State(const fs::path& path) : file(path), part(beside(path)) {}
  ~State() {
    if (finished) return;
    // The library does not survive closing on a full disk: the file is emptied and left to it.
    const auto held = hdf5::lock();
    if (::truncate(part.c_str(), 0) == 0) ::unlink(part.c_str());
    handle.release();
    offsets.reset();
    indices.reset();
    values.reset();
  }

  fs::path file, part;
  hdf5::Handle handle;
  std::optional<Column<int64_t>> offsets;
  std::optional<Column<int32_t>> indices;
  std::optional<Column<float>> values;
  int64_t pairs = 0;
  bool finished = false;
};

CodesWriter::CodesWriter(const fs::path& file, const CodesInfo& info)
    : state_(std::make_unique<State>(file)) {
  const auto held = hdf5::lock();
  const std::string where = file.string();
  state_->handle = hdf5::create_file(state_->part);
  write_attributes(state_->handle, info, where);
  state_->offsets.emplace(state_->handle, "/row_offsets", info.rows + 1, where);
  state_->indices.emplace(state_->handle, "/indices", info.pairs, where);
  state_->values.emplace(state_->handle, "/values", info.pairs, where);
  const int64_t zero = 0;
  state_->offsets->append(&zero, 1);
}

CodesWriter::~CodesWriter() = default;

void CodesWriter::append(const SparseCodes& codes) {
  const auto held = hdf5::lock();
  for (int64_t i = 1; i <= codes.rows(); ++i) {
    const int64_t end = state_->pairs + codes.row_offsets[static_cast<size_t>(i)];
    state_->offsets->append(&end, 1);
  }
  state_->indices->append(codes.indices.data(), codes.pairs());
  state_->values->append(codes.values.data(), codes.pairs());
  state_->pairs += codes.pairs();
}

void CodesWriter::finish() {
  const auto held = hdf5::lock();
  const std::string where = state_->file.string(),
                    what = fmt::format("cannot write {} pairs", state_->pairs);
  state_->offsets->finish();
  state_->indices->finish();
  state_->values->finish();
  hdf5::check(H5Fflush(state_->handle, H5F_SCOPE_GLOBAL), where, what);
  if (!state_->handle.close()) hdf5::fail(where, what);
  publish(state_->part, state_->file);
  state_->finished = true;
}

namespace {

/// Opens a data set of one dimension whose numbers are of class `kind`, and tells its length.
hdf5::Handle open_column(hid_t file, const char* name, H5T_class_t kind, const std::string& where,
                         int64_t& length) {
  hdf5::Handle dataset = hdf5::open_dataset(file, name, where);
  const std::vector<int64_t> dims = hdf5::shape(dataset, where);
  if (dims.size() != 1)
    throw Error(fmt::format("{}: {} has {} dimensions, expected 1", where, name, dims.size()));
  const hdf5::Handle type = hdf5::own(H5Dget_type(dataset), where, name);
  if (H5Tget_class(type) != kind) {
    throw Error(fmt::format("{}: {} must hold {}", where, name,
                            kind == H5T_INTEGER ? "integers" : "floats"));
  }
  length = dims[0];
  return dataset;
}

/// Elements [first, first + count).
std::vector<float> read_floats(hid_t dataset, int64_t first, int64_t count,
                               const std::string& where) {
  std::vector<float> values(static_cast<size_t>(count));
  if (count == 0) return values;
  const hsize_t offset = static_cast<hsize_t>(first), size = static_cast<hsize_t>(count);
  const hdf5::Handle space = hdf5::own(H5Dget_space(dataset), where, "shape");
  hdf5::check(H5Sselect_hyperslab(space, H5S_SELECT_SET, &offset, nullptr, &size, nullptr), where,
              "cannot read");
  const hdf5::Handle memory(H5Screate_simple(1, &size, nullptr));
  hdf5::check(H5Dread(dataset, H5T_NATIVE_FLOAT, memory, space, H5P_DEFAULT, values.data()), where,
              "cannot read");
  return values;
}

void check_index(int64_t index, int64_t n, int64_t row, int64_t pair, const std::string& where) {
  if (index >= 0 && index < n) return;
  throw Error(fmt::format("{}: row {}: index {} (pair {}) is outside [0, n = {})", where, row,
                          index, pair, n));
}

/// A whole number, or 0 where the attribute is missing.
int64_t whole_attribute(hid_t file, const char* name, const std::string& where) {
  const std::vector<double> values = hdf5::read_numbers_attribute(file, name, where);
  if (values.empty()) return 0;
  if (values.size() != 1 || !(values[0] >= 0 && values[0] < 2147483648.0) ||
      values[0] != std::floor(values[0])) {
    throw Error(
        fmt::format("{}: attribute {} must be one whole number from 0 to 2^31 − 1", where, name));
  }
  return static_cast<int64_t>(values[0]);
}

Json read_info(const fs::path& path) {
  const std::string where = path.string();
  const hdf5::Handle file = hdf5::open_file(path);
  int64_t offsets = 0, indices = 0, values = 0;
  const hdf5::Handle dataset = open_column(file, "/row_offsets", H5T_INTEGER, where, offsets);
  // Once a file, not once a block: it walks all chunks.
  hdf5::require_written(dataset, "/row_offsets", where);
  hdf5::require_written(open_column(file, "/indices", H5T_INTEGER, where, indices), "/indices",
                        where);
  hdf5::require_written(open_column(file, "/values", H5T_FLOAT, where, values), "/values", where);
  if (offsets < 1)
    throw Error(where + ": /row_offsets is empty; expected one more element than rows");
  if (indices != values) {
    throw Error(fmt::format("{}: /indices has {} elements, /values {}; expected as many", where,
                            indices, values));
  }
  const auto offset = [&](int64_t row) {
    return hdf5::read_integers(dataset, "/row_offsets", row, 1, {}, where, "element")[0];
  };
  const int64_t first = offset(0), last = offset(offsets - 1);
  if (first != 0 || last != indices) {
    throw Error(fmt::format(
        "{}: /row_offsets goes from {} to {}; expected from 0 to {}, the number of pairs", where,
        first, last, indices));
  }
  const int64_t n = whole_attribute(file, "n", where);
  if (n < 1) throw Error(where + ": no attribute n: set it to the number of latents");
  Json info{{"rows", offsets - 1}, {"pairs", indices}, {"n", n}};
  for (const char* name : {"d", "k"}) info[name] = whole_attribute(file, name, where);
  for (const char* name : {"variant", "dictionary_hash", "source_hash", "hook"}) {
    info[name] = hdf5::read_text_attribute(file, name, where);
  }
  return info;
}

void put(std::string& bytes, const void* from, size_t count) {
  bytes.append(static_cast<const char*>(from), count);
}

/// In the child: 8 bytes rows, their ends relative to `pair`, indices, values.
std::string read_block(const fs::path& path, int64_t row, int64_t pair, int64_t rows,
                       int64_t most_pairs, int64_t n) {
  const std::string where = path.string();
  const hdf5::Handle file = hdf5::open_file(path);
  int64_t length = 0, pairs = 0;
  const hdf5::Handle offsets = open_column(file, "/row_offsets", H5T_INTEGER, where, length);
  const hdf5::Handle indices = open_column(file, "/indices", H5T_INTEGER, where, pairs);
  const hdf5::Handle values = open_column(file, "/values", H5T_FLOAT, where, pairs);
  std::vector<int64_t> ends =
      hdf5::read_integers(offsets, "/row_offsets", row + 1, rows, {}, where, "element");
  int64_t taken = 0, before = pair;
  for (; taken < rows; ++taken) {
    const int64_t end = ends[static_cast<size_t>(taken)];
    if (end < before || end > pairs) {
      throw Error(fmt::format(
          "{}: /row_offsets[{}] = {}; expected from {} (the element before) to {} (the pairs)",
          where, row + taken + 1, end, before, pairs));
    }
    if (end - before > n) {
      throw Error(fmt::format("{}: row {} has {} pairs, more than n = {}", where, row + taken,
                              end - before, n));
    }
    if (taken > 0 && end - pair > most_pairs) break;
    before = end;
  }
  std::string bytes;
  put(bytes, &taken, sizeof taken);
  ends.resize(static_cast<size_t>(taken));
  for (int64_t& end : ends) end -= pair;
  put(bytes, ends.data(), ends.size() * sizeof(int64_t));
  const std::vector<int64_t> stored =
      hdf5::read_integers(indices, "/indices", pair, before - pair, {}, where, "pair");
  for (size_t i = 0, p = 0; i < ends.size(); ++i)
    for (; static_cast<int64_t>(p) < ends[i]; ++p)
      check_index(stored[p], n, row + static_cast<int64_t>(i), pair + static_cast<int64_t>(p),
                  where);
  const std::vector<int32_t> latents(stored.begin(), stored.end());
  put(bytes, latents.data(), latents.size() * sizeof(int32_t));
  const auto activations = read_floats(values, pair, before - pair, where);
  put(bytes, activations.data(), activations.size() * sizeof(float));
  return bytes;
}

/// Moves `count` elements of T out of the child's answer.
template <class T>
void take(const std::string& bytes, size_t& at, size_t count, std::vector<T>& to,
          const std::string& where) {
  if (count > (bytes.size() - at) / sizeof(T))
    throw Error(where + ": damaged: less could be read than it promises");
  const size_t old = to.size();
  to.resize(old + count);
  std::memcpy(to.data() + old, bytes.data() + at, count * sizeof(T));
  at += count * sizeof(T);
}

}  // namespace

CodesReader CodesReader::open(const fs::path& file) {
  const std::string where = file.string();
  const std::string answer = run_isolated(
      where, [](std::string_view path) { return read_info(fs::path(path)).dump(); }, where);
  const Json info = Json::parse(answer, nullptr, false);
  if (!info.is_object()) throw Error(where + ": damaged");
  CodesReader reader;
  reader.file_ = file;
  reader.info_ = {info.at("rows"),
                  info.at("pairs"),
                  info.at("n"),
                  info.at("d"),
                  info.at("k"),
                  info.at("variant").get<std::string>(),
                  info.at("dictionary_hash").get<std::string>(),
                  info.at("source_hash").get<std::string>(),
                  info.at("hook").get<std::string>()};
  return reader;
}

SparseCodes CodesReader::next(int64_t most_rows, int64_t most_pairs) {
  SparseCodes codes;
  const int64_t rows = std::min(most_rows, info_.rows - row_);
  if (rows == 0) return codes;
  const std::string where = file_.string();
  const auto text = [](int64_t number) { return std::to_string(number); };
  const std::string bytes = run_isolated(
      where,
      [](std::string_view argument) {
        const std::vector<std::string> a = unpack(argument);
        return read_block(fs::path(a[0]), std::stoll(a[1]), std::stoll(a[2]), std::stoll(a[3]),
                          std::stoll(a[4]), std::stoll(a[5]));
      },
      pack({where, text(row_), text(pair_), text(rows), text(most_pairs), text(info_.n)}));
  size_t at = 0;
  std::vector<int64_t> taken;
  take(bytes, at, 1, taken, where);
  if (taken[0] < 1 || taken[0] > rows) throw Error(where + ": damaged");
  take(bytes, at, static_cast<size_t>(taken[0]), codes.row_offsets, where);
  const auto pairs = static_cast<size_t>(codes.pairs());
  take(bytes, at, pairs, codes.indices, where);
  take(bytes, at, pairs, codes.values, where);
  check(codes);
  row_ += codes.rows();
  pair_ += codes.pairs();
  return codes;
}

void CodesReader::check(const SparseCodes& codes) const {
  for (int64_t i = 0; i < codes.rows(); ++i) {
    const int64_t begin = codes.row_offsets[static_cast<size_t>(i)],
                  end = codes.row_offsets[static_cast<size_t>(i) + 1];
    if (end < begin)
      throw Error(fmt::format("{}: row {}: /row_offsets falls", file_.string(), row_ + i));
    for (int64_t p = begin; p < end; ++p) {
      const int32_t index = codes.indices[static_cast<size_t>(p)];
      check_index(index, info_.n, row_ + i, pair_ + p, file_.string());
      if (!std::isfinite(codes.values[static_cast<size_t>(p)])) {
        throw Error(fmt::format("{}: row {}: the value of latent {} (pair {}) is not finite",
                                file_.string(), row_ + i, index, pair_ + p));
      }
    }
  }
}

bool is_codes(const fs::path& file) {
  if (fs::file_size(file) == 0) return true;
  try {
    const std::vector<std::string> names = root_names(file);
    return std::find(names.begin(), names.end(), "row_offsets") != names.end();
  } catch (const Error&) {
    return false;
  }
}

std::vector<std::string> root_names(const fs::path& file) {
  const std::string where = file.string();
  const std::string answer = run_isolated(
      where,
      [](std::string_view path) {
        return Json(hdf5::members(hdf5::open_file(fs::path(path)), "/"))
            .dump(-1, ' ', false, Json::error_handler_t::replace);
      },
      where);
  const Json names = Json::parse(answer, nullptr, false);
  if (!names.is_array()) throw Error(where + ": damaged");
  return names.get<std::vector<std::string>>();
}

}  // namespace assay::data
