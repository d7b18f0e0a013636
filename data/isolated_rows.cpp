#include "data/isolated_rows.h"

#include <fmt/format.h>

#include <cstring>
#include <span>
#include <unordered_set>

#include "data/hdf5.h"
#include "data/hdf5_values.h"
#include "data/untrusted.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

/// What rows are read as: the stored bits, or float32 of float64.
hdf5::Handle read_type(hid_t dataset, DType dtype, const std::string& where) {
  const hdf5::Handle type = hdf5::own(H5Dget_type(dataset), where, "type");
  const bool same = static_cast<int64_t>(H5Tget_size(type)) == size_of(dtype);
  return same ? hdf5::little_endian(type) : hdf5::file_type(dtype);
}

struct RowsWanted {
  int64_t file_rows, d, first, rows;
  DType dtype;
};

std::string pack_rows(const RowsWanted& w, const std::string& path, const std::string& dataset) {
  return pack({path, dataset, std::to_string(w.file_rows), std::to_string(w.d),
               std::to_string(w.first), std::to_string(w.rows), std::string(name_of(w.dtype))});
}

/// The stored bytes of the rows that pack_rows names.
std::string read_rows(std::string_view argument) {
  const std::vector<std::string> a = unpack(argument);
  const std::string &where = a[0], &name = a[1];
  const RowsWanted w{std::stoll(a[2]), std::stoll(a[3]), std::stoll(a[4]), std::stoll(a[5]),
                     parse_dtype(a[6])};
  const hdf5::Handle handle = hdf5::open_file(fs::path(where));
  const hdf5::Handle dataset = hdf5::open_dataset(handle, name, where);
  if (hdf5::shape(dataset, where) != std::vector<int64_t>{w.file_rows, w.d})
    throw Error(where + ": changed while it was open");
  const hdf5::Handle space = hdf5::own(H5Dget_space(dataset), where, name);
  const hsize_t start[2] = {static_cast<hsize_t>(w.first), 0};
  const hsize_t count[2] = {static_cast<hsize_t>(w.rows), static_cast<hsize_t>(w.d)};
  const hdf5::Handle memory(H5Screate_simple(2, count, nullptr));
  hdf5::check(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr), where,
              name);
  std::string out(static_cast<size_t>(w.rows * w.d * size_of(w.dtype)), '\0');
  hdf5::check(
      H5Dread(dataset, read_type(dataset, w.dtype, where), memory, space, H5P_DEFAULT, out.data()),
      where, fmt::format("cannot read rows {} to {} of {}", w.first, w.first + w.rows, name));
  return out;
}

hdf5::IntegerRange column_range(const std::string& dataset) {
  if (dataset == "/document" || dataset == "/text") return hdf5::range_of<int64_t>();
  if (dataset == "/special" || dataset == "/sink") return hdf5::range_of<uint8_t>();
  return hdf5::range_of<int32_t>();
}

/// The 64-bit integers of a column: path, dataset, rows.
std::string read_column(std::string_view argument) {
  const std::vector<std::string> a = unpack(argument);
  const hdf5::Handle handle = hdf5::open_file(fs::path(a[0]));
  const hdf5::Handle stored = hdf5::open_dataset(handle, a[1], a[0]);
  const int64_t rows = std::stoll(a[2]);
  if (hdf5::shape(stored, a[0]) != std::vector<int64_t>{rows})
    throw Error(a[0] + ": changed while it was open");
  const std::vector<int64_t> column =
      hdf5::read_integers(stored, a[1], 0, rows, column_range(a[1]), a[0]);
  return {reinterpret_cast<const char*>(column.data()), column.size() * 8};
}

/// A text's rows lie together in its file: where others come between them each run would count as a
/// text of its own.
void require_runs(std::span<const int64_t> text, const std::string& where) {
  std::unordered_set<int64_t> ended;
  for (size_t i = 1; i < text.size(); ++i) {
    if (text[i] == text[i - 1]) continue;
    ended.insert(text[i - 1]);
    if (ended.count(text[i]) == 0) continue;
    throw Error(fmt::format(
        "{}: /text: row {}: text {} goes on after rows of others; sort the rows by text", where, i,
        text[i]));
  }
}

}  // namespace

std::string read_rows_isolated(const FileLayout& file, const ArrayLayout& array, int64_t first,
                               int64_t rows) {
  const int64_t bytes = rows * array.row_bytes();
  IsolationLimits limits;
  limits.memory_bytes += 4 * bytes;
  limits.answer_bytes = bytes + 2;
  const RowsWanted wanted{file.rows, array.d, first, rows, array.dtype};
  std::string answer = run_isolated(file.path.string(), read_rows,
                                    pack_rows(wanted, file.path.string(), array.dataset()), limits);
  if (static_cast<int64_t>(answer.size()) != bytes)
    throw Error(file.path.string() + ": changed while it was open");
  return answer;
}

std::vector<int64_t> read_column_isolated(const std::vector<FileLayout>& files,
                                          const std::string& dataset) {
  std::vector<int64_t> values;
  for (const FileLayout& file : files) {
    IsolationLimits limits;
    limits.memory_bytes += 40 * file.rows;
    limits.answer_bytes = 8 * file.rows + 2;
    const std::string where = file.path.string();
    const std::string bytes =
        run_isolated(where, read_column, pack({where, dataset, std::to_string(file.rows)}), limits);
    if (static_cast<int64_t>(bytes.size()) != 8 * file.rows)
      throw Error(where + ": changed while it was open");
    const size_t start = values.size();
    values.resize(start + static_cast<size_t>(file.rows));
    if (!bytes.empty()) std::memcpy(values.data() + start, bytes.data(), bytes.size());
    if (dataset == "/text") require_runs(std::span(values).subspan(start), where);
  }
  return values;
}

void fail_label(const LabelInfo& label, size_t row, int64_t value, const std::string& where) {
  const std::string most =
      label.classes.empty() ? "or more" : fmt::format("to {}", label.classes.size() - 1);
  throw Error(fmt::format("{}: /labels/{}: row {} has class {}, expected -1 {}; correct it", where,
                          label.name, row, value, most));
}

}  // namespace assay::data
