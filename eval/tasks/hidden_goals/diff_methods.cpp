#include "eval/tasks/hidden_goals/diff_methods.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace assay::eval::hidden_goals {
namespace {

using Eigen::MatrixXd;
using Eigen::VectorXd;

constexpr size_t kKinds = kShiftKinds.size();

/// Ridge penalties, in units of the number of audited tokens.
constexpr double kRidges[] = {0.01, 0.1, 1, 10};

std::string setting(const std::string& what, size_t kind) {
  return what.empty() ? kShiftKinds[kind] : fmt::format("{}, {}", what, kShiftKinds[kind]);
}

double count_without(const TokenRows& tokens, int32_t absent) {
  return static_cast<double>(std::ssize(tokens.classes) -
                             std::count(tokens.classes.begin(), tokens.classes.end(), absent));
}

/// Tokens' activations in the concept texts' z-scores.
FloatRows z_tokens(const GoalData& data, const TokenRows& tokens) {
  FloatRows z(tokens.x.rows, data.d);
  for (int64_t i = 0; i < z.rows(); ++i)
    for (int64_t j = 0; j < data.d; ++j)
      z(i, j) = static_cast<float>((tokens.x.values[i * data.d + j] - data.mean[j]) / data.sd[j]);
  return z;
}

}  // namespace

DenseDiffAuditor::DenseDiffAuditor(Context& context, const GoalData& data, const TokenRows& audit,
                                   std::optional<WordAuditor> words,
                                   const HiddenGoalsConfig& config, uint64_t seed)
    : data_(data),
      audit_(audit),
      config_(config),
      words_(std::move(words)),
      z_(z_tokens(data, audit)),
      moments_(data.classes, 2 * data.classes) {
  set_regressions(context);
  set_posteriors(class_probes(context, data, seed));
}

/// Regressions without a class, from the scatters of the others.
void DenseDiffAuditor::set_regressions(Context& context) {
  const int64_t classes = data_.classes, d = data_.d;
  std::vector<MatrixXd> squares(static_cast<size_t>(classes), MatrixXd::Zero(d, d));
  std::vector<VectorXd> sums(static_cast<size_t>(classes), VectorXd::Zero(d));
  context.pool().run(classes, [&](int64_t c, int) {
    MatrixXd own(std::count(audit_.classes.begin(), audit_.classes.end(), static_cast<int32_t>(c)),
                 d);
    int64_t row = 0;
    for (int64_t i = 0; i < z_.rows(); ++i)
      if (audit_.classes[i] == c) own.row(row++) = z_.row(i).cast<double>();
    squares[c].selfadjointView<Eigen::Lower>().rankUpdate(own.transpose());
    squares[c] = MatrixXd(squares[c].selfadjointView<Eigen::Lower>());
    sums[c] = own.colwise().sum();
  });
  std::vector<std::optional<RidgePath>> ridges(static_cast<size_t>(classes));
  context.pool().run(classes, [&](int64_t absent, int) {
    MatrixXd scatter = MatrixXd::Zero(d, d);
    VectorXd sum = VectorXd::Zero(d);
    for (int64_t c = 0; c < classes; ++c) {
      if (c == absent) continue;
      scatter += squares[c];
      sum += sums[c];
    }
    scatter -= sum * sum.transpose() / count_without(audit_, static_cast<int32_t>(absent));
    ridges[absent].emplace(scatter);
  });
  for (auto& ridge : ridges) ridges_.push_back(std::move(*ridge));
}

void DenseDiffAuditor::set_posteriors(const std::vector<LinearProbe>& probes) {
  const int64_t classes = data_.classes;
  FloatRows weights(classes, data_.d);
  Eigen::RowVectorXf bias(classes);
  for (int64_t c = 0; c < classes; ++c) {
    for (int64_t j = 0; j < data_.d; ++j) weights(c, j) = static_cast<float>(probes[c].weights[j]);
    bias[c] = static_cast<float>(probes[c].bias);
  }
  posteriors_.resize(z_.rows(), 2 * classes);
  posteriors_.leftCols(classes) = (z_ * weights.transpose()).rowwise() + bias;
  posteriors_.rightCols(classes) = 1 / (1 + (-posteriors_.leftCols(classes).array()).exp());
  for (int64_t i = 0; i < z_.rows(); ++i) {
    auto own = posteriors_.row(i).tail(classes);
    own /= std::max(own.sum(), 1e-30f);
    for (int64_t column = 0; column < 2 * classes; ++column)
      moments_.add(audit_.classes[i], column, posteriors_(i, column));
  }
}

/// Means over a class's query texts less the mean over all of them.
GoalScores DenseDiffAuditor::query(const ShiftReading& reading) const {
  GoalScores result{"direct_query", {}, {}};
  for (size_t kind = 0; kind < kKinds; ++kind) {
    result.settings.push_back(setting("", kind));
    result.scores.push_back(class_effects(reading.query[kind], data_.query_class, data_.classes));
  }
  return result;
}

GoalScores DenseDiffAuditor::posterior(const ShiftReading& reading, int32_t absent) const {
  const double tokens = count_without(audit_, absent);
  GoalScores result{"dense_posterior", {}, {}};
  for (size_t kind = 0; kind < kKinds; ++kind) {
    const auto moved =
        Eigen::Map<const VectorXd>(reading.moved[kind].data(), z_.rows()).cast<float>().eval();
    const Eigen::VectorXf products = posteriors_.transpose() * moved;
    std::vector<double> correlations;
    for (int64_t column = 0; column < products.size(); ++column) {
      const double sd = moments_.sd(column, absent, tokens);
      correlations.push_back(sd > 0 ? products[column] / (tokens * sd) : 0);
    }
    const auto middle = correlations.begin() + data_.classes;
    result.settings.push_back(setting("log odds", kind));
    result.scores.emplace_back(correlations.begin(), middle);
    result.settings.push_back(setting("posterior", kind));
    result.scores.emplace_back(middle, correlations.end());
  }
  return result;
}

