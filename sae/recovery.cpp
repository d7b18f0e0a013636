#include "sae/recovery.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "data/statistics.h"
#include "kernels/base/error.h"
#include "kernels/primitives.h"
#include "sae/assignment.h"

namespace assay::sae {
namespace {

constexpr int64_t kTask = 16;     // latents a task
constexpr int64_t kBlock = 4096;  // rows measured at once
constexpr float kRecovered = 0.8f;

std::vector<float> lengths(const Primitives& p, ConstMatrix x) {
  std::vector<float> found;
  for (int64_t i = 0; i < x.rows; ++i)
    found.push_back(std::sqrt(p.dot(x.row(i), x.row(i), x.cols)));
  return found;
}

/// [latents, features]
std::vector<float> cosines(Context& context, ConstMatrix features, ConstMatrix latents) {
  const Primitives& p = primitives(context.isa());
  const std::vector<float> of_feature = lengths(p, features), of_latent = lengths(p, latents);
  std::vector<float> cosine(static_cast<size_t>(latents.rows * features.rows));
  context.pool().run((latents.rows + kTask - 1) / kTask, [&](int64_t task, int) {
    for (int64_t j = task * kTask; j < std::min(latents.rows, (task + 1) * kTask); ++j) {
      for (int64_t i = 0; i < features.rows; ++i) {
        const float norm = of_latent[static_cast<size_t>(j)] * of_feature[static_cast<size_t>(i)];
        const float dot =
            norm > 0 ? p.dot(latents.row(j), features.row(i), latents.cols) / norm : 0;
        cosine[static_cast<size_t>(j * features.rows + i)] = dot;
      }
    }
  });
  return cosine;
}

}  // namespace

double squared_error(ConstMatrix x, ConstMatrix y) {
  double sum = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t c = 0; c < x.cols; ++c) {
      const double difference = static_cast<double>(x.row(i)[c]) - y.row(i)[c];
      sum += difference * difference;
    }
  }
  return sum;
}

DirectionMatch match_directions(Context& context, ConstMatrix features, ConstMatrix latents) {
  std::vector<float> cosine = cosines(context, features, latents);
  const int64_t n = latents.rows, m = features.rows;
  DirectionMatch match;
  std::vector<char> recovered(static_cast<size_t>(m));
  for (int64_t j = 0; j < n; ++j) {
    float* row = cosine.data() + j * m;
    for (int64_t i = 0; i < m; ++i) {
      if (row[i] > kRecovered) recovered[static_cast<size_t>(i)] = 1;
      row[i] = -std::abs(row[i]);
    }
    match.nearest.push_back(std::min_element(row, row + m) - row);
  }
  match.recovered = static_cast<double>(std::count(recovered.begin(), recovered.end(), 1)) /
                    static_cast<double>(m);
  match.uniqueness =
      static_cast<double>(std::set<int64_t>(match.nearest.begin(), match.nearest.end()).size()) /
      static_cast<double>(n);
  const std::vector<int64_t> pairs = assign({cosine.data(), n, m});
  double sum = 0;
  for (int64_t j = 0; j < n; ++j) {
    const int64_t i = pairs[static_cast<size_t>(j)];
    if (i >= 0) sum -= cosine[static_cast<size_t>(j * m + i)];
  }
  match.mcc = sum / static_cast<double>(std::min(n, m));
  return match;
}

FiringCounts::FiringCounts(std::vector<int64_t> nearest, int64_t features)
    : nearest_(std::move(nearest)),
      both_(nearest_.size()),
      latent_(nearest_.size()),
      feature_(static_cast<size_t>(features)),
      seen_(static_cast<size_t>(features)) {}

void FiringCounts::add(const SparseCodes& truth, const SparseCodes& found) {
  if (truth.rows() != found.rows()) {
    throw Error(fmt::format("{} rows of true codes, {} of found ones", truth.rows(), found.rows()));
  }
  for (size_t row = 0; row + 1 < truth.row_offsets.size(); ++row) {
    ++rows_;
    for (int64_t p = truth.row_offsets[row]; p < truth.row_offsets[row + 1]; ++p) {
      if (!(truth.values[static_cast<size_t>(p)] > 0)) continue;
      const auto feature = static_cast<size_t>(truth.indices[static_cast<size_t>(p)]);
      ++feature_[feature];
      seen_[feature] = rows_;
    }
    for (int64_t p = found.row_offsets[row]; p < found.row_offsets[row + 1]; ++p) {
      if (!(found.values[static_cast<size_t>(p)] > 0)) continue;
      const auto latent = static_cast<size_t>(found.indices[static_cast<size_t>(p)]);
      ++latent_[latent];
      both_[latent] += seen_[static_cast<size_t>(nearest_[latent])] == rows_;
    }
  }
}

double FiringCounts::f1() const {
  double sum = 0;
  int64_t counted = 0;
  for (size_t j = 0; j < nearest_.size(); ++j) {
    const int64_t fires = latent_[j] + feature_[static_cast<size_t>(nearest_[j])];
    if (fires == 0) continue;
    sum += 2 * static_cast<double>(both_[j]) / static_cast<double>(fires);
    ++counted;
  }
  return counted > 0 ? sum / static_cast<double>(counted) : 0;
}

int64_t FiringCounts::dead() const { return std::count(latent_.begin(), latent_.end(), 0); }

double FiringCounts::l0() const {
  double sum = 0;
  for (const int64_t count : latent_) sum += static_cast<double>(count);
  return rows_ > 0 ? sum / static_cast<double>(rows_) : 0;
}

Recovery measure_recovery(Context& context, const PlantedModel& model, const Dictionary& dictionary,
                          int64_t rows) {
  const int64_t n = dictionary.info.n, d = dictionary.info.d;
  if (d != model.options().d) {
    throw UsageError(
        fmt::format("the dictionary has d = {}, the planted data d = {}: they must be equal", d,
                    model.options().d));
  }
  Recovery found;
  found.directions = match_directions(context, model.features(), {dictionary.w_dec.data(), n, d});
  FiringCounts firing(found.directions.nearest, model.options().n);
  data::MomentSums sums(d);
  double error = 0, pairs = 0;
  std::vector<float> inputs(static_cast<size_t>(std::min(rows, kBlock) * d)),
      outputs(inputs.size());
  for (int64_t done = 0; done < rows; done += kBlock) {
    const Matrix x(inputs.data(), std::min(kBlock, rows - done), d), y(outputs.data(), x.rows, d);
    const int64_t first = model.options().rows + done;
    const SparseCodes truth = model.codes(context, first, x.rows);
    model.activations(context, first, truth, x);
    const SparseCodes codes = dictionary.encode(context, x);
    dictionary.decode(context, codes, y);
    firing.add(truth, codes);
    for (int64_t i = 0; i < x.rows; ++i) sums.add(x.row(i));
    error += squared_error(x, y);
    pairs += static_cast<double>(truth.pairs());
  }
  found.f1 = firing.f1();
  found.l0 = firing.l0();
  found.dead = firing.dead();
  found.rows = rows;
  found.true_l0 = pairs / static_cast<double>(rows);
  const double variance = sums.moments().variance;
  if (!(variance > 0)) throw Error(fmt::format("{} planted rows do not vary: measure more", rows));
  found.ev = 1 - error / (variance * static_cast<double>(rows));
  return found;
}

}  // namespace assay::sae
