#include "data/convert.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "data/arrow.h"
#include "data/npy.h"
#include "data/safetensors.h"
#include "data/shard_writer.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 4096;  // rows read at once

bool is_matrix(const Tensor& tensor) {
  return tensor.shape.size() == 2 &&
         (tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16");
}

const Tensor& choose_tensor(const TensorFile& file, const std::string& name,
                            const std::string& where) {
  std::string known;
  const Tensor* only = nullptr;
  int matrices = 0;
  for (const auto& [key, tensor] : file.tensors) {
    known += (known.empty() ? "" : ", ") + key;
    if (key == name) {
      if (!is_matrix(tensor)) {
        throw Error(
            fmt::format("{}: {} is {} with {} dimensions; expected [rows, d] of F32, F16 or BF16",
                        where, key, tensor.dtype, tensor.shape.size()));
      }
      return tensor;
    }
    if (!is_matrix(tensor)) continue;
    only = &tensor;
    ++matrices;
  }
  if (!name.empty())
    throw UsageError(fmt::format("{}: no tensor '{}'; it has: {}", where, name, known));
  if (matrices != 1) {
    throw UsageError(
        fmt::format("{}: {} two-dimensional float tensors; choose one with --tensor: {}", where,
                    matrices, known));
  }
  return *only;
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

class NpySource : public Source {
 public:
  explicit NpySource(const fs::path& path) : file_(path) {}
  int64_t rows() const override { return file_.rows(); }
  int64_t d() const override { return file_.d(); }
  DType dtype() const override { return file_.element_bytes() == 2 ? DType::f16 : DType::f32; }
  void read(int64_t rows, float* out) override { file_.read(rows, out); }

 private:
  NpyFile file_;
};

class TensorSource : public Source {
 public:
  TensorSource(const fs::path& path, const std::string& name)
      : file_(read_safetensors(path)), tensor_(choose_tensor(file_, name, path.string())) {
    if (d() < 1) throw Error(path.string() + ": the tensor has no columns");
  }
  int64_t rows() const override { return tensor_.shape[0]; }
  int64_t d() const override { return tensor_.shape[1]; }
  DType dtype() const override {
    return tensor_.dtype == "F32" ? DType::f32 : tensor_.dtype == "F16" ? DType::f16 : DType::bf16;
  }
  void read(int64_t rows, float* out) override {
    to_float(dtype(), tensor_.bytes.data() + next_ * d() * size_of(dtype()), out, rows * d());
    next_ += rows;
  }

 private:
  TensorFile file_;
  const Tensor& tensor_;
  int64_t next_ = 0;
};

std::unique_ptr<Source> open_source(const fs::path& path, const std::string& tensor) {
  if (!fs::exists(path)) throw Error(path.string() + ": no such file");
  if (path.extension() == ".arrow") return std::make_unique<ArrowSource>(path, tensor);
  if (path.extension() == ".npy") return std::make_unique<NpySource>(path);
  return std::make_unique<TensorSource>(path, tensor);
}

/// What one block of rows brings along besides the activations.
struct Block {
  std::vector<float> x;
  std::vector<int64_t> document;
  std::vector<int32_t> position;
  std::vector<uint8_t> special;
};

/// `before`: rows of the sources before this one; the first `skip` rows are safe already.
void copy_rows(Source& source, ShardWriter& writer, int64_t before, int64_t skip,
               const ConvertOptions& options) {
  Block at;
  at.x.resize(static_cast<size_t>(kBlock * source.d()));
  const auto& special = options.special_tokens;
  for (int64_t done = 0; done < source.rows();) {
    const int64_t count = std::min(kBlock, source.rows() - done);
    source.read(count, at.x.data());
    const int64_t safe = std::clamp<int64_t>(skip - done, 0, count);
    RowBlock block;
    block.x = ConstMatrix(at.x.data() + safe * source.d(), count - safe, source.d());
    at.document.clear(), at.position.clear(), at.special.clear();
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
}

/// Folders stand for their data-*.arrow files, by name.
std::vector<fs::path> expand(const std::vector<fs::path>& paths) {
  std::vector<fs::path> files;
  for (const fs::path& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back(path);
      continue;
    }
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(path)) {
      const std::string name = entry.path().filename().string();
      if (name.rfind("data-", 0) == 0 && entry.path().extension() == ".arrow")
        found.push_back(entry.path());
    }
    if (found.empty())
      throw UsageError(fmt::format("{}: no data-*.arrow in this folder", path.string()));
    std::sort(found.begin(), found.end());
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
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

void convert_arrays(const std::vector<fs::path>& paths, const ConvertOptions& options) {
  const std::vector<fs::path> files = expand(paths);
  if (files.empty()) throw UsageError("no files to convert");
  std::unique_ptr<ShardWriter> writer;
  int64_t d = 0, context = 0, before = 0;
  bool tokens = false;
  for (const fs::path& path : files) {
    const std::unique_ptr<Source> source = open_source(path, options.tensor);
    if (!writer) {
      writer = std::make_unique<ShardWriter>(shard_options(*source, options));
      d = source->d();
      context = source->context();
      tokens = source->has_tokens();
    }
    if (source->d() != d) {
      throw Error(fmt::format("{}: d = {}, but {} has d = {}", path.string(), source->d(),
                              files.front().string(), d));
    }
    if (source->context() != context || source->has_tokens() != tokens) {
      throw Error(fmt::format("{}: other columns or another context length than {}", path.string(),
                              files.front().string()));
    }
    copy_rows(*source, *writer, before, writer->resume_rows() - before, options);
    before += source->rows();
  }
  writer->finish();
}

}  // namespace assay::data
