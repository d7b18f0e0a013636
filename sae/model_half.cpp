// Runs the halves, forward and backward. Only model_half*.cpp see torch.
#include "sae/model_half.h"

#include <torch/csrc/autograd/grad_mode.h>

#include "sae/model_half_program.h"

namespace assay::sae {
namespace {

class Lower final : public data::LowerHalf {
 public:
  Lower(const ModelFolder& folder, HalfKind kind, int concurrency)
      : program_(folder, "lower", kind, concurrency), d_(folder.d) {
    const int64_t ids[2] = {0, 0}, mask[2] = {1, 1};
    std::vector<float> out(static_cast<size_t>(2 * d_));
    run(ids, mask, 1, 2, out.data());  // a misfit shows before the work begins
  }
  int64_t d() const override { return d_; }
  void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* out) override {
    use_this_thread_alone();
    const torch::autograd::AutoGradMode no_gradient(false);
    copy_out(program_({view_of(ids, {batch, length}), view_of(mask, {batch, length})},
                      {batch, length, d_}),
             out);
  }

 private:
  Program program_;
  int64_t d_;
};

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
  void run(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
           float* out) const override {
    run_upper(program_, residual, mask, batch, length, d_, d_out_, out);
  }
  void gradient(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
                const float* g_out, float* out, float* d_residual) const override {
    differentiate_upper(program_, residual, mask, batch, length, d_, d_out_, g_out, out,
                        d_residual);
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
  void run(const float* residual, const int64_t* ids, const int64_t* mask, int64_t batch,
           int64_t length, float* loss) const override {
    run_losses(program_, residual, ids, mask, batch, length, d_, loss);
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
  void next(const float* residual, const int64_t* mask, int64_t batch, int64_t length,
            float* logits) const override {
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

}  // namespace

std::unique_ptr<data::LowerHalf> load_lower_half(const ModelFolder& folder, HalfKind kind,
                                                 int concurrency) {
  return std::make_unique<Lower>(folder, kind, concurrency);
}

std::unique_ptr<UpperHalf> load_upper_half(const ModelFolder& folder, HalfKind kind,
                                           int concurrency) {
  require_output(folder, HalfOutput::embedding);
  return std::make_unique<Upper>(folder, kind, concurrency);
}

std::unique_ptr<LossHalf> load_loss_half(const ModelFolder& folder, HalfKind kind,
                                         int concurrency) {
  require_output(folder, HalfOutput::token_loss);
  return std::make_unique<Loss>(folder, kind, concurrency);
}

std::unique_ptr<WordHalf> load_word_half(const ModelFolder& folder, int concurrency) {
  require_output(folder, HalfOutput::token_loss);
  if (!folder.files.contains("next_script") || !folder.files.contains("lens_script"))
    throw Error(folder.path.string() +
                ": has no way to the model's words (next, lens): export the model again");
  return std::make_unique<Words>(folder, concurrency);
}

}  // namespace assay::sae
