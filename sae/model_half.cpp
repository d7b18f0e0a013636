// Runs the halves. The only file that sees torch.
#include "sae/model_half.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include "data/sha256.h"
#include "kernels/error.h"

namespace assay::sae {
namespace {

/// The file's bytes, with the hash the manifest gives. They are read once: what was hashed is what is loaded.
std::string read_verified(const std::filesystem::path& path, const std::string& sha256) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(path.string() + ": no such file: export the model again");
  std::ostringstream bytes;
  bytes << in.rdbuf();
  std::string content = std::move(bytes).str();
  const std::string found = data::sha256(content);
  if (found == sha256) return content;
  throw Error(
      fmt::format("{}: SHA-256 is {:.12}…, the manifest says {:.12}…: the file was changed; export the model again",
                  path.string(), found, sha256));
}

/// Bytes as a file without a name, for a library that opens paths.
class MemoryFile {
 public:
  MemoryFile(const std::string& bytes, const std::string& where) : descriptor_(memfd_create("half", MFD_CLOEXEC)) {
    size_t written = 0;
    while (descriptor_ >= 0 && written < bytes.size()) {
      const ssize_t n = write(descriptor_, bytes.data() + written, bytes.size() - written);
      if (n <= 0) break;
      written += static_cast<size_t>(n);
    }
    if (written < bytes.size()) throw Error(fmt::format("{}: no memory for its {} bytes", where, bytes.size()));
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }
  std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

std::string first_line(const char* text) {
  const std::string_view all(text);
  return std::string(all.substr(0, all.find('\n')));
}

/// torch's exceptions become one line that names the half.
template <class Body>
auto guarded(const std::string& where, const char* doing, Body body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    throw Error(fmt::format("{}: {} failed: {}", where, doing, first_line(error.what_without_backtrace())));
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: {} failed: {}", where, doing, first_line(error.what())));
  }
}

/// Torch keeps to the calling thread: a batch's bits then depend on nothing else, and workers do not fight.
void use_this_thread_alone() {
  thread_local const bool done = [] {
    at::set_num_threads(1);
    torch::jit::setGraphExecutorOptimize(false);  // the first runs have the bits of the later ones
    return true;
  }();
  (void)done;
}

void check_machine(const ModelFolder& folder) {
  const std::string ours = fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
  if (folder.torch_version != ours) {
    throw Error(fmt::format("{}: compiled with torch {}, this program has {}; export the model again",
                            folder.path.string(), folder.torch_version, ours));
  }
  std::ifstream in("/proc/cpuinfo");
  std::ostringstream cpuinfo;
  cpuinfo << in.rdbuf();
  const std::vector<std::string> missing = missing_cpu_flags(folder.cpu_flags, cpuinfo.str());
  if (missing.empty()) return;
  throw Error(fmt::format("{}: compiled for a CPU with {}, which this one lacks; export the model on this machine",
                          folder.path.string(), fmt::join(missing, ", ")));
}

void require_output(const ModelFolder& folder, HalfOutput wanted) {
  if (folder.output == wanted) return;
  const bool embedding = wanted == HalfOutput::embedding;
  throw Error(fmt::format("{}: the upper half gives {}, this needs {}: export {}", folder.path.string(),
                          embedding ? "losses of tokens" : "an embedding",
                          embedding ? "an embedding" : "losses of tokens",
                          embedding ? "a sentence encoder" : "a causal language model"));
}

/// One loaded file of either kind: some tensors in, one out.
class Program {
 public:
  Program(const ModelFolder& folder, const std::string& half, HalfKind kind, int concurrency) {
    const HalfFile& file = folder.files.at(half + (kind == HalfKind::compiled ? "_compiled" : "_script"));
    const std::filesystem::path path = folder.path / file.name;
    where_ = path.string();
    if (kind == HalfKind::compiled) check_machine(folder);
    const std::string bytes = read_verified(path, file.sha256);
    use_this_thread_alone();
    guarded(where_, "loading", [&] {
      if (kind == HalfKind::compiled) {
        const MemoryFile copy(bytes, where_);
        compiled_ = std::make_unique<torch::inductor::AOTIModelPackageLoader>(
            copy.path(), "model", false, static_cast<size_t>(std::max(1, concurrency)));
      } else {
        std::istringstream stream(bytes);
        script_ = std::make_unique<torch::jit::Module>(torch::jit::load(stream));
        script_->eval();
      }
    });
  }
  const std::string& where() const { return where_; }
  bool differentiable() const { return script_ != nullptr; }
  /// The script's weights, in the order of the file.
  std::vector<at::Tensor> parameters() const {
    std::vector<at::Tensor> all;
    for (const at::Tensor& parameter : script_->parameters()) all.push_back(parameter);
    return all;
  }

