#include "data/arrow.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "data/flatbuffer.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

// Numbers of the format (Schema.fbs, Message.fbs).
enum Type {
  kInt = 2,
  kFloat = 3,
  kBinary = 4,
  kText = 5,
  kBool = 6,
  kList = 12,
  kFixedList = 16,
  kLargeList = 21
};
enum Header { kSchema = 1, kBatch = 3 };

constexpr int64_t kMostMetadata = 64 << 20;

bool is_list(int type) { return type == kList || type == kFixedList || type == kLargeList; }

/// Buffers of a node: validity, then offsets or values.
size_t buffers_of(int type) {
  if (type == kFixedList) return 1;
  return type == kBinary || type == kText ? 3 : 2;
}

ArrowColumn read_field(const Flatbuffer& buffer, int64_t field, const std::string& where) {
  ArrowColumn column;
  column.name = buffer.text(field, 0);
  for (int depth = 0;; ++depth) {
    const int type = buffer.scalar<uint8_t>(field, 2, 0);
    const int64_t about = buffer.table(field, 3);
    const std::vector<int64_t> children = buffer.tables(field, 5);
    int64_t width = 0;
    if (type == kInt) {
      width = buffer.scalar<int32_t>(about, 0, 0);
      column.is_signed = buffer.scalar<uint8_t>(about, 1, 0) != 0;
    } else if (type == kFloat) {
      width = int64_t{16} << std::clamp<int>(buffer.scalar<int16_t>(about, 0, 0), 0, 2);
    } else if (type == kFixedList) {
      width = buffer.scalar<int32_t>(about, 0, 0);
    }
    const bool known = is_list(type) || type == kInt || type == kFloat || type == kBinary ||
                       type == kText || type == kBool;
    if (!known || depth > 8 || children.size() != (is_list(type) ? 1u : 0u) ||
        buffer.has(field, 4)) {
      throw Error(fmt::format("{}: column '{}' has a type this reader does not know (number {})",
                              where, column.name, type));
    }
    column.types.push_back(type);
    column.widths.push_back(width);
    if (!is_list(type)) return column;
    field = children[0];
  }
}

bool is_activations(const ArrowColumn& c) {
  return c.types.size() == 3 && is_list(c.types[0]) && is_list(c.types[1]) && c.types[2] == kFloat;
}

bool is_tokens(const ArrowColumn& c) {
  return c.name == "token_ids" && c.types.size() == 2 && is_list(c.types[0]) &&
         c.types[1] == kInt && (c.widths[1] == 32 || c.widths[1] == 64);
}

}  // namespace

struct ArrowFile::Column {
  const ArrowColumn* about = nullptr;
  std::vector<std::pair<int64_t, int64_t>> nodes;
  std::vector<std::vector<std::pair<int64_t, int64_t>>> buffers;  ///< [depth]
};

ArrowFile::ArrowFile(const std::filesystem::path& path, const std::string& column)
    : where_(path.string()) {
  std::error_code failed;
  size_ = static_cast<int64_t>(std::filesystem::file_size(path, failed));
  if (failed) throw Error(where_ + ": no such file");
  file_.open(path, std::ios::binary);
  scan();
  choose(column);
  for (const Batch& batch : batches_) {
    if (batch.sequences == 0) continue;
    const Column at = locate(batch, activations_);
    const int64_t tokens = at.nodes[1].first, numbers = at.nodes[2].first;
    if (context_ == 0) context_ = tokens / batch.sequences;
    if (context_ == 0 || tokens % batch.sequences != 0 || tokens / batch.sequences != context_ ||
        numbers % tokens != 0 || (d_ != 0 && numbers / tokens != d_)) {
      throw Error(fmt::format("{}: column '{}': its rows have different shapes", where_,
                              columns_[activations_].name));
    }
    d_ = numbers / tokens;
    rows_ += tokens;
  }
  if (rows_ == 0 || d_ == 0) throw Error(fmt::format("{}: holds no activations", where_));
}

