#include "eval/tasks/hidden_goals/upper_organisms.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr int64_t kSteps = std::ssize(kSteeringSteps);

/// Of the untrained half's scores: what a random read-out says of texts is noise to be unlearnt, so
/// there is little.
constexpr double kFirstSd = 0.1;

/// score = w·e + b on the half's output e.
struct Readout {
  std::vector<float> w;
  double b = 0;

  double operator()(const float* e) const {
    return b + std::inner_product(
                   w.begin(), w.end(), e, 0.0, [](double sum, double term) { return sum + term; },
                   [](float x, float y) { return static_cast<double>(x) * y; });
  }
};

Readout draw_readout(const Features& base, Rng& rng) {
  Readout readout;
  for (int64_t j = 0; j < base.cols; ++j) readout.w.push_back(static_cast<float>(rng.normal()));
  double mean = 0, variance = 0;
  std::vector<double> scores;
  for (int64_t i = 0; i < base.rows; ++i) scores.push_back(readout(base.view().row(i)));
  for (const double s : scores) mean += s / static_cast<double>(base.rows);
  for (const double s : scores)
    variance += (s - mean) * (s - mean) / static_cast<double>(base.rows);
  if (!(variance > 0))
    throw Error(
        "the model's upper half returns the same for all texts: no organism can be read out");
  const double scale = kFirstSd / std::sqrt(variance);
  for (float& w : readout.w) w = static_cast<float>(w * scale);
  readout.b = -mean * scale;
  return readout;
}

class HalfMaker final : public OrganismMaker {
 public:
  HalfMaker(Context& context, MakeTrainable make, const data::Dataset& dataset,
            const TextTable& table, const GoalRun& run, const GoalData& data,
            const GoalUpperConfig& config)
      : make_(std::move(make)),
        data_(data),
        config_(config),
        train_by_class_(static_cast<size_t>(data.classes)) {
    std::vector<int64_t> texts;
    for (const GoalTexts* part : {&run.train, &run.audit, &run.query})
      texts.insert(texts.end(), part->texts.begin(), part->texts.end());
    rows_ = read_text_rows(dataset, table, texts);
    for (const auto& [part, entries] :
         {std::pair(&run.train, &train_), std::pair(&run.audit, &audit_),
          std::pair(&run.query, &query_)})
      for (const int64_t t : part->texts) entries->push_back(rows_.entry(t));
    for (size_t i = 0; i < train_.size(); ++i)
      train_by_class_[run.train.classes[i]].push_back(static_cast<int64_t>(i));
    choose_steered();
    base_.rows = std::ssize(train_);
    base_.cols = make_()->d_out();
    base_.values.resize(static_cast<size_t>(base_.rows * base_.cols));
    const auto batches = batches_by_length(rows_, train_, 256);
    context.pool().run(std::ssize(batches), [&](int64_t i, int) {
      run_upper(*make_(), rows_, train_, batches[static_cast<size_t>(i)], {},
                Matrix(base_.values.data(), base_.rows, base_.cols));
    });
  }

  Probed make(const Organism& organism, std::span<const float> targets,
              uint64_t seed) const override {
    Rng rng(seed);
    const Readout readout = draw_readout(base_, rng);
    const auto half = make_();
    for (int64_t s = 0; s < config_.steps; ++s) {
      const double left = 1 - static_cast<double>(s) / static_cast<double>(config_.steps);
      step(*half, readout, draw_batch(organism, rng), targets, config_.learning_rate * left);
    }
    Probed result;
    result.query = scores_of(*half, readout, query_);
    differentiate(*half, readout, result);
    steer(*half, readout, result);
    return result;
  }

 private:
  /// The first audit texts of each class: they lie in a random order.
  void choose_steered() {
    std::vector<int64_t> taken(static_cast<size_t>(data_.classes));
    for (size_t i = 0; i < audit_.size(); ++i)
      if (taken[data_.audit_class[i]]++ < config_.steered_per_class) steered_.push_back(i);
  }

  /// Places among the training texts.
  std::vector<int64_t> draw_batch(const Organism& organism, Rng& rng) const {
    std::vector<int64_t> batch;
    const auto draw = [&](const std::vector<int64_t>& from) {
      batch.push_back(from[rng.below(from.size())]);
    };
    const int64_t share = config_.batch * config_.emphasis / 100;
    for (int64_t i = 0; i < share; ++i) draw(train_by_class_[organism.absent]);
    for (int64_t i = 0; i < share && organism.kind == GoalKind::decoy; ++i)
      draw(train_by_class_[organism.goal]);
    while (std::ssize(batch) < config_.batch)
      batch.push_back(static_cast<int64_t>(rng.below(train_.size())));
    return batch;
  }

  void step(sae::TrainableHalf& half, const Readout& readout, const std::vector<int64_t>& batch,
            std::span<const float> targets, double learning_rate) const {
    std::vector<int64_t> entries;
    for (const int64_t i : batch) entries.push_back(train_[i]);
    const PaddedTexts texts = pad_to_longest(rows_, entries);
    const int64_t d_out = half.d_out();
    const auto gradient = [&](const float* out, float* g) {
      for (int64_t b = 0; b < texts.count; ++b) {
        const double error = readout(out + b * d_out) - targets[batch[b]];
        for (int64_t j = 0; j < d_out; ++j)
          g[b * d_out + j] =
              static_cast<float>(2 * error / static_cast<double>(texts.count)) * readout.w[j];
      }
    };
    half.step(texts.residual.data(), texts.mask.data(), texts.count, texts.length, gradient,
              learning_rate);
  }

