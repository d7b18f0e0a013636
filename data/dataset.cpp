#include "data/dataset.h"

#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>

#include "data/base/crc32c.h"
#include "data/index_file.h"
#include "data/isolated_rows.h"
#include "data/row_file.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

/// A column is read at its first use.
template <class T>
struct Column {
  std::once_flag once;
  std::vector<T> values;
};

class ChecksumError : public Error {
 public:
  using Error::Error;
};

}  // namespace

struct Dataset::State {
  SinkRows sink_rows;
  Index index;
  std::vector<ChunkInfo> chunks;
  std::vector<int64_t> first_chunk, first_row;  ///< [files]
  std::vector<RowFile> files;
  /// [hooks][chunks]: checked once in this process
  std::vector<std::vector<std::atomic<bool>>> verified;
  Column<int32_t> tokens, position;
  Column<int64_t> document, text;
  Column<uint8_t> special, sink, left_out;
  std::vector<std::unique_ptr<Column<int32_t>>> labels;
  std::mutex decoded_mutex;  ///< guards the last chunk that came through the library
  size_t decoded_hook = 0;
  int64_t decoded_chunk = -1;
  std::shared_ptr<const std::string> decoded;

  State(Index from, SinkRows sinks);
  size_t hook_number(const std::string& name) const;
  void read_stored(size_t hook, int64_t chunk, int64_t skip, int64_t rows, char* to);
  std::shared_ptr<const std::string> decode(size_t hook, int64_t chunk);
  void verify(size_t hook, int64_t chunk, uint32_t found);
  const ArrayLayout& array_of(size_t hook, int64_t chunk) const {
    return index.files[static_cast<size_t>(chunks[static_cast<size_t>(chunk)].file)].arrays[hook];
  }
  int64_t chunk_of(int64_t row) const;
  int64_t row_in_file(int64_t chunk) const {
    const ChunkInfo& c = chunks[static_cast<size_t>(chunk)];
    return c.first - first_row[static_cast<size_t>(c.file)];
  }
  /// Its values fit T: reading checks that.
  template <class T>
  std::vector<T> column(const std::string& name) const;
  std::vector<uint8_t> read_sinks() const;
};

Dataset::State::State(Index from, SinkRows sinks) : sink_rows(sinks), index(std::move(from)) {
  int64_t row = 0;
  for (size_t f = 0; f < index.files.size(); ++f) {
    const FileLayout& file = index.files[f];
    first_chunk.push_back(static_cast<int64_t>(chunks.size()));
    first_row.push_back(row);
    for (int64_t at = 0; at < file.rows; at += file.chunk_rows) {
      chunks.push_back(
          {row + at, std::min(file.chunk_rows, file.rows - at), static_cast<int32_t>(f)});
    }
    row += file.rows;
    files.emplace_back(file);
  }
  for (size_t h = 0; h < index.info.hooks.size(); ++h) verified.emplace_back(chunks.size());
  for (size_t l = 0; l < index.info.labels.size(); ++l)
    labels.push_back(std::make_unique<Column<int32_t>>());
}

size_t Dataset::State::hook_number(const std::string& name) const {
  std::string known;
  for (size_t h = 0; h < index.info.hooks.size(); ++h) {
    if (index.info.hooks[h].name == name) return h;
    known += (h > 0 ? ", " : "") + index.info.hooks[h].name;
  }
  throw UsageError(
      fmt::format("{}: no hook '{}'; it has: {}", index.info.path.string(), name, known));
}

int64_t Dataset::State::chunk_of(int64_t row) const {
  const auto after =
      std::upper_bound(chunks.begin(), chunks.end(), row,
                       [](int64_t r, const ChunkInfo& chunk) { return r < chunk.first; });
  return after - chunks.begin() - 1;
}