  at::Tensor operator()(const std::vector<at::Tensor>& inputs, at::IntArrayRef shape) const {
    at::Tensor out = guarded(where_, "running", [&] {
      if (compiled_) return compiled_->run(inputs).at(0);
      return script_->forward({inputs.begin(), inputs.end()}).toTensor();
    });
    if (out.sizes() != shape || out.scalar_type() != at::kFloat) {
      throw Error(fmt::format("{}: returns shape [{}], the manifest says [{}] of fp32: the half does not fit", where_,
                              fmt::join(out.sizes(), ", "), fmt::join(shape, ", ")));
    }
    return out;
  }

 private:
  std::string where_;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> compiled_;
  mutable std::unique_ptr<torch::jit::Module> script_;
};

template <class T>
at::Tensor view_of(const T* data, at::IntArrayRef shape) {
  return at::from_blob(const_cast<T*>(data), shape, at::TensorOptions(c10::CppTypeToScalarType<T>::value));
}

void copy_out(const at::Tensor& tensor, float* out) {
  const at::Tensor dense = tensor.contiguous();
  std::memcpy(out, dense.const_data_ptr<float>(), static_cast<size_t>(dense.numel()) * sizeof(float));
}

class Lower final : public data::LowerHalf {
 public:
  Lower(const ModelFolder& folder, HalfKind kind, int concurrency)
      : program_(folder, "lower", kind, concurrency), d_(folder.d) {
    const int64_t ids[2] = {0, 0}, mask[2] = {1, 1};
    std::vector<float> out(static_cast<size_t>(2 * d_));
    run(ids, mask, 1, 2, out.data());  // a misfit shows before the work begins
  }
  int64_t d() const override { return d_; }
  void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length, float* out) override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode no_gradient(false);
    copy_out(program_({view_of(ids, {batch, length}), view_of(mask, {batch, length})}, {batch, length, d_}), out);
  }

 private:
  Program program_;
  int64_t d_;
};

/// What both kinds of upper half do with a program.
void run_upper(const Program& program, const float* residual, const int64_t* mask, int64_t batch, int64_t length,
               int64_t d, int64_t d_out, float* out) {
  use_this_thread_alone();
  const torch::autograd::AutoGradMode no_gradient(false);
  copy_out(program({view_of(residual, {batch, length, d}), view_of(mask, {batch, length})}, {batch, d_out}), out);
}

void differentiate_upper(const Program& program, const float* residual, const int64_t* mask, int64_t batch,
                         int64_t length, int64_t d, int64_t d_out, const float* g_out, float* out, float* d_residual) {
  if (!program.differentiable()) {
    throw UsageError(program.where() + ": compiled halves have no gradient; load the script kind");
  }
  use_this_thread_alone();
  const torch::autograd::AutoGradMode with_gradient(true);
  const at::Tensor x = view_of(residual, {batch, length, d}).set_requires_grad(true);
  const at::Tensor y = program({x, view_of(mask, {batch, length})}, {batch, d_out});
  const at::Tensor g = guarded(program.where(), "differentiating", [&] {
    return torch::autograd::grad({y}, {x}, {view_of(g_out, {batch, d_out})}).at(0);
  });
  copy_out(y.detach(), out);
  copy_out(g, d_residual);
}

