// One exported file as torch runs it. Included by model_half*.cpp alone: torch costs seconds a
// translation unit.
#pragma once

#include <ATen/Functions.h>
#include <fmt/core.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "sae/model_half.h"

namespace assay::sae {

/// The first line of an exception's text.
std::string first_line(const char* text);

/// torch's exceptions become one line that names the half.
template <class Body>
auto guarded(const std::string& where, const char* doing, Body body) {
  try {
    return body();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& error) {
    throw Error(
        fmt::format("{}: {} failed: {}", where, doing, first_line(error.what_without_backtrace())));
  } catch (const std::exception& error) {
    throw Error(fmt::format("{}: {} failed: {}", where, doing, first_line(error.what())));
  }
}

/// Torch keeps to the calling thread: a batch's bits then depend on nothing else, and workers do
/// not fight.
void use_this_thread_alone();

/// Throws Error where the folder's upper half gives the other output.
void require_output(const ModelFolder& folder, HalfOutput wanted);

/// One loaded file of either kind: some tensors in, one out.
class Program {
 public:
  Program(const ModelFolder& folder, const std::string& half, HalfKind kind, int concurrency);
  const std::string& where() const { return where_; }
  bool differentiable() const { return script_ != nullptr; }
  /// The script's weights, in the order of the file.
  std::vector<at::Tensor> parameters() const;
  /// Throws Error where the output is not fp32 of this shape.
  at::Tensor operator()(const std::vector<at::Tensor>& inputs, at::IntArrayRef shape) const;

 private:
  std::string where_;
  std::unique_ptr<torch::inductor::AOTIModelPackageLoader> compiled_;
  mutable std::unique_ptr<torch::jit::Module> script_;
};

template <class T>
at::Tensor view_of(const T* data, at::IntArrayRef shape) {
  return at::from_blob(const_cast<T*>(data), shape,
                       at::TensorOptions(c10::CppTypeToScalarType<T>::value));
}

void copy_out(const at::Tensor& tensor, float* out);

/// What both kinds of upper half do with a program: (residual [batch, length, d], mask) → out
/// [batch, d_out].
void run_upper(const Program& program, const float* residual, const int64_t* mask, int64_t batch,
               int64_t length, int64_t d, int64_t d_out, float* out);
/// The same, and UpperHalf::gradient's d_residual.
void differentiate_upper(const Program& program, const float* residual, const int64_t* mask,
                         int64_t batch, int64_t length, int64_t d, int64_t d_out,
                         const float* g_out, float* out, float* d_residual);
/// What both kinds of loss half do: (residual, ids, mask [batch, length]) → losses [batch, length],
/// LossHalf::run's.
at::Tensor token_losses(const Program& program, const float* residual, const int64_t* ids,
                        const int64_t* mask, int64_t batch, int64_t length, int64_t d);
void run_losses(const Program& program, const float* residual, const int64_t* ids,
                const int64_t* mask, int64_t batch, int64_t length, int64_t d, float* loss);

}  // namespace assay::sae
