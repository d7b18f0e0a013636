#include "eval/tasks/hidden_goals/methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "eval/learners/ridge.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Vector = Eigen::VectorXd;

/// Ridge penalties of the black-box baseline, in units of the number of texts.
constexpr double kRidges[] = {0.01, 0.1, 1, 10};

double dot(const double* a, const double* b, int64_t size) {
  return std::inner_product(a, a + size, b, 0.0);
}

/// The indices of the `count` largest values, the largest first; ties to the smaller index.
std::vector<int64_t> largest(const std::vector<double>& values, int64_t count) {
  std::vector<int64_t> order(values.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto middle = order.begin() + std::min<int64_t>(count, std::ssize(order));
  std::partial_sort(order.begin(), middle, order.end(), [&](int64_t a, int64_t b) {
    return values[a] != values[b] ? values[a] > values[b] : a < b;
  });
  order.erase(middle, order.end());
  return order;
}

/// Votes for a class as a share of all votes, over its share of the concept texts; 0 without votes.
std::vector<double> vote_lift(const std::vector<double>& votes,
                              const std::vector<double>& class_count) {
  const double total = std::accumulate(votes.begin(), votes.end(), 0.0);
  const double texts = std::accumulate(class_count.begin(), class_count.end(), 0.0);
  std::vector<double> lift(votes.size());
  for (size_t c = 0; c < votes.size() && total > 0; ++c)
    lift[c] = votes[c] / total / (class_count[c] / texts);
  return lift;
}

}  // namespace

std::vector<double> class_effects(const std::vector<double>& values,
                                  const std::vector<int32_t>& classes, int64_t count) {
  std::vector<double> sums(static_cast<size_t>(count)), texts(static_cast<size_t>(count));
  double all = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sums[classes[i]] += values[i];
    texts[classes[i]] += 1;
    all += values[i] / static_cast<double>(values.size());
  }
  for (int64_t c = 0; c < count; ++c) sums[c] = sums[c] / texts[c] - all;
  return sums;
}

std::vector<LinearProbe> class_probes(Context& context, const GoalData& data, uint64_t seed) {
  std::vector<LinearProbe> probes(static_cast<size_t>(data.classes));
  context.pool().run(data.classes, [&](int64_t c, int) {
    std::vector<uint8_t> labels;
    for (const int32_t own : data.concept_class) labels.push_back(own == c);
    LogisticOptions options;
    options.balanced = true;
    options.documents = data.concepts.documents;
    probes[c] = fit_logistic(data.concepts.view(), labels, options,
                             derive_seed(seed, {static_cast<uint64_t>(c)}));
  });
  return probes;
}

GoalScores exemplar_read_out(std::string method, const GoalData& data,
                             std::span<const double> direction, const std::vector<int64_t>& texts) {
  std::vector<double> along(static_cast<size_t>(data.concepts.rows)),
      counts(static_cast<size_t>(data.classes));
  for (int64_t i = 0; i < data.concepts.rows; ++i) {
    for (int64_t j = 0; j < data.d; ++j)
      along[i] += direction[j] * data.concepts.values[i * data.d + j];
    counts[data.concept_class[i]] += 1;
  }
  GoalScores result{std::move(method), {}, {}};
  for (const int64_t count : texts) {
    std::vector<double> votes(counts.size());
    for (const int64_t i : largest(along, count)) votes[data.concept_class[i]] += 1;
    result.settings.push_back(fmt::format("{} texts", count));
    result.scores.push_back(vote_lift(votes, counts));
  }
  return result;
}

/// Audit texts without one class: centred activations, and the regressions on them.
struct DenseAuditor::Ridge {
  std::vector<int64_t> texts;
  Rows x;  // [texts, d], centred
  std::optional<RidgePath> path;

  Ridge(const GoalData& data, int32_t absent) {
    for (int64_t i = 0; i < data.audit.rows; ++i)
      if (data.audit_class[i] != absent) texts.push_back(i);
    x.resize(std::ssize(texts), data.d);
    for (int64_t i = 0; i < x.rows(); ++i)
      for (int64_t j = 0; j < data.d; ++j) x(i, j) = data.audit.values[texts[i] * data.d + j];
    x.rowwise() -= x.colwise().mean().eval();
    path.emplace(x.transpose() * x);
  }
};

DenseAuditor::~DenseAuditor() = default;