void Dataset::State::verify(size_t hook, int64_t chunk, uint32_t found) {
  const ChunkInfo& c = chunks[static_cast<size_t>(chunk)];
  const FileLayout& file = index.files[static_cast<size_t>(c.file)];
  const ArrayLayout& array = file.arrays[hook];
  const int64_t number = chunk - first_chunk[static_cast<size_t>(c.file)];
  if (!array.crc32c.empty()) {
    const uint32_t expected = array.crc32c[static_cast<size_t>(number)];
    if (found != expected) {
      const int64_t first = row_in_file(chunk);
      throw ChecksumError(fmt::format(
          "{}: corrupt chunk {} of {} (rows {} to {}): CRC32C is {:08x}, the index says {:08x}; "
          "restore "
          "the file, or accept it with `assay index`",
          file.path.string(), number, array.dataset(), first, first + c.rows, found, expected));
    }
  }
  verified[hook][static_cast<size_t>(chunk)].store(true, std::memory_order_relaxed);
}

std::shared_ptr<const std::string> Dataset::State::decode(size_t hook, int64_t chunk) {
  {
    const std::lock_guard held(decoded_mutex);
    if (decoded && decoded_hook == hook && decoded_chunk == chunk) return decoded;
  }
  const ChunkInfo& c = chunks[static_cast<size_t>(chunk)];
  const FileLayout& file = index.files[static_cast<size_t>(c.file)];
  auto bytes = std::make_shared<const std::string>(
      read_rows_isolated(file, file.arrays[hook], row_in_file(chunk), c.rows));
  verify(hook, chunk, crc32c(0, bytes->data(), bytes->size()));
  const std::lock_guard held(decoded_mutex);
  decoded_hook = hook;
  decoded_chunk = chunk;
  decoded = bytes;
  return bytes;
}

/// Rows [skip, skip + rows) of a chunk as stored. A chunk is verified whole when its first row is
/// asked for; later partial reads take only their rows.
void Dataset::State::read_stored(size_t hook, int64_t chunk, int64_t skip, int64_t rows, char* to) {
  const ChunkInfo& c = chunks[static_cast<size_t>(chunk)];
  const FileLayout& file = index.files[static_cast<size_t>(c.file)];
  const ArrayLayout& array = file.arrays[hook];
  const int64_t bytes = rows * array.row_bytes();
  if (array.extents.empty()) {
    std::memcpy(to, decode(hook, chunk)->data() + skip * array.row_bytes(),
                static_cast<size_t>(bytes));
    return;
  }
  const RowFile& from = files[static_cast<size_t>(c.file)];
  const int64_t first = row_in_file(chunk);
  if (rows == c.rows) {
    verify(hook, chunk, from.read(file, array, first, rows, to, !array.crc32c.empty()));
    return;
  }
  if (!array.crc32c.empty() &&
      !verified[hook][static_cast<size_t>(chunk)].load(std::memory_order_relaxed)) {
    std::vector<char> whole(static_cast<size_t>(c.rows * array.row_bytes()));
    verify(hook, chunk, from.read(file, array, first, c.rows, whole.data(), true));
    std::memcpy(to, whole.data() + skip * array.row_bytes(), static_cast<size_t>(bytes));
    return;
  }
  from.read(file, array, first + skip, rows, to, false);
}

template <class T>
std::vector<T> Dataset::State::column(const std::string& name) const {
  const std::vector<int64_t> values = read_column_isolated(index.files, name);
  if (static_cast<int64_t>(values.size()) != index.info.rows)
    throw Error(name + ": rows are missing");
  return {values.begin(), values.end()};
}

/// The files' own marks, or those that the index keeps beside itself.
std::vector<uint8_t> Dataset::State::read_sinks() const {
  const bool own = std::all_of(index.files.begin(), index.files.end(),
                               [](const FileLayout& f) { return f.has_column("sink"); });
  const bool any = index.sinks.rows > 0 || (own && !index.sinks.rows);
  if (sink_rows == SinkRows::keep || !any)
    return std::vector<uint8_t>(static_cast<size_t>(index.info.rows), 0);
  FileLayout beside;
  beside.path = sinks_path(index.info.path);
  beside.rows = index.info.rows;
  std::vector<uint8_t> marks;
  if (own) {
    marks = column<uint8_t>("/sink");
  } else {
    const std::vector<int64_t> read = read_column_isolated({beside}, "/sink");
    marks.assign(read.begin(), read.end());
  }
  size_t row = 0;
  for (const FileLayout& file : index.files) {
    const auto rows = static_cast<size_t>(file.rows);
    if (file.sinks.rows && crc32c(0, marks.data() + row, rows) != file.sinks.crc32c) {
      throw Error(fmt::format(
          "{}: the marks of {}'s sinks are not those of the index; make it anew with `assay index`",
          (own ? file.path : beside.path).string(), file.path.filename().string()));
    }
    row += rows;
  }
  return marks;
}

