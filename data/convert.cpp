#include "data/convert.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>

#include "data/arrow.h"
#include "data/arrow_cache.h"
#include "data/base/crc32c.h"
#include "data/base/sha256.h"
#include "data/base/within_memory.h"
#include "data/index_build.h"
#include "data/npy.h"
#include "data/safetensors.h"
#include "data/shard_writer.h"
#include "kernels/base/error.h"
#include "kernels/base/mix64.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 4096;  // rows read at once

constexpr const char* kReshape =
    "{}: {} has the shape [{}, {}, {}]; --reshape reads it as {} rows, sequence by sequence";

bool holds_activations(const Tensor& tensor) {
  return (tensor.shape.size() == 2 || tensor.shape.size() == 3) && tensor.elements() > 0 &&
         tensor.is_float();
}

/// The names of a file's tensors, not more than fit a line.
std::string names_of(const TensorFile& file) {
  constexpr size_t kMost = 20;
  std::string names;
  size_t shown = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (++shown > kMost) return names + ", …";
    names += (names.empty() ? "" : ", ") + name;
  }
  return names;
}

const Tensor& choose_tensor(const TensorFile& file, const std::string& name,
                            const std::string& where) {
  if (!name.empty()) {
    const auto found = file.tensors.find(name);
    if (found == file.tensors.end())
      throw UsageError(fmt::format("{}: no tensor '{}'; it has: {}", where, name, names_of(file)));
    if (holds_activations(found->second)) return found->second;
    throw Error(
        fmt::format("{}: {} is {} with {} dimensions; expected [rows, d] of F64, F32, F16 or BF16",
                    where, name, found->second.dtype, found->second.shape.size()));
  }
  const Tensor* only = nullptr;
  int fitting = 0;
  for (const auto& [key, tensor] : file.tensors) {
    if (!holds_activations(tensor)) continue;
    only = &tensor;
    ++fitting;
  }
  if (fitting == 1) return *only;
  throw UsageError(fmt::format("{}: {} two-dimensional float tensors; choose one with --tensor: {}",
                               where, fitting, names_of(file)));
}

/// One source, whatever its format: d, its own type, and its rows in order.
class Source {
 public:
  virtual ~Source() = default;
  virtual int64_t rows() const = 0;
  virtual int64_t d() const = 0;
  virtual DType dtype() const = 0;
  virtual void read(int64_t rows, float* out) = 0;
  // Of sequences of tokens only.
  virtual int64_t context() const { return 0; }
  virtual std::string column() const { return ""; }
  virtual bool has_tokens() const { return false; }
  /// Token ids of the rows that were read last.
  virtual const std::vector<int32_t>& tokens() const { throw Error("no tokens"); }
};

class ArrowSource : public Source {
 public:
  ArrowSource(const fs::path& path, const std::string& column) : file_(path, column) {}
  int64_t rows() const override { return file_.rows(); }
  int64_t d() const override { return file_.d(); }
  DType dtype() const override { return file_.dtype(); }
  void read(int64_t rows, float* out) override { file_.read(rows, out, tokens_); }
  int64_t context() const override { return file_.context(); }
  std::string column() const override { return file_.column(); }
  bool has_tokens() const override { return file_.has_tokens(); }
  const std::vector<int32_t>& tokens() const override { return tokens_; }

 private:
  ArrowFile file_;
  std::vector<int32_t> tokens_;
};

/// A shape [N, d], or [N, M, d] where sequences may be taken apart.
struct RowShape {
  int64_t rows = 0, d = 0, context = 0;

  RowShape(const std::vector<int64_t>& shape, bool reshape, const std::string& name,
           const std::string& where) {
    if (shape.size() == 3 && !reshape) {
      throw UsageError(
          fmt::format(kReshape, where, name, shape[0], shape[1], shape[2], shape[0] * shape[1]));
    }
    context = shape.size() == 3 ? shape[1] : 0;
    rows = shape.size() == 3 ? shape[0] * shape[1] : shape[0];
    d = shape.back();
  }
};

class NpySource : public Source {
 public:
  NpySource(const fs::path& path, bool reshape)
      : file_(path), shape_(file_.shape(), reshape, "the array", path.string()) {}
  int64_t rows() const override { return shape_.rows; }
  int64_t d() const override { return shape_.d; }
  int64_t context() const override { return shape_.context; }
  DType dtype() const override { return file_.element_bytes() == 2 ? DType::f16 : DType::f32; }
  void read(int64_t rows, float* out) override { file_.read(rows, out); }

 private:
  NpyFile file_;
  RowShape shape_;
};