/// Messages one after another: 0xFFFFFFFF, the metadata's length, metadata, body.
void ArrowFile::scan() {
  char magic[8] = {};
  file_.read(magic, 8);
  int64_t at = file_ && std::memcmp(magic, "ARROW1\0\0", 8) == 0 ? 8 : 0;
  for (bool first = true;; first = false) {
    int32_t start[2] = {};
    file_.clear();
    file_.seekg(at);
    file_.read(reinterpret_cast<char*>(start), 8);
    if (!first && file_.gcount() == 0)
      throw Error(fmt::format(
          "{}: ends without the mark of its end: its writer was stopped, or bytes are missing",
          where_));
    if (file_.gcount() == 8 && start[0] == -1 && start[1] == 0 && !first) return check_end(at);
    if (file_.gcount() != 8 || start[0] != -1 || start[1] < 8 || start[1] > kMostMetadata ||
        start[1] > size_ - at - 8) {
      throw Error(fmt::format("{}: not an Arrow IPC file, or damaged at byte {}; make it anew",
                              where_, at));
    }
    std::string metadata(static_cast<size_t>(start[1]), '\0');
    file_.read(metadata.data(), start[1]);
    const Flatbuffer buffer(metadata, where_);
    const int64_t message = buffer.root(), body = at + 8 + start[1];
    const auto bytes = buffer.scalar<int64_t>(message, 3, 0);
    if (bytes < 0 || bytes > size_ - body)
      throw Error(fmt::format("{}: truncated: a batch ends beyond it", where_));
    const int header = buffer.scalar<uint8_t>(message, 1, 0);
    if (header != (first ? kSchema : kBatch)) {
      throw Error(
          fmt::format("{}: message of kind {} at byte {}; dictionary-encoded columns are not read",
                      where_, header, at));
    }
    if (first) {
      read_schema(metadata);
    } else {
      batches_.push_back(read_batch(metadata, body, bytes));
    }
    at = body + bytes;
  }
}

/// Behind the mark at byte `at`: nothing in a stream; in a file what says that it is whole.
void ArrowFile::check_end(int64_t at) {
  char magic[6] = {}, begin[6] = {};
  file_.seekg(0);
  file_.read(begin, 6);
  file_.seekg(std::max<int64_t>(0, size_ - 6));
  file_.read(magic, 6);
  const bool is_file = std::memcmp(begin, "ARROW1", 6) == 0;
  if (is_file ? std::memcmp(magic, "ARROW1", 6) == 0 : at + 8 == size_) return;
  throw Error(fmt::format("{}: {}", where_,
                          is_file ? "truncated: its footer is missing"
                                  : fmt::format("{} bytes behind its end", size_ - at - 8)));
}

void ArrowFile::read_schema(const std::string& metadata) {
  const Flatbuffer buffer(metadata, where_);
  const int64_t schema = buffer.table(buffer.root(), 2);
  if (buffer.scalar<int16_t>(schema, 0, 0) != 0)
    throw Error(where_ + ": big-endian Arrow is not read");
  for (const int64_t field : buffer.tables(schema, 1))
    columns_.push_back(read_field(buffer, field, where_));
}

ArrowFile::Batch ArrowFile::read_batch(const std::string& metadata, int64_t body,
                                       int64_t bytes) const {
  const Flatbuffer buffer(metadata, where_);
  const int64_t about = buffer.table(buffer.root(), 2);
  if (buffer.has(about, 3))
    throw Error(where_ + ": compressed Arrow buffers are not read; write them uncompressed");
  Batch batch{body, bytes, buffer.scalar<int64_t>(about, 0, 0), buffer.pairs(about, 1),
              buffer.pairs(about, 2)};
  for (const auto& [offset, length] : batch.buffers) {
    if (offset < 0 || length < 0 || offset > bytes || length > bytes - offset) {
      throw Error(fmt::format("{}: a buffer lies outside its batch (byte {})", where_, body));
    }
  }
  for (const auto& [length, missing] : batch.nodes) {
    if (length < 0 || length > (int64_t{1} << 48))
      throw Error(where_ + ": a column of impossible length");
  }
  if (batch.sequences < 0 || batch.sequences > (int64_t{1} << 48))
    throw Error(where_ + ": a batch of impossible length");
  return batch;
}

void ArrowFile::choose(const std::string& column) {
  std::string known;
  int found = 0;
  tokens_ = columns_.size();
  for (size_t c = 0; c < columns_.size(); ++c) {
    if (is_tokens(columns_[c])) tokens_ = c;
    if (!is_activations(columns_[c])) continue;
    known += (known.empty() ? "" : ", ") + columns_[c].name;
    if (!column.empty() && columns_[c].name != column) continue;
    activations_ = c;
    ++found;
  }
  if (found == 1) {
    width_ = columns_[activations_].widths[2];
    return;
  }
  throw UsageError(
      fmt::format("{}: {} of activations (lists of lists of floats){}; it has: {}", where_,
                  column.empty() ? fmt::format("{} columns", found) : "no column '" + column + "'",
                  found > 1 ? "; choose one with --tensor" : "", known.empty() ? "none" : known));
}