class Upper final : public UpperHalf {
 public:
  Upper(const ModelFolder& folder, HalfKind kind, int concurrency)
      : program_(folder, "upper", kind, concurrency), d_(folder.d), d_out_(folder.d_out) {
    const std::vector<float> residual(static_cast<size_t>(2 * d_), 1.0f);
    const int64_t mask[2] = {1, 1};
    std::vector<float> out(static_cast<size_t>(d_out_));
    run(residual.data(), mask, 1, 2, out.data());
  }
  int64_t d() const override { return d_; }
  int64_t d_out() const override { return d_out_; }
  void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length, float* out) const override {
    run_upper(program_, residual, mask, batch, length, d_, d_out_, out);
  }
  void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length, const float* g_out,
                float* out, float* d_residual) const override {
    differentiate_upper(program_, residual, mask, batch, length, d_, d_out_, g_out, out, d_residual);
  }

 private:
  Program program_;
  int64_t d_, d_out_;
};

class Loss final : public LossHalf {
 public:
  Loss(const ModelFolder& folder, HalfKind kind, int concurrency)
      : program_(folder, "upper", kind, concurrency), d_(folder.d) {
    const std::vector<float> residual(static_cast<size_t>(2 * d_), 1.0f);
    const int64_t ids[2] = {0, 0}, mask[2] = {1, 1};
    float loss[2];
    run(residual.data(), ids, mask, 1, 2, loss);
  }
  int64_t d() const override { return d_; }
  void run(const float* residual, const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* loss) const override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode no_gradient(false);
    copy_out(program_({view_of(residual, {batch, length, d_}), view_of(ids, {batch, length}),
                       view_of(mask, {batch, length})},
                      {batch, length}),
             loss);
  }

 private:
  Program program_;
  int64_t d_;
};

class Words final : public WordHalf {
 public:
  Words(const ModelFolder& folder, int concurrency)
      : next_(folder, "next", HalfKind::script, concurrency),
        lens_(folder, "lens", HalfKind::script, concurrency),
        d_(folder.d),
        vocabulary_(folder.vocabulary) {
    const std::vector<float> residual(static_cast<size_t>(2 * d_), 1.0f);
    const int64_t mask[2] = {1, 1};
    std::vector<float> logits(static_cast<size_t>(2 * vocabulary_));
    next(residual.data(), mask, 1, 2, logits.data());
    lens(residual.data(), 2, logits.data());
  }
  int64_t d() const override { return d_; }
  int64_t vocabulary() const override { return vocabulary_; }
  void next(const float* residual, const int64_t* mask, int64_t batch, int64_t length, float* logits) const override {
    run_upper(next_, residual, mask, batch, length, d_, vocabulary_, logits);
  }
  void lens(const float* x, int64_t rows, float* logits) const override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode no_gradient(false);
    copy_out(lens_({view_of(x, {rows, d_})}, {rows, vocabulary_}), logits);
  }

 private:
  Program next_, lens_;
  int64_t d_, vocabulary_;
};