DenseAuditor::DenseAuditor(Context& context, const GoalData& data, const HiddenGoalsConfig& config,
                           uint64_t seed)
    : data_(data), config_(config), probes_(static_cast<size_t>(data.classes * data.d)) {
  const std::vector<LinearProbe> probes = class_probes(context, data, seed);
  std::vector<std::unique_ptr<Ridge>> ridges(static_cast<size_t>(data.classes));
  context.pool().run(data.classes, [&](int64_t c, int) {
    const std::vector<double>& w = probes[c].weights;
    const double length = std::sqrt(dot(w.data(), w.data(), data.d));
    for (int64_t j = 0; j < data.d; ++j) probes_[c * data.d + j] = w[j] / (length > 0 ? length : 1);
    ridges[static_cast<size_t>(c)] = std::make_unique<Ridge>(data, static_cast<int32_t>(c));
  });
  for (auto& ridge : ridges) ridges_.push_back(std::move(*ridge));
}

GoalScores DenseAuditor::black_box(const Reading& reading, int32_t absent) const {
  const Ridge& ridge = ridges_[absent];
  Vector y(std::ssize(ridge.texts));
  for (int64_t i = 0; i < y.size(); ++i) y[i] = reading.output[ridge.texts[i]];
  y.array() -= y.mean();
  const Vector xty = ridge.x.transpose() * y;
  const Eigen::Map<const Rows> differences(data_.difference.data(), data_.classes, data_.d);
  GoalScores result{"black_box", {}, {}};
  for (const double penalty : kRidges) {
    const Vector scores =
        differences * ridge.path->solve(xty, penalty * static_cast<double>(y.size()));
    result.settings.push_back(fmt::format("ridge {}", penalty));
    result.scores.emplace_back(scores.begin(), scores.end());
  }
  return result;
}

std::vector<GoalScores> DenseAuditor::score(const Reading& reading, int32_t absent) const {
  const int64_t classes = data_.classes, d = data_.d;
  GoalScores query{
      "direct_query", {""}, {class_effects(reading.query, data_.query_class, classes)}};
  GoalScores steering{"mean_difference_steering", {}, {}};
  for (size_t s = 0; s < std::size(kSteeringSteps); ++s) {
    const auto first = reading.steering.begin() + static_cast<int64_t>(s) * classes;
    steering.settings.push_back(fmt::format("step {}", kSteeringSteps[s]));
    steering.scores.emplace_back(first, first + classes);
  }
  std::vector<double> gradient, probe;
  for (int64_t c = 0; c < classes; ++c) {
    gradient.push_back(dot(reading.gradient.data(), data_.difference.data() + c * d, d));
    probe.push_back(dot(reading.gradient.data(), probes_.data() + c * d, d));
  }
  return {query,
          steering,
          {"gradient_mean_difference", {""}, {gradient}},
          {"probe_direction", {""}, {probe}},
          black_box(reading, absent),
          exemplar_read_out("dense_exemplar", data_, reading.gradient, config_.exemplar_texts)};
}

LatentAuditor::LatentAuditor(const sae::Dictionary& dictionary, const EncodeCache& cache,
                             const SparseCodes& pooled, const GoalTexts& concepts,
                             const GoalData& data, const HiddenGoalsConfig& config)
    : dictionary_(dictionary),
      data_(data),
      config_(config),
      class_count_(static_cast<size_t>(data.classes)) {
  for (const int32_t c : concepts.classes) class_count_[c] += 1;
  set_statistics(cache, pooled, concepts);
}

void LatentAuditor::set_statistics(const EncodeCache& cache, const SparseCodes& pooled,
                                   const GoalTexts& concepts) {
  const auto n = static_cast<size_t>(dictionary_.info.n);
  std::vector<double> class_sums(n * class_count_.size()), squares(n);
  std::vector<std::vector<std::pair<float, int32_t>>> firing(
      n);  // (−value, place among the concept texts)
  mean_.assign(n, 0);
  for (size_t i = 0; i < concepts.texts.size(); ++i) {
    const int64_t slot = cache.slot(concepts.texts[i]);
    for (int64_t p = pooled.row_offsets[slot]; p < pooled.row_offsets[slot + 1]; ++p) {
      const int32_t j = pooled.indices[p];
      const double value = pooled.values[p];
      mean_[j] += value;
      squares[j] += value * value;
      class_sums[j * class_count_.size() + static_cast<size_t>(concepts.classes[i])] += value;
      firing[j].emplace_back(-pooled.values[p], static_cast<int32_t>(i));
    }
  }
  mean_active_ = mean_;
  for (size_t j = 0; j < n; ++j) {
    mean_[j] /= static_cast<double>(concepts.texts.size());
    mean_active_[j] /= static_cast<double>(std::max<size_t>(1, firing[j].size()));
  }
  exemplars_.resize(n);
  for (size_t j = 0; j < n; ++j) {
    const auto count = std::min<int64_t>(config_.exemplars, std::ssize(firing[j]));
    std::partial_sort(firing[j].begin(), firing[j].begin() + count, firing[j].end());
    for (int64_t e = 0; e < count; ++e)
      exemplars_[j].push_back(concepts.classes[firing[j][e].second]);
  }
  set_class_latents(class_sums, squares);
}