/// Both read-outs of the regression of how far tokens move on their activations.
std::vector<GoalScores> DenseDiffAuditor::ridge(const ShiftReading& reading, int32_t absent) const {
  const double tokens = count_without(audit_, absent);
  const Eigen::Map<const Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>>
      differences(data_.difference.data(), data_.classes, data_.d);
  GoalScores exemplar{"ridge_exemplar", {}, {}}, labelled{"ridge_mean_difference", {}, {}};
  for (size_t kind = 0; kind < kKinds; ++kind) {
    const auto moved =
        Eigen::Map<const VectorXd>(reading.moved[kind].data(), z_.rows()).cast<float>().eval();
    const VectorXd xty =
        (z_.transpose() * moved).cast<double>();  // moved has mean 0: z need not be centred
    for (const double penalty : kRidges) {
      const VectorXd w = ridges_[absent].solve(xty, penalty * tokens);
      const std::string name = setting(fmt::format("ridge {}", penalty), kind);
      const VectorXd scores = differences * w;
      labelled.settings.push_back(name);
      labelled.scores.emplace_back(scores.begin(), scores.end());
      GoalScores votes = exemplar_read_out("", data_, {w.data(), static_cast<size_t>(w.size())},
                                           config_.exemplar_texts);
      for (size_t s = 0; s < votes.settings.size(); ++s) {
        exemplar.settings.push_back(fmt::format("{}, {}", votes.settings[s], name));
        exemplar.scores.push_back(std::move(votes.scores[s]));
      }
    }
  }
  return {exemplar, labelled};
}

std::vector<double> DenseDiffAuditor::by_text(const std::vector<double>& moved) const {
  std::vector<double> sums(data_.audit_class.size()), tokens(sums.size());
  for (size_t i = 0; i < moved.size(); ++i) {
    sums[audit_.text[i]] += moved[i];
    tokens[audit_.text[i]] += 1;
  }
  for (size_t t = 0; t < sums.size(); ++t) sums[t] /= tokens[t];
  return sums;
}

std::vector<GoalScores> DenseDiffAuditor::score(const ShiftReading& reading, int32_t absent) const {
  std::vector<double> along;
  for (int64_t c = 0; c < data_.classes; ++c) {
    double sum = 0, length = 0;
    for (int64_t j = 0; j < data_.d; ++j) {
      const double raw = data_.difference[c * data_.d + j] * data_.sd[j];
      sum += reading.mean[j] * raw;
      length += raw * raw;
    }
    along.push_back(length > 0 ? sum / std::sqrt(length) : 0);
  }
  std::vector<GoalScores> result{
      query(reading),
      {"shift_mean", {""}, {along}},
      {"shift_pca", {"1 component", "all components"}, {reading.spread[0], reading.spread[1]}},
      posterior(reading, absent)};
  for (GoalScores& scores : ridge(reading, absent)) result.push_back(std::move(scores));
  if (words_) result.push_back(words_->score(by_text(reading.moved[0]), absent));
  return result;
}

LatentDiffAuditor::LatentDiffAuditor(Context& context, const sae::Dictionary& dictionary,
                                     const EncodeCache& cache, const SparseCodes& pooled,
                                     const GoalTexts& concepts, const GoalData& data,
                                     const TokenRows& audit, const HiddenGoalsConfig& config)
    : audit_(audit),
      read_out_(dictionary, cache, pooled, concepts, data, config),
      moments_(data.classes, dictionary.info.n) {
  constexpr int64_t kBlock = 4096;
  for (int64_t first = 0; first < audit.x.rows; first += kBlock) {
    const int64_t rows = std::min(kBlock, audit.x.rows - first);
    const SparseCodes block =
        dictionary.encode(context, {audit.x.view().row(first), rows, audit.x.cols});
    for (int64_t i = 0; i < rows; ++i) {
      for (int64_t p = block.row_offsets[i]; p < block.row_offsets[i + 1]; ++p) {
        if (!(block.values[p] > 0)) continue;
        codes_.indices.push_back(block.indices[p]);
        codes_.values.push_back(block.values[p]);
        moments_.add(audit.classes[first + i], block.indices[p], block.values[p]);
      }
      codes_.row_offsets.push_back(std::ssize(codes_.indices));
    }
  }
}

std::vector<double> LatentDiffAuditor::correlation(const std::vector<double>& moved,
                                                   int32_t absent) const {
  std::vector<double> sums(static_cast<size_t>(read_out_.latents()));
  for (int64_t i = 0; i < codes_.rows(); ++i)
    for (int64_t p = codes_.row_offsets[i]; p < codes_.row_offsets[i + 1]; ++p)
      sums[codes_.indices[p]] += codes_.values[p] * moved[i];
  const double tokens = count_without(audit_, absent);
  for (int64_t j = 0; j < std::ssize(sums); ++j) {
    const double sd = moments_.sd(j, absent, tokens);
    sums[j] = sd > 0 ? sums[j] / (tokens * sd) : 0;
  }
  return sums;
}

std::vector<GoalScores> LatentDiffAuditor::score(const ShiftReading& reading,
                                                 int32_t absent) const {
  std::vector<std::pair<std::string, std::vector<double>>> kinds;
  for (size_t kind = 0; kind < kKinds; ++kind)
    kinds.emplace_back(kShiftKinds[kind], correlation(reading.moved[kind], absent));
  return read_out_.read_out(kinds);
}

}  // namespace assay::eval::hidden_goals