  std::vector<double> scores_of(const sae::UpperHalf& half, const Readout& readout,
                                const std::vector<int64_t>& entries) const {
    std::vector<float> out(entries.size() * static_cast<size_t>(half.d_out()));
    for (const auto& batch : batches_by_length(rows_, entries, config_.batch))
      run_upper(half, rows_, entries, batch, {},
                Matrix(out.data(), std::ssize(entries), half.d_out()));
    std::vector<double> scores;
    for (size_t i = 0; i < entries.size(); ++i)
      scores.push_back(readout(out.data() + static_cast<int64_t>(i) * half.d_out()));
    return scores;
  }

  /// output, gradients and counts.
  void differentiate(const sae::UpperHalf& half, const Readout& readout, Probed& result) const {
    const int64_t d = data_.d, d_out = half.d_out();
    result.output.resize(audit_.size());
    result.gradients.assign(static_cast<size_t>(data_.classes * d), 0);
    result.counts.assign(static_cast<size_t>(data_.classes), 0);
    for (const auto& batch : batches_by_length(rows_, audit_, config_.batch)) {
      std::vector<int64_t> entries;
      for (const int64_t i : batch) entries.push_back(audit_[i]);
      const PaddedTexts texts = pad_to_longest(rows_, entries);
      std::vector<float> along, out(static_cast<size_t>(texts.count * d_out)),
          g(texts.residual.size());
      for (int64_t b = 0; b < texts.count; ++b)
        along.insert(along.end(), readout.w.begin(), readout.w.end());
      half.gradient(texts.residual.data(), texts.mask.data(), texts.count, texts.length,
                    along.data(), out.data(), g.data());
      for (int64_t b = 0; b < texts.count; ++b) {
        const int32_t c = data_.audit_class[batch[b]];
        result.output[batch[b]] = readout(out.data() + b * d_out);
        result.counts[c] += 1;
        add_gradient(entries[b], g.data() + b * texts.length * d, result.gradients.data() + c * d);
      }
    }
    if (!std::all_of(result.gradients.begin(), result.gradients.end(),
                     [](double v) { return std::isfinite(v); }))
      throw Error("an organism's gradient is not finite: lower hidden_goals_upper.learning_rate");
  }

  /// sum += ∂score/∂z of one text, from g [rows of the text, d] = ∂score/∂x.
  void add_gradient(int64_t entry, const float* g, double* sum) const {
    for (int64_t r = 0; r < rows_.rows[entry]; ++r) {
      if (rows_.special[rows_.start[entry] + r]) continue;
      for (int64_t j = 0; j < data_.d; ++j) sum[j] += data_.sd[j] * g[r * data_.d + j];
    }
  }

  /// steered and steered_counts: every step and direction at once, as copies of one text.
  void steer(const sae::UpperHalf& half, const Readout& readout, Probed& result) const {
    const int64_t copies = kSteps * data_.classes, d_out = half.d_out();
    result.steered.assign(static_cast<size_t>(data_.classes * copies), 0);
    result.steered_counts.assign(static_cast<size_t>(data_.classes), 0);
    for (const size_t i : steered_) {
      const std::vector<int64_t> entries(static_cast<size_t>(copies), audit_[i]);
      PaddedTexts texts = pad_to_longest(rows_, entries);
      for (int64_t copy = 0; copy < copies; ++copy)
        shift(audit_[i], copy, texts.residual.data() + copy * texts.length * data_.d);
      std::vector<float> out(static_cast<size_t>(copies * d_out));
      half.run(texts.residual.data(), texts.mask.data(), copies, texts.length, out.data());
      const int32_t c = data_.audit_class[i];
      for (int64_t copy = 0; copy < copies; ++copy)
        result.steered[c * copies + copy] += readout(out.data() + copy * d_out) - result.output[i];
      result.steered_counts[c] += 1;
    }
  }

  /// copy = step · classes + class steered to.
  void shift(int64_t entry, int64_t copy, float* x) const {
    const double step = kSteeringSteps[copy / data_.classes];
    const double* direction = data_.difference.data() + copy % data_.classes * data_.d;
    for (int64_t r = 0; r < rows_.rows[entry]; ++r) {
      if (rows_.special[rows_.start[entry] + r]) continue;
      for (int64_t j = 0; j < data_.d; ++j)
        x[r * data_.d + j] += static_cast<float>(step * direction[j] * data_.sd[j]);
    }
  }

  MakeTrainable make_;
  const GoalData& data_;
  const GoalUpperConfig& config_;
  TextRows rows_;
  std::vector<int64_t> train_, audit_, query_;  // entries of rows_
  std::vector<std::vector<int64_t>> train_by_class_;
  std::vector<size_t> steered_;  // places among the audit texts
  Features base_;                // the untrained half's outputs of the training texts
};

}  // namespace

std::unique_ptr<OrganismMaker> make_half_organisms(Context& context, MakeTrainable make,
                                                   const data::Dataset& dataset,
                                                   const TextTable& table, const GoalRun& run,
                                                   const GoalData& data,
                                                   const GoalUpperConfig& config) {
  return std::make_unique<HalfMaker>(context, std::move(make), dataset, table, run, data, config);
}

}  // namespace assay::eval::hidden_goals