Dataset::Dataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
Dataset::Dataset(Dataset&&) noexcept = default;
Dataset& Dataset::operator=(Dataset&&) noexcept = default;
Dataset::~Dataset() = default;

Dataset Dataset::open(const fs::path& path, SinkRows sinks) {
  std::error_code failed;
  const fs::file_status status = fs::status(path, failed);
  if (!fs::exists(status)) throw Error(fmt::format("{}: no such file or folder", path.string()));
  Index index = fs::is_directory(status) ? read_index(path) : combine(path, read_layouts({path}));
  return Dataset(std::make_unique<State>(std::move(index), sinks));
}

const DatasetInfo& Dataset::info() const { return state_->index.info; }
const SinkInfo& Dataset::sinks() const { return state_->index.sinks; }
const HookInfo& Dataset::hook(const std::string& name) const {
  return info().hooks[state_->hook_number(name)];
}
const std::vector<ChunkInfo>& Dataset::chunks() const { return state_->chunks; }

const LabelInfo& Dataset::label(const std::string& name) const {
  std::string known;
  for (const LabelInfo& label : info().labels) {
    if (label.name == name) return label;
    known += (known.empty() ? "" : ", ") + label.name;
  }
  throw UsageError(fmt::format("{}: no label '{}'; it has: {}", info().path.string(), name,
                               known.empty() ? "none" : known));
}

void Dataset::read(const std::string& hook, int64_t first, Matrix out) const {
  const size_t number = state_->hook_number(hook);
  const HookInfo& about = info().hooks[number];
  if (first < 0 || out.rows < 0 || first > info().rows - out.rows || out.cols != about.d) {
    throw Error(fmt::format("{}: rows {} to {} with d = {} asked of {} rows with d = {}",
                            info().path.string(), first, first + out.rows, out.cols, info().rows,
                            about.d));
  }
  std::vector<char> stored;
  for (int64_t done = 0; done < out.rows;) {
    const int64_t chunk = state_->chunk_of(first + done);
    const ChunkInfo& c = chunks()[static_cast<size_t>(chunk)];
    const int64_t skip = first + done - c.first, rows = std::min(c.rows - skip, out.rows - done);
    const int64_t row_bytes = about.d * size_of(about.dtype);
    stored.resize(static_cast<size_t>(rows * row_bytes));
    state_->read_stored(number, chunk, skip, rows, stored.data());
    for (int64_t i = 0; i < rows; ++i)
      to_float(about.dtype, stored.data() + i * row_bytes, out.row(done + i), about.d);
    done += rows;
  }
}

void Dataset::read_chunk(const std::string& hook, int64_t chunk, Matrix out) const {
  const ChunkInfo& c = chunks().at(static_cast<size_t>(chunk));
  if (out.rows != c.rows)
    throw Error(fmt::format("chunk {} has {} rows, {} were asked", chunk, c.rows, out.rows));
  read(hook, c.first, out);
}

void Dataset::read_chunk_raw(const std::string& hook, int64_t chunk, void* out) const {
  const ChunkInfo& c = chunks().at(static_cast<size_t>(chunk));
  state_->read_stored(state_->hook_number(hook), chunk, 0, c.rows, static_cast<char*>(out));
}

