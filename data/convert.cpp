#include "data/convert.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>

#include "data/npy.h"
#include "data/safetensors.h"
#include "data/shard_writer.h"
#include "kernels/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlock = 4096;  // rows read at once

bool is_matrix(const Tensor& tensor) {
  return tensor.shape.size() == 2 && (tensor.dtype == "F32" || tensor.dtype == "F16" || tensor.dtype == "BF16");
}

const Tensor& choose_tensor(const TensorFile& file, const std::string& name, const std::string& where) {
  std::string known;
  const Tensor* only = nullptr;
  int matrices = 0;
  for (const auto& [key, tensor] : file.tensors) {
    known += (known.empty() ? "" : ", ") + key;
    if (key == name) {
      if (!is_matrix(tensor)) {
        throw Error(fmt::format("{}: {} is {} with {} dimensions; expected [rows, d] of F32, F16 or BF16", where, key,
                                tensor.dtype, tensor.shape.size()));
      }
      return tensor;
    }
    if (!is_matrix(tensor)) continue;
    only = &tensor;
    ++matrices;
  }
  if (!name.empty()) throw UsageError(fmt::format("{}: no tensor '{}'; it has: {}", where, name, known));
  if (matrices != 1) {
    throw UsageError(
        fmt::format("{}: {} two-dimensional float tensors; choose one with --tensor: {}", where, matrices, known));
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
  if (path.extension() == ".npy") return std::make_unique<NpySource>(path);
  return std::make_unique<TensorSource>(path, tensor);
}

void copy_rows(Source& source, ShardWriter& writer, int64_t skip) {
  std::vector<float> rows(static_cast<size_t>(kBlock * source.d()));
  for (int64_t done = 0; done < source.rows();) {
    const int64_t count = std::min(kBlock, source.rows() - done);
    source.read(count, rows.data());
    const int64_t safe = std::clamp<int64_t>(skip - done, 0, count);
    RowBlock block;
    block.x = ConstMatrix(rows.data() + safe * source.d(), count - safe, source.d());
    writer.append(block);
    done += count;
  }
}

}  // namespace

bool is_convertible(const fs::path& file) { return file.extension() == ".npy" || file.extension() == ".safetensors"; }

void convert_arrays(const std::vector<fs::path>& files, const ConvertOptions& options) {
  if (files.empty()) throw UsageError("no files to convert");
  std::unique_ptr<ShardWriter> writer;
  int64_t d = 0, before = 0;
  for (const fs::path& path : files) {
    const std::unique_ptr<Source> source = open_source(path, options.tensor);
    if (!writer) {
      d = source->d();
      ShardWriterOptions shards;
      shards.folder = options.folder;
      shards.d = d;
      shards.dtype = options.dtype.value_or(source->dtype());
      shards.rows_per_shard = options.rows_per_shard;
      // Small arrays are cut in 64, so that the stream's lanes have chunks to share.
      shards.chunk_bytes =
          std::min(shards.chunk_bytes, std::max<int64_t>(1, source->rows() / 64) * d * size_of(shards.dtype));
      shards.tokens = shards.document = shards.position = shards.special = shards.text = false;
      writer = std::make_unique<ShardWriter>(shards);
    }
    if (source->d() != d) {
      throw Error(fmt::format("{}: d = {}, but {} has d = {}", path.string(), source->d(), files.front().string(), d));
    }
    copy_rows(*source, *writer, writer->resume_rows() - before);
    before += source->rows();
  }
  writer->finish();
}

}  // namespace assay::data