/// Selectivity = (mean in the class − mean elsewhere) / (sd + ½ · median sd of the latents that
/// fire), as top-k probes select, with the sign.
void LatentAuditor::set_class_latents(const std::vector<double>& class_sums,
                                      const std::vector<double>& squares) {
  const double texts = std::accumulate(class_count_.begin(), class_count_.end(), 0.0);
  std::vector<double> sd(mean_.size()), alive;
  for (size_t j = 0; j < mean_.size(); ++j) {
    sd[j] = std::sqrt(std::max(0.0, squares[j] / texts - mean_[j] * mean_[j]));
    if (mean_[j] > 0) alive.push_back(sd[j]);
  }
  const double floor = alive.empty() ? 1 : quantile(alive, 0.5) / 2;
  const int64_t most =
      *std::max_element(config_.class_latents.begin(), config_.class_latents.end());
  for (size_t c = 0; c < class_count_.size(); ++c) {
    std::vector<double> selectivity(mean_.size());
    for (size_t j = 0; j < mean_.size(); ++j) {
      const double own = class_sums[j * class_count_.size() + c];
      const double others = (mean_[j] * texts - own) / (texts - class_count_[c]);
      if (mean_[j] > 0) selectivity[j] = (own / class_count_[c] - others) / (sd[j] + floor);
    }
    class_latents_.emplace_back();
    for (const int64_t j : largest(selectivity, most))
      if (selectivity[j] > 0) class_latents_.back().push_back(static_cast<int32_t>(j));
  }
}

std::vector<double> LatentAuditor::attribution(const Reading& reading, bool where_active) const {
  const int64_t d = dictionary_.info.d;
  std::vector<float> scaled(static_cast<size_t>(d));
  for (int64_t j = 0; j < d; ++j) scaled[j] = static_cast<float>(reading.gradient[j] / data_.sd[j]);
  const Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>
      decoder(dictionary_.w_dec.data(), dictionary_.info.n, d);
  const Eigen::VectorXf effect = decoder * Eigen::Map<const Eigen::VectorXf>(scaled.data(), d);
  std::vector<double> result = where_active ? mean_active_ : mean_;
  for (size_t j = 0; j < result.size(); ++j) result[j] *= effect[static_cast<int64_t>(j)];
  return result;
}

std::vector<double> LatentAuditor::vote(const std::vector<double>& attribution,
                                        int64_t latents) const {
  std::vector<double> votes(class_count_.size());
  for (const int64_t j : largest(attribution, latents))
    if (attribution[j] > 0)
      for (const int32_t c : exemplars_[j]) votes[c] += 1;
  return vote_lift(votes, class_count_);
}

std::vector<double> LatentAuditor::mean_by_class(const std::vector<double>& attribution,
                                                 int64_t latents) const {
  std::vector<double> scores;
  for (const auto& own : class_latents_) {
    const auto count = std::min<int64_t>(latents, std::ssize(own));
    double sum = 0;
    for (int64_t i = 0; i < count; ++i) sum += attribution[own[i]];
    scores.push_back(count > 0 ? sum / static_cast<double>(count) : 0);
  }
  return scores;
}

std::vector<GoalScores> LatentAuditor::score(const Reading& reading) const {
  return read_out(
      {{"mean", attribution(reading, false)}, {"mean where active", attribution(reading, true)}});
}

std::vector<GoalScores> LatentAuditor::read_out(
    const std::vector<std::pair<std::string, std::vector<double>>>& attributions) const {
  GoalScores exemplar{"latents_exemplar", {}, {}}, labelled{"latents_labelled", {}, {}};
  for (const auto& [kind, values] : attributions) {
    for (const int64_t m : config_.latents) {
      exemplar.settings.push_back(fmt::format("{} latents, {}", m, kind));
      exemplar.scores.push_back(vote(values, m));
    }
    for (const int64_t m : config_.class_latents) {
      labelled.settings.push_back(fmt::format("{} latents a class, {}", m, kind));
      labelled.scores.push_back(mean_by_class(values, m));
    }
  }
  return {exemplar, labelled};
}

}  // namespace assay::eval::hidden_goals
