// Upper halves whose weights train.
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "sae/loss_trainer.h"
#include "sae/model_half_program.h"

namespace assay::sae {
namespace {

/// A script's fp32 weights under Adam.
class Weights {
 public:
  explicit Weights(const Program& program) : where_(program.where()) {
    for (at::Tensor& parameter : program.parameters()) {
      if (parameter.scalar_type() != at::kFloat || known(parameter)) continue;
      parameter.set_requires_grad(true);
      weights_.push_back({parameter, at::zeros_like(parameter), at::zeros_like(parameter)});
    }
    if (weights_.empty())
      throw Error(where_ + ": has no fp32 weights to train; export the model again");
  }

  /// Along the gradient of Σ g·y.
  void step(const at::Tensor& y, const at::Tensor& g, double learning_rate) {
    std::vector<at::Tensor> values;
    for (const Weight& weight : weights_) values.push_back(weight.value);
    const std::vector<at::Tensor> gradients = guarded(where_, "differentiating", [&] {
      return torch::autograd::grad({y}, values, {g}, /*retain_graph=*/std::nullopt,
                                   /*create_graph=*/false,
                                   /*allow_unused=*/true);
    });
    ++steps_;
    const torch::autograd::AutoGradMode no_gradient(false);
    const double mean_scale = 1 - std::pow(0.9, steps_), square_scale = 1 - std::pow(0.999, steps_);
    for (size_t i = 0; i < weights_.size(); ++i) {
      const at::Tensor& own = gradients[i];
      if (!own.defined()) continue;  // a weight that the output does not depend on
      Weight& w = weights_[i];
      w.mean.mul_(0.9).add_(own, 0.1);
      w.square.mul_(0.999).addcmul_(own, own, 0.001);
      w.value.addcdiv_(w.mean, w.square.div(square_scale).sqrt_().add_(1e-8),
                       -learning_rate / mean_scale);
    }
  }

 private:
  struct Weight {
    at::Tensor value, mean, square;
  };

  /// Tied weights (a table of words that is the unembedding too) are listed twice and must not step
  /// twice.
  bool known(const at::Tensor& parameter) const {
    return std::any_of(weights_.begin(), weights_.end(), [&](const Weight& weight) {
      return weight.value.const_data_ptr() == parameter.const_data_ptr();
    });
  }

  std::string where_;
  std::vector<Weight> weights_;
  int64_t steps_ = 0;
};

class Trainable final : public TrainableHalf {
 public:
  explicit Trainable(const ModelFolder& folder)
      : program_(folder, "upper", HalfKind::script, 1),
        weights_(program_),
        d_(folder.d),
        d_out_(folder.d_out) {}
  int64_t d() const override { return d_; }
  int64_t d_out() const override { return d_out_; }
  void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
           float* out) const override {
    run_upper(program_, residual, mask, batch, length, d_, d_out_, out);
  }
  void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                const float* g_out, float* out, float* d_residual) const override {
    differentiate_upper(program_, residual, mask, batch, length, d_, d_out_, g_out, out,
                        d_residual);
  }
  void step(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
            const std::function<void(const float* out, float* d_out)>& loss_gradient,
            double learning_rate) override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode with_gradient(true);
    const at::Tensor y = program_(
        {view_of(residual, {batch, length, d_}), view_of(mask, {batch, length})}, {batch, d_out_});
    const at::Tensor out = y.detach().contiguous();
    std::vector<float> g(static_cast<size_t>(out.numel()), 0.0f);
    loss_gradient(out.const_data_ptr<float>(), g.data());
    if (!std::all_of(g.begin(), g.end(), [](float v) { return std::isfinite(v); })) {
      throw Error(program_.where() +
                  ": training: the gradient of the loss is not finite; lower the learning rate");
    }
    weights_.step(y, view_of(g.data(), {batch, d_out_}), learning_rate);
  }

 private:
  Program program_;
  Weights weights_;
  int64_t d_, d_out_;
};

class TrainableLoss final : public TrainableLossHalf {
 public:
  explicit TrainableLoss(const ModelFolder& folder)
      : program_(folder, "upper", HalfKind::script, 1), weights_(program_), d_(folder.d) {}
  int64_t d() const override { return d_; }
  void run(const float* residual, const int64_t* ids, const int64_t* mask, int64_t batch,
           int64_t length, float* loss) const override {
    run_losses(program_, residual, ids, mask, batch, length, d_, loss);
  }
  void step(const float* residual, const int64_t* ids, const int64_t* mask, const float* weights,
            int64_t batch, int64_t length, double learning_rate) override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode with_gradient(true);
    const at::Tensor y = token_losses(program_, residual, ids, mask, batch, length, d_);
    weights_.step(y, view_of(weights, {batch, length}), learning_rate);
  }

 private:
  Program program_;
  Weights weights_;
  int64_t d_;
};

}  // namespace

std::unique_ptr<TrainableHalf> load_trainable_half(const ModelFolder& folder) {
  require_output(folder, HalfOutput::embedding);
  return std::make_unique<Trainable>(folder);
}

std::unique_ptr<TrainableLossHalf> load_trainable_loss_half(const ModelFolder& folder) {
  require_output(folder, HalfOutput::token_loss);
  return std::make_unique<TrainableLoss>(folder);
}

}  // namespace assay::sae
