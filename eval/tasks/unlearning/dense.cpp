// The baselines that need no dictionary: steering, mean replacement, erasure, projection,
// fine-tuning.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>

#include "eval/learners/contrastive_pca.h"
#include "eval/learners/probes.h"
#include "eval/tasks/unlearning/methods.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

constexpr std::array<double, 3> kFalsePositives = {0.02, 0.05, 0.1};

/// Settings are rows of rising strength × columns of something else: a line a column.
std::vector<Line> columns(size_t rows, size_t count) {
  std::vector<Line> lines;
  for (size_t column = 0; column < count; ++column) {
    lines.push_back({{}, count > 1 && (column == 0 || column + 1 == count)});
    for (size_t row = 0; row < rows; ++row) lines.back().settings.push_back(row * count + column);
  }
  return lines;
}

/// A change everywhere in a text, behind an LDA gate: strengths × the gate's share of false
/// positives.
class GatedMethod : public UnlearningMethod {
 public:
  enum Kind { steering, mean };
  GatedMethod(Kind kind, const std::array<double, 4>& strengths)
      : UnlearningMethod(kind == steering ? "gated_steering" : "gated_mean", std::nullopt, true),
        kind_(kind),
        strengths_(strengths) {
    for (const double strength : strengths_)
      for (const double share : kFalsePositives)
        settings_.push_back(fmt::format("strength={} gate={}", strength, share));
    lines_ = columns(strengths_.size(), kFalsePositives.size());
  }

  void fit(const UnlearningCorpus&, const EstimateSet& set, const std::vector<size_t>& which,
           const Visit& visit) const override {
    const ConstMatrix x = set.pooled.view();
    const std::vector<double> vector =
        kind_ == steering ? steering_vector(x, set.labels) : class_mean(x, set.labels, 0);
    std::array<std::shared_ptr<const Gate>, kFalsePositives.size()> gates;
    const LinearProbe lda = fit_lda(x, set.labels);
    for (size_t g = 0; g < gates.size(); ++g)
      gates[g] = std::make_shared<Gate>(make_gate(lda, x, set.labels, kFalsePositives[g]));
    for (const size_t setting : which) {
      const double strength = strengths_[setting / gates.size()];
      visit(setting, *gated_edit(kind_ == steering ? shift_edit(vector, strength)
                                                   : mean_edit(vector, strength),
                                 gates[setting % gates.size()]));
    }
  }

 private:
  Kind kind_;
  std::array<double, 4> strengths_;
};

class ErasureMethod : public UnlearningMethod {
 public:
  ErasureMethod(std::string name, Eraser (*erase)(ConstMatrix, Labels))
      : UnlearningMethod(std::move(name), std::nullopt, false), erase_(erase) {
    for (const double strength : kStrengths)
      settings_.push_back(fmt::format("strength={}", strength));
    lines_ = columns(kStrengths.size(), 1);
  }
  void fit(const UnlearningCorpus&, const EstimateSet& set, const std::vector<size_t>& which,
           const Visit& visit) const override {
    const auto eraser = std::make_shared<Eraser>(erase_(set.pooled.view(), set.labels));
    for (const size_t setting : which) visit(setting, *erase_edit(eraser, kStrengths[setting]));
  }

 private:
  static constexpr std::array<double, 12> kStrengths = {0.25, 0.5, 0.75, 1, 1.25, 1.5,
                                                        2,    3,   4,    6, 8,    16};
  Eraser (*erase_)(ConstMatrix, Labels);
};

class ContrastivePcaMethod : public UnlearningMethod {
 public:
  ContrastivePcaMethod() : UnlearningMethod("contrastive_pca", std::nullopt, false) {
    for (const int64_t rank : kRanks)
      for (const double alpha : kAlphas)
        settings_.push_back(fmt::format("rank={} alpha={}", rank, alpha));
    lines_ = columns(kRanks.size(), kAlphas.size());
  }
  void fit(const UnlearningCorpus&, const EstimateSet& set, const std::vector<size_t>& which,
           const Visit& visit) const override {
    const int64_t most = std::min(kRanks.back(), set.pooled.cols);
    std::array<std::optional<Eraser>, kAlphas.size()> whole;
    for (const size_t setting : which) {
      const size_t a = setting % kAlphas.size();
      if (!whole[a])
        whole[a] = fit_contrastive_pca(set.pooled.view(), set.labels, kAlphas[a], most);
      const auto eraser = std::make_shared<Eraser>(*whole[a]);
      const int64_t rank = std::min(kRanks[setting / kAlphas.size()], eraser->rank());
      for (auto* side : {&eraser->left, &eraser->right})
        side->resize(static_cast<size_t>(rank * set.pooled.cols));
      visit(setting, *erase_edit(eraser, 1));
    }
  }

 private:
  static constexpr std::array<int64_t, 3> kRanks = {1, 4, 16};
  static constexpr std::array<double, 4> kAlphas = {0.5, 1, 2, 4};
};

/// The text as it is, read by another upper half.
class TrainedHalf : public Edit {
 public:
  explicit TrainedHalf(const sae::UpperHalf& half) : half_(half) {}
  bool touches(const UnlearningCorpus&, int64_t) const override { return true; }
  void apply(const UnlearningCorpus&, int64_t, Matrix) const override {}
  const sae::UpperHalf* upper() const override { return &half_; }