class TensorSource : public Source {
 public:
  TensorSource(const fs::path& path, const std::string& name, bool reshape)
      : file_(read_safetensors(path)),
        tensor_(choose_tensor(file_, name, path.string())),
        shape_(tensor_.shape, reshape, "the tensor", path.string()) {}
  int64_t rows() const override { return shape_.rows; }
  int64_t d() const override { return shape_.d; }
  int64_t context() const override { return shape_.context; }
  DType dtype() const override {
    return tensor_.dtype == "F16" ? DType::f16 : tensor_.dtype == "BF16" ? DType::bf16 : DType::f32;
  }
  void read(int64_t rows, float* out) override {
    const int64_t first = next_ * d(), count = rows * d();
    next_ += rows;
    tensor_.read_floats(first, count, out);
  }

 private:
  TensorFile file_;
  const Tensor& tensor_;
  RowShape shape_;
  int64_t next_ = 0;
};

std::unique_ptr<Source> open_source(const fs::path& path, const ConvertOptions& options) {
  if (!fs::exists(path)) throw Error(path.string() + ": no such file");
  if (path.extension() == ".arrow") return std::make_unique<ArrowSource>(path, options.tensor);
  if (path.extension() == ".npy") return std::make_unique<NpySource>(path, options.reshape);
  return std::make_unique<TensorSource>(path, options.tensor, options.reshape);
}

/// What one block of rows brings along besides the activations.
struct Block {
  std::vector<float> x;
  std::vector<int64_t> document;
  std::vector<int32_t> position;
  std::vector<uint8_t> special;
};

/// `before`: rows of the sources before this one; the first `skip` rows are safe already.
/// Adds the source's rows to `documents` where it has any, and returns a checksum of them all.
uint64_t copy_rows(Source& source, ShardWriter& writer, int64_t before, int64_t skip,
                   const ConvertOptions& options, NearDuplicates& documents) {
  Block at;
  uint64_t all = 0;
  at.x.resize(static_cast<size_t>(kBlock * source.d()));
  const auto& special = options.special_tokens;
  for (int64_t done = 0; done < source.rows();) {
    const int64_t count = std::min(kBlock, source.rows() - done);
    source.read(count, at.x.data());
    const int64_t safe = std::clamp<int64_t>(skip - done, 0, count);
    RowBlock block;
    block.x = ConstMatrix(at.x.data() + safe * source.d(), count - safe, source.d());
    at.document.clear(), at.position.clear(), at.special.clear();
    for (int64_t i = 0; i < count; ++i) {
      const float* row = at.x.data() + i * source.d();
      const uint32_t crc = crc32c(0, row, static_cast<size_t>(source.d()) * sizeof(float));
      all = mix64(all ^ crc);
      if (source.context() == 0) continue;
      const int32_t token = source.has_tokens() ? source.tokens()[static_cast<size_t>(i)] : 0;
      documents.add((before + done + i) / source.context(),
                    source.has_tokens() ? static_cast<uint64_t>(token) : crc);
    }
    for (int64_t i = safe; i < count && source.context() > 0; ++i) {
      at.document.push_back((before + done + i) / source.context());
      at.position.push_back(static_cast<int32_t>((done + i) % source.context()));
      if (special.empty()) continue;
      const int32_t token = source.tokens()[static_cast<size_t>(i)];
      at.special.push_back(std::count(special.begin(), special.end(), token) > 0);
    }
    block.document = at.document;
    block.position = at.position;
    block.special = at.special;
    if (source.has_tokens())
      block.tokens = std::span(source.tokens()).subspan(static_cast<size_t>(safe));
    writer.append(block);
    done += count;
  }
  return all;
}

/// The files in order: folders stand for their cache's. What a folder's files must hold is checked
/// when the last of them has been read.
struct Input {
  fs::path file, folder;
  std::optional<int64_t> sequences;  ///< with the files of the folder before it
};

std::vector<Input> expand(const std::vector<fs::path>& paths) {
  std::vector<Input> inputs;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      inputs.push_back({path, {}, {}});
      continue;
    }
    const ArrowCache cache = read_arrow_cache(path);
    for (const fs::path& file : cache.files) inputs.push_back({file, path, {}});
    inputs.back().sequences = cache.sequences;
  }
  return inputs;
}

/// Counts the sequences of each cache folder.
class SequenceCount {
 public:
  void add(const Input& input, const Source& source) {
    if (input.folder.empty()) return;
    if (input.folder != folder_) found_ = 0;
    folder_ = input.folder;
    found_ += source.rows() / source.context();
    if (!input.sequences || *input.sequences == found_) return;
    throw Error(fmt::format(
        "{}: its files hold {} sequences, dataset_info.json says {}; write the cache anew",
        folder_.string(), found_, *input.sequences));
  }

 private:
  fs::path folder_;
  int64_t found_ = 0;
};