std::vector<CorruptChunk> Dataset::corrupt_chunks(const std::vector<std::string>& hooks,
                                                  int threads) const {
  std::vector<size_t> numbers;
  for (const std::string& hook : hooks) numbers.push_back(state_->hook_number(hook));
  std::vector<std::string> faults(chunks().size());
  ThreadPool(threads).run(static_cast<int64_t>(faults.size()), [&](int64_t chunk, int) {
    for (const size_t hook : numbers) {
      const ArrayLayout& array = state_->array_of(hook, chunk);
      if (array.crc32c.empty()) {
        throw Error(fmt::format(
            "{}: {} has no checksums, so corrupt chunks cannot be told; make them with "
            "`assay index`",
            row_place(chunks()[static_cast<size_t>(chunk)].first).file, array.dataset()));
      }
      const int64_t rows = chunks()[static_cast<size_t>(chunk)].rows;
      std::vector<char> bytes(static_cast<size_t>(rows * array.row_bytes()));
      try {
        state_->read_stored(hook, chunk, 0, rows, bytes.data());
      } catch (const ChecksumError& error) {
        faults[static_cast<size_t>(chunk)] = error.what();
      }
    }
  });
  std::vector<CorruptChunk> found;
  for (size_t c = 0; c < faults.size(); ++c) {
    if (!faults[c].empty()) found.push_back({static_cast<int64_t>(c), faults[c]});
  }
  return found;
}

RowOrigin Dataset::row_place(int64_t row) const {
  const int64_t chunk = state_->chunk_of(row);
  const ChunkInfo& c = chunks().at(static_cast<size_t>(chunk));
  return {state_->index.files[static_cast<size_t>(c.file)].path.string(),
          state_->row_in_file(chunk) + row - c.first};
}

namespace {

void require_column(bool present, const DatasetInfo& info, const char* name) {
  if (!present)
    throw Error(fmt::format("{}: has no column /{}; harvest or index data that have it",
                            info.path.string(), name));
}

}  // namespace

const std::vector<int32_t>& Dataset::tokens() const {
  require_column(info().has_tokens, info(), "tokens");
  Column<int32_t>& column = state_->tokens;
  std::call_once(column.once, [&] { column.values = state_->column<int32_t>("/tokens"); });
  return column.values;
}

const std::vector<int32_t>& Dataset::position() const {
  require_column(info().has_position, info(), "position");
  Column<int32_t>& column = state_->position;
  std::call_once(column.once, [&] { column.values = state_->column<int32_t>("/position"); });
  return column.values;
}

const std::vector<int64_t>& Dataset::text() const {
  require_column(info().has_text, info(), "text");
  std::call_once(state_->text.once,
                 [&] { state_->text.values = state_->column<int64_t>("/text"); });
  return state_->text.values;
}

const std::vector<int64_t>& Dataset::document() const {
  Column<int64_t>& column = state_->document;
  std::call_once(column.once, [&] {
    if (info().has_document) {
      column.values = state_->column<int64_t>("/document");
    } else {
      for (int64_t i = 0; i < info().rows; ++i) column.values.push_back(i);
    }
  });
  return column.values;
}

const std::vector<uint8_t>& Dataset::special() const {
  Column<uint8_t>& column = state_->special;
  std::call_once(column.once, [&] {
    column.values = info().has_special ? state_->column<uint8_t>("/special")
                                       : std::vector<uint8_t>(static_cast<size_t>(info().rows), 0);
  });
  return column.values;
}

const std::vector<uint8_t>& Dataset::sink() const {
  std::call_once(state_->sink.once, [&] { state_->sink.values = state_->read_sinks(); });
  return state_->sink.values;
}

const std::vector<uint8_t>& Dataset::left_out() const {
  Column<uint8_t>& column = state_->left_out;
  std::call_once(column.once, [&] {
    column.values = special();
    for (size_t i = 0; i < column.values.size(); ++i) column.values[i] |= sink()[i];
  });
  return column.values;
}

const std::vector<int32_t>& Dataset::label_values(const std::string& name) const {
  const auto number = static_cast<size_t>(&label(name) - info().labels.data());
  Column<int32_t>& column = *state_->labels[number];
  std::call_once(column.once, [&] {
    column.values = state_->column<int32_t>("/labels/" + name);
    check_label_values(info().labels[number], column.values, info().path.string());
  });
  return column.values;
}

}  // namespace assay::data