 private:
  const sae::UpperHalf& half_;
};

class FineTuning : public UnlearningMethod {
 public:
  FineTuning(MakeTrainable make, const Features& clean)
      : UnlearningMethod("fine_tuning", std::nullopt, false),
        make_(std::move(make)),
        clean_(clean) {
    for (const double rate : kRates)
      for (const int64_t steps : kSteps)
        settings_.push_back(fmt::format("lr={} steps={}", rate, steps));
    for (size_t r = 0; r < kRates.size(); ++r) {
      lines_.push_back({{}, true});
      for (size_t s = 0; s < kSteps.size(); ++s)
        lines_.back().settings.push_back(r * kSteps.size() + s);
    }
  }

  void fit(const UnlearningCorpus& corpus, const EstimateSet& set, const std::vector<size_t>& which,
           const Visit& visit) const override {
    const std::vector<float> mean = retained_mean(set);
    for (size_t r = 0; r < kRates.size(); ++r) {
      const size_t first = r * kSteps.size();
      if (std::none_of(which.begin(), which.end(),
                       [&](size_t s) { return s / kSteps.size() == r; }))
        continue;
      const auto half = make_();
      Rng rng(derive_seed(set.seed, {'f', r}));
      int64_t done = 0;
      for (const size_t setting : which) {
        if (setting / kSteps.size() != r) continue;
        for (; done < kSteps[setting - first]; ++done)
          step(*half, corpus, set, mean, kRates[r], rng);
        visit(setting, TrainedHalf(*half));
      }
    }
  }

 private:
  static constexpr std::array<double, 2> kRates = {3e-5, 1e-4};
  static constexpr std::array<int64_t, 4> kSteps = {4, 8, 16, 32};
  static constexpr int64_t kForget = 8, kRetain = 24;  // texts a step

  std::vector<float> retained_mean(const EstimateSet& set) const {
    std::vector<float> mean(static_cast<size_t>(clean_.cols), 0.0f);
    const auto kept = static_cast<float>(std::count(set.labels.begin(), set.labels.end(), 0));
    for (size_t i = 0; i < set.entries.size(); ++i)
      if (!set.labels[i])
        for (int64_t j = 0; j < clean_.cols; ++j)
          mean[j] += clean_.view().row(set.entries[i])[j] / kept;
    return mean;
  }

  void step(sae::TrainableHalf& half, const UnlearningCorpus& corpus, const EstimateSet& set,
            const std::vector<float>& mean, double rate, Rng& rng) const {
    std::vector<int64_t> batch;
    for (const uint8_t label : {uint8_t{1}, uint8_t{0}})
      for (int64_t drawn = 0; drawn < (label ? kForget : kRetain);) {
        const size_t i = rng.below(set.entries.size());
        if (set.labels[i] != label) continue;
        batch.push_back(set.entries[i]);
        ++drawn;
      }
    const PaddedTexts texts = pad_to_longest(corpus.rows, batch);
    const int64_t d_out = clean_.cols, count = texts.count;
    // ‖e − target‖² averaged over either half of the batch; the target is the retained mean, or the
    // text's own untouched output.
    const auto gradient = [&](const float* out, float* g) {
      for (int64_t b = 0; b < count; ++b)
        for (int64_t j = 0; j < d_out; ++j) {
          const float target = b < kForget ? mean[j] : clean_.view().row(batch[b])[j];
          g[b * d_out + j] = 2 * (out[b * d_out + j] - target) /
                             static_cast<float>(b < kForget ? kForget : kRetain);
        }
    };
    half.step(texts.residual.data(), texts.mask.data(), count, texts.length, gradient, rate);
  }

  MakeTrainable make_;
  const Features& clean_;
};

}  // namespace

EstimateSet make_estimate_set(const UnlearningCorpus& corpus, std::vector<int64_t> entries,
                              std::vector<uint8_t> labels, uint64_t seed) {
  EstimateSet set{seed, std::move(entries), std::move(labels), {}};
  set.pooled = {std::ssize(set.entries), corpus.rows.d, {}};
  for (const int64_t entry : set.entries) {
    const auto row = corpus.pooled_row(entry);
    set.pooled.values.insert(set.pooled.values.end(), row.begin(), row.end());
  }
  return set;
}

void add_dense_methods(const std::array<double, 4>& steering, UnlearningMethods& methods) {
  methods.push_back(std::make_unique<GatedMethod>(GatedMethod::steering, steering));
  methods.push_back(
      std::make_unique<GatedMethod>(GatedMethod::mean, std::array<double, 4>{0.25, 0.5, 0.75, 1}));
  methods.push_back(std::make_unique<ErasureMethod>("leace", fit_leace));
  methods.push_back(std::make_unique<ErasureMethod>("mean_projection", fit_mean_projection));
  methods.push_back(std::make_unique<ContrastivePcaMethod>());
}

void add_fine_tuning(MakeTrainable make, const Features& clean, UnlearningMethods& methods) {
  methods.push_back(std::make_unique<FineTuning>(std::move(make), clean));
}

std::unique_ptr<Edit> mean_ablation(const std::vector<float>& mean) {
  return mean_edit({mean.begin(), mean.end()}, 1);
}

}  // namespace assay::eval::unlearning