/// Tells one source from another without reading all of it: its size, all of its bytes where it is
/// small, else blocks of it from the first to the last and the time it was written.
std::string identity_of(const fs::path& path) {
  constexpr uintmax_t kBlockBytes = 1 << 20, kBlocks = 64;
  const uintmax_t size = fs::file_size(path), most = kBlockBytes * kBlocks;
  std::ifstream in(path, std::ios::binary);
  std::string bytes(static_cast<size_t>(std::min(size, most)), '\0');
  for (uintmax_t block = 0; block * kBlockBytes < bytes.size(); ++block) {
    const uintmax_t begin = block * kBlockBytes,
                    length = std::min(kBlockBytes, bytes.size() - begin);
    const uintmax_t from = size <= most ? begin : block * (size - kBlockBytes) / (kBlocks - 1);
    in.seekg(static_cast<std::streamoff>(from));
    in.read(bytes.data() + begin, static_cast<std::streamsize>(length));
  }
  if (!in) throw Error(path.string() + ": cannot be read");
  const auto time = size <= most ? 0 : fs::last_write_time(path).time_since_epoch().count();
  return fmt::format("{} {} {}\n", size, time, sha256(bytes));
}

/// All that decides the rows besides what the writer's own options say: sources in order, tensor,
/// special tokens.
std::string identity_of(const std::vector<fs::path>& files, const ConvertOptions& options) {
  std::string all = fmt::format("{}\n{}\n", options.tensor, fmt::join(options.special_tokens, " "));
  for (const fs::path& file : files) all += identity_of(file);
  return sha256(all);
}

ShardWriterOptions shard_options(const Source& source, const ConvertOptions& options) {
  ShardWriterOptions shards;
  shards.folder = options.folder;
  shards.d = source.d();
  shards.dtype = options.dtype.value_or(source.dtype());
  shards.rows_per_shard = options.rows_per_shard;
  // Small arrays are cut in 64, so that the stream's lanes have chunks to share.
  shards.chunk_bytes = std::min(shards.chunk_bytes, std::max<int64_t>(1, source.rows() / 64) *
                                                        source.d() * size_of(shards.dtype));
  shards.hook = source.column();
  shards.context_length = source.context();
  shards.document = shards.position = source.context() > 0;
  shards.tokens = source.has_tokens();
  shards.special = !options.special_tokens.empty();
  shards.text = false;
  if (shards.special && !shards.tokens) {
    throw UsageError("special tokens are named, but there is no column token_ids to find them in");
  }
  return shards;
}

}  // namespace

bool is_convertible(const fs::path& file) {
  return file.extension() == ".npy" || file.extension() == ".safetensors" ||
         file.extension() == ".arrow" || fs::is_directory(file);
}

std::optional<NearDuplicates::Count> convert_arrays(const std::vector<fs::path>& paths,
                                                    const ConvertOptions& options) {
  const std::vector<Input> inputs = expand(paths);
  if (inputs.empty()) throw UsageError("no files to convert");
  std::vector<fs::path> files;
  for (const Input& input : inputs) files.push_back(input.file);
  for (const fs::path& file : files) {
    if (!fs::is_regular_file(file)) throw Error(file.string() + ": no such file");
  }
  require_different(files);
  std::map<std::pair<int64_t, uint64_t>, fs::path> seen;
  NearDuplicates documents;
  SequenceCount sequences;
  std::unique_ptr<ShardWriter> writer;
  int64_t d = 0, context = 0, before = 0;
  bool tokens = false;
  for (const Input& input : inputs) {
    const fs::path& path = input.file;
    const std::unique_ptr<Source> source =
        within_memory(path.string(), [&] { return open_source(path, options); });
    if (source->rows() == 0)
      throw Error(fmt::format("{}: has 0 rows; leave the file out", path.string()));
    sequences.add(input, *source);
    if (!writer) {
      ShardWriterOptions shards = shard_options(*source, options);
      shards.source_hash = identity_of(files, options);
      writer = std::make_unique<ShardWriter>(std::move(shards));
      d = source->d();
      context = source->context();
      tokens = source->has_tokens();
    }
    if (source->d() != d) {
      throw Error(fmt::format("{}: d = {}, but {} has d = {}", path.string(), source->d(),
                              inputs.front().file.string(), d));
    }
    if (source->context() != context || source->has_tokens() != tokens) {
      throw Error(fmt::format("{}: other columns or another context length than {}", path.string(),
                              inputs.front().file.string()));
    }
    const uint64_t all = within_memory(path.string(), [&] {
      return copy_rows(*source, *writer, before, writer->resume_rows() - before, options,
                       documents);
    });
    const auto [twin, is_new] = seen.try_emplace({source->rows(), all}, path);
    if (!is_new) {
      throw Error(fmt::format(
          "{}: holds the same activations as {}: both sides of a split would; leave one out",
          path.string(), twin->second.string()));
    }
    before += source->rows();
  }
  writer->finish();
  return context > 0 ? std::optional(documents.count()) : std::nullopt;
}

}  // namespace assay::data