class Trainable final : public TrainableHalf {
 public:
  explicit Trainable(const ModelFolder& folder)
      : program_(folder, "upper", HalfKind::script, 1), d_(folder.d), d_out_(folder.d_out) {
    for (at::Tensor& parameter : program_.parameters()) {
      if (parameter.scalar_type() != at::kFloat) continue;
      parameter.set_requires_grad(true);
      weights_.push_back({parameter, at::zeros_like(parameter), at::zeros_like(parameter)});
    }
    if (weights_.empty()) throw Error(program_.where() + ": has no fp32 weights to train; export the model again");
  }
  int64_t d() const override { return d_; }
  int64_t d_out() const override { return d_out_; }
  void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length, float* out) const override {
    run_upper(program_, residual, mask, batch, length, d_, d_out_, out);
  }
  void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length, const float* g_out,
                float* out, float* d_residual) const override {
    differentiate_upper(program_, residual, mask, batch, length, d_, d_out_, g_out, out, d_residual);
  }
  void step(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
            const std::function<void(const float* out, float* d_out)>& loss_gradient, double learning_rate) override {
    const std::vector<at::Tensor> gradients = weight_gradients(residual, mask, batch, length, loss_gradient);
    ++steps_;
    const torch::autograd::AutoGradMode no_gradient(false);
    const double mean_scale = 1 - std::pow(0.9, steps_), square_scale = 1 - std::pow(0.999, steps_);
    for (size_t i = 0; i < weights_.size(); ++i) {
      const at::Tensor& g = gradients[i];
      if (!g.defined()) continue;  // a weight that the output does not depend on
      Weight& w = weights_[i];
      w.mean.mul_(0.9).add_(g, 0.1);
      w.square.mul_(0.999).addcmul_(g, g, 0.001);
      w.value.addcdiv_(w.mean, w.square.div(square_scale).sqrt_().add_(1e-8), -learning_rate / mean_scale);
    }
  }

 private:
  struct Weight {
    at::Tensor value, mean, square;
  };

  std::vector<at::Tensor> weight_gradients(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                                           const std::function<void(const float*, float*)>& loss_gradient) const {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode with_gradient(true);
    const at::Tensor y =
        program_({view_of(residual, {batch, length, d_}), view_of(mask, {batch, length})}, {batch, d_out_});
    const at::Tensor out = y.detach().contiguous();
    std::vector<float> g(static_cast<size_t>(out.numel()), 0.0f);
    loss_gradient(out.const_data_ptr<float>(), g.data());
    if (!std::all_of(g.begin(), g.end(), [](float v) { return std::isfinite(v); })) {
      throw Error(program_.where() + ": training: the gradient of the loss is not finite; lower the learning rate");
    }
    std::vector<at::Tensor> values;
    for (const Weight& weight : weights_) values.push_back(weight.value);
    return guarded(program_.where(), "differentiating", [&] {
      return torch::autograd::grad({y}, values, {view_of(g.data(), {batch, d_out_})}, /*retain_graph=*/std::nullopt,
                                   /*create_graph=*/false,
                                   /*allow_unused=*/true);
    });
  }

  Program program_;
  int64_t d_, d_out_, steps_ = 0;
  std::vector<Weight> weights_;
};

}  // namespace

std::unique_ptr<data::LowerHalf> load_lower_half(const ModelFolder& folder, HalfKind kind, int concurrency) {
  return std::make_unique<Lower>(folder, kind, concurrency);
}

std::unique_ptr<UpperHalf> load_upper_half(const ModelFolder& folder, HalfKind kind, int concurrency) {
  require_output(folder, HalfOutput::embedding);
  return std::make_unique<Upper>(folder, kind, concurrency);
}

std::unique_ptr<LossHalf> load_loss_half(const ModelFolder& folder, HalfKind kind, int concurrency) {
  require_output(folder, HalfOutput::token_loss);
  return std::make_unique<Loss>(folder, kind, concurrency);
}

std::unique_ptr<WordHalf> load_word_half(const ModelFolder& folder, int concurrency) {
  require_output(folder, HalfOutput::token_loss);
  if (!folder.files.contains("next_script") || !folder.files.contains("lens_script"))
    throw Error(folder.path.string() + ": has no way to the model's words (next, lens): export the model again");
  return std::make_unique<Words>(folder, concurrency);
}

std::unique_ptr<TrainableHalf> load_trainable_half(const ModelFolder& folder) {
  require_output(folder, HalfOutput::embedding);
  return std::make_unique<Trainable>(folder);
}

}  // namespace assay::sae