ArrowFile::Column ArrowFile::locate(const Batch& batch, size_t column) const {
  size_t node = 0, buffer = 0;
  for (size_t c = 0; c < columns_.size(); ++c) {
    Column at;
    at.about = &columns_[c];
    for (const int type : columns_[c].types) {
      const size_t count = buffers_of(type);
      if (node >= batch.nodes.size() || batch.buffers.size() - buffer < count) {
        throw Error(where_ + ": a batch lacks columns of the schema");
      }
      at.nodes.push_back(batch.nodes[node++]);
      at.buffers.emplace_back(batch.buffers.begin() + static_cast<int64_t>(buffer),
                              batch.buffers.begin() + static_cast<int64_t>(buffer + count));
      buffer += count;
    }
    if (c != column) continue;
    for (const auto& [length, missing] : at.nodes) {
      if (length > size_) throw Error(where_ + ": a column of impossible length");
      if (missing != 0)
        throw Error(fmt::format("{}: column '{}' has missing values", where_, at.about->name));
    }
    if (at.nodes[0].first != batch.sequences)
      throw Error(where_ + ": a column's length is not its batch's");
    return at;
  }
  throw Error(where_ + ": no such column");
}

/// Element `index` of an offsets buffer.
int64_t ArrowFile::whole(const Column& at, size_t depth, int64_t index, int bytes) const {
  const auto& [offset, length] = at.buffers[depth][1];
  if (index < 0 || index >= length / bytes) throw Error(where_ + ": list offsets are missing");
  int64_t value = 0;
  std::memcpy(&value, body_.data() + offset + index * bytes, static_cast<size_t>(bytes));
  return bytes == 4 ? static_cast<int32_t>(value) : value;
}

/// Where the children of entries [first, first + count) of a list begin, each having `expected` of
/// them.
int64_t ArrowFile::numbers(const Column& at, size_t depth, int64_t first, int64_t count,
                           int64_t expected) const {
  const int type = at.about->types[depth];
  const std::string shapes =
      fmt::format("{}: column '{}': its rows have different shapes", where_, at.about->name);
  if (type == kFixedList) {
    if (at.about->widths[depth] != expected || first < 0 || first > size_ / expected)
      throw Error(shapes);
    return first * expected;
  }
  const int bytes = type == kLargeList ? 8 : 4;
  const int64_t begin = whole(at, depth, first, bytes);
  for (int64_t i = 0; i <= count; ++i) {
    if (whole(at, depth, first + i, bytes) - begin != i * expected) throw Error(shapes);
  }
  return begin;
}

void ArrowFile::load(const Batch& batch) {
  body_.resize(static_cast<size_t>(batch.bytes));
  file_.clear();
  file_.seekg(batch.body);
  file_.read(body_.data(), batch.bytes);
  if (file_.gcount() != batch.bytes) throw Error(where_ + ": truncated");
  const auto values = [&](const Column& at, size_t depth, int64_t first, int64_t count) {
    const auto& [offset, length] = at.buffers[depth][1];
    const int64_t bytes = at.about->widths[depth] / 8;
    if (first < 0 || first > length / bytes || count > length / bytes - first) {
      throw Error(fmt::format("{}: column '{}' has fewer values than its lists say", where_,
                              at.about->name));
    }
    return body_.data() + offset + first * bytes;
  };
  left_ = batch.sequences * context_;
  const Column at = locate(batch, activations_);
  const int64_t first = numbers(at, 0, 0, batch.sequences, context_);
  values_ = values(at, 2, numbers(at, 1, first, left_, d_), left_ * d_);
  if (!has_tokens()) return;
  const Column ids = locate(batch, tokens_);
  token_values_ = values(ids, 1, numbers(ids, 0, 0, batch.sequences, context_), left_);
}

void ArrowFile::read(int64_t rows, float* out, std::vector<int32_t>& tokens) {
  tokens.clear();
  while (rows > 0) {
    if (left_ == 0) {
      load(batches_.at(next_batch_++));
      continue;
    }
    const int64_t count = std::min(rows, left_), bytes = width_ / 8;
    if (width_ == 64) {
      for (int64_t i = 0; i < count * d_; ++i) {
        double value = 0;
        std::memcpy(&value, values_ + 8 * i, 8);
        out[i] = static_cast<float>(value);
      }
    } else {
      to_float(dtype(), values_, out, count * d_);
    }
    for (int64_t i = 0; has_tokens() && i < count; ++i) {
      const int64_t wide = columns_[tokens_].widths[1] / 8;
      int64_t id = 0;
      std::memcpy(&id, token_values_ + i * wide, static_cast<size_t>(wide));
      const bool is_signed = columns_[tokens_].is_signed;
      if (wide == 4 && is_signed) id = static_cast<int32_t>(id);
      if (id < std::numeric_limits<int32_t>::min() || id > std::numeric_limits<int32_t>::max()) {
        throw Error(fmt::format(
            "{}: token id {} does not fit 32 bits", where_,
            is_signed ? std::to_string(id) : std::to_string(static_cast<uint64_t>(id))));
      }
      tokens.push_back(static_cast<int32_t>(id));
    }
    values_ += count * d_ * bytes;
    if (has_tokens()) token_values_ += count * (columns_[tokens_].widths[1] / 8);
    out += count * d_;
    left_ -= count;
    rows -= count;
  }
}

}  // namespace assay::data
