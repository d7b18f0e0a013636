// Loads exported files and runs them.
#include "sae/model_half_program.h"

#include <ATen/Parallel.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <sys/mman.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/jit/runtime/graph_executor.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/headeronly/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "data/base/sha256.h"

namespace assay::sae {
namespace {

/// The file's bytes, with the hash the manifest gives. They are read once: what was hashed is what
/// is loaded.
std::string read_verified(const std::filesystem::path& path, const std::string& sha256) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(path.string() + ": no such file: export the model again");
  std::ostringstream bytes;
  bytes << in.rdbuf();
  std::string content = std::move(bytes).str();
  const std::string found = data::sha256(content);
  if (found == sha256) return content;
  throw Error(
      fmt::format("{}: SHA-256 is {:.12}…, the manifest says {:.12}…: the file was changed; export "
                  "the model again",
                  path.string(), found, sha256));
}

/// Bytes as a file without a name, for a library that opens paths.
class MemoryFile {
 public:
  MemoryFile(const std::string& bytes, const std::string& where)
      : descriptor_(memfd_create("half", MFD_CLOEXEC)) {
    size_t written = 0;
    while (descriptor_ >= 0 && written < bytes.size()) {
      const ssize_t n = write(descriptor_, bytes.data() + written, bytes.size() - written);
      if (n <= 0) break;
      written += static_cast<size_t>(n);
    }
    if (written < bytes.size())
      throw Error(fmt::format("{}: no memory for its {} bytes", where, bytes.size()));
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { close(descriptor_); }
  std::string path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
  int descriptor_;
};

void check_machine(const ModelFolder& folder) {
  const std::string ours =
      fmt::format("{}.{}.{}", TORCH_VERSION_MAJOR, TORCH_VERSION_MINOR, TORCH_VERSION_PATCH);
  if (folder.torch_version != ours) {
    throw Error(
        fmt::format("{}: compiled with torch {}, this program has {}; export the model again",
                    folder.path.string(), folder.torch_version, ours));
  }
  std::ifstream in("/proc/cpuinfo");
  std::ostringstream cpuinfo;
  cpuinfo << in.rdbuf();
  const std::vector<std::string> missing = missing_cpu_flags(folder.cpu_flags, cpuinfo.str());
  if (missing.empty()) return;
  throw Error(fmt::format(
      "{}: compiled for a CPU with {}, which this one lacks; export the model on this machine",
      folder.path.string(), fmt::join(missing, ", ")));
}

}  // namespace

std::string first_line(const char* text) {
  const std::string_view all(text);
  return std::string(all.substr(0, all.find('\n')));
}

void use_this_thread_alone() {
  thread_local const bool done = [] {
    at::set_num_threads(1);
    torch::jit::setGraphExecutorOptimize(false);  // the first runs have the bits of the later ones
    return true;
  }();
  (void)done;
}

void require_output(const ModelFolder& folder, HalfOutput wanted) {
  if (folder.output == wanted) return;
  const bool embedding = wanted == HalfOutput::embedding;
  throw Error(fmt::format("{}: the upper half gives {}, this needs {}: export {}",
                          folder.path.string(), embedding ? "losses of tokens" : "an embedding",
                          embedding ? "an embedding" : "losses of tokens",
                          embedding ? "a sentence encoder" : "a causal language model"));
}

Program::Program(const ModelFolder& folder, const std::string& half, HalfKind kind,
                 int concurrency) {
  const HalfFile& file =
      folder.files.at(half + (kind == HalfKind::compiled ? "_compiled" : "_script"));
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

std::vector<at::Tensor> Program::parameters() const {
  std::vector<at::Tensor> all;
  for (const at::Tensor& parameter : script_->parameters()) all.push_back(parameter);
  return all;
}

at::Tensor Program::operator()(const std::vector<at::Tensor>& inputs, at::IntArrayRef shape) const {
  at::Tensor out = guarded(where_, "running", [&] {
    if (compiled_) return compiled_->run(inputs).at(0);
    return script_->forward({inputs.begin(), inputs.end()}).toTensor();
  });
  if (out.sizes() != shape || out.scalar_type() != at::kFloat) {
    throw Error(
        fmt::format("{}: returns shape [{}], the manifest says [{}] of fp32: the half does not fit",
                    where_, fmt::join(out.sizes(), ", "), fmt::join(shape, ", ")));
  }
  return out;
}

void copy_out(const at::Tensor& tensor, float* out) {
  const at::Tensor dense = tensor.contiguous();
  std::memcpy(out, dense.const_data_ptr<float>(),
              static_cast<size_t>(dense.numel()) * sizeof(float));
}

void run_upper(const Program& program, const float* residual, const int64_t* mask, int64_t batch,
               int64_t length, int64_t d, int64_t d_out, float* out) {
  use_this_thread_alone();
  const torch::autograd::AutoGradMode no_gradient(false);
  copy_out(program({view_of(residual, {batch, length, d}), view_of(mask, {batch, length})},
                   {batch, d_out}),
           out);
}

void differentiate_upper(const Program& program, const float* residual, const int64_t* mask,
                         int64_t batch, int64_t length, int64_t d, int64_t d_out,
                         const float* g_out, float* out, float* d_residual) {
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

at::Tensor token_losses(const Program& program, const float* residual, const int64_t* ids,
                        const int64_t* mask, int64_t batch, int64_t length, int64_t d) {
  return program({view_of(residual, {batch, length, d}), view_of(ids, {batch, length}),
                  view_of(mask, {batch, length})},
                 {batch, length});
}

void run_losses(const Program& program, const float* residual, const int64_t* ids,
                const int64_t* mask, int64_t batch, int64_t length, int64_t d, float* loss) {
  use_this_thread_alone();
  const torch::autograd::AutoGradMode no_gradient(false);
  copy_out(token_losses(program, residual, ids, mask, batch, length, d), loss);
}

}  // namespace assay::sae
