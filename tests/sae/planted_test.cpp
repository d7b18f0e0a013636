// Planted dictionaries against closed forms, and the measures of recovery against brute force.
#include "sae/planted.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "data/statistics.h"
#include "kernels/base/error.h"
#include "sae/assignment.h"
#include "sae/recovery.h"

namespace assay::sae {
namespace {

using ::testing::HasSubstr;

PlantedOptions small(const std::string& kind) {
  PlantedOptions o = planted_kind(kind);
  o.d = 24;
  o.n = o.roots > 0 ? 60 : 40;
  o.l0 = 5;
  if (o.roots > 0) {
    o.roots = 4;
    o.branching = 3;
    o.depth = 2;
  }
  if (o.correlation_rank > 0) o.correlation_rank = 3;
  return o;
}

std::vector<float> draw(Context& context, const PlantedModel& model, int64_t first, int64_t rows) {
  std::vector<float> x(static_cast<size_t>(rows * model.options().d));
  model.activations(context, first, model.codes(context, first, rows),
                    {x.data(), rows, model.options().d});
  return x;
}

class Kinds : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Planted, Kinds, ::testing::ValuesIn(planted_kinds()),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST_P(Kinds, FeaturesFireAsOftenAsTheirProbabilitySays) {
  Context context({Device::cpu, 2});
  const PlantedModel model(small(GetParam()));
  const int64_t rows = 100'000;
  const SparseCodes codes = model.codes(context, 0, rows);
  std::vector<double> count(static_cast<size_t>(model.options().n));
  for (const int32_t i : codes.indices) ++count[static_cast<size_t>(i)];
  for (size_t i = 0; i < count.size(); ++i) {
    const double p = model.probabilities()[i], expected = p * rows;
    EXPECT_NEAR(count[i], expected, 5 * std::sqrt(expected * (1 - p)) + 1) << i;
  }
  const double l0 = static_cast<double>(codes.pairs()) / rows;
  EXPECT_NEAR(l0, model.l0(), 0.05 * model.l0());
  if (model.options().firing != "log_uniform") {
    EXPECT_NEAR(model.l0(), 5, 1e-9);
  }
}

TEST_P(Kinds, RowsDependOnTheirNumberAlone) {
  Context one({Device::cpu, 1}), three({Device::cpu, 3});
  PlantedOptions options = small(GetParam());
  options.noise = 0.1;
  const PlantedModel model(options);
  const std::vector<float> whole = draw(one, model, 0, 500), part = draw(three, model, 123, 300);
  EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin() + 123 * options.d));
  options.seed = 1;
  EXPECT_NE(draw(one, PlantedModel(options), 0, 500), whole);
}

TEST(Planted, FeaturesAreUnitRowsAndMagnitudesLogNormal) {
  Context context({Device::cpu, 2});
  const PlantedModel model(small("independent"));
  for (int64_t i = 0; i < model.options().n; ++i) {
    double square = 0;
    for (int64_t c = 0; c < 24; ++c) square += std::pow(model.features().row(i)[c], 2);
    EXPECT_NEAR(square, 1, 1e-6);
  }
  const SparseCodes codes = model.codes(context, 0, 40'000);
  double sum = 0, squares = 0;
  for (const float c : codes.values) {
    sum += std::log(c);
    squares += std::log(c) * std::log(c);
  }
  const auto count = static_cast<double>(codes.pairs());
  EXPECT_NEAR(sum / count, 0, 0.003);
  EXPECT_NEAR(std::sqrt(squares / count), 0.25, 0.003);
}

TEST(Planted, AChildFiresWithItsParentAndWithoutItsSiblings) {
  Context context({Device::cpu, 2});
  const PlantedModel model(small("tree"));
  EXPECT_EQ(std::count_if(model.parents().begin(), model.parents().end(),
                          [](int32_t p) { return p >= 0; }),
            4 * 12);
  const SparseCodes codes = model.codes(context, 0, 20'000);
  int64_t children = 0;
  for (size_t row = 0; row < 20'000; ++row) {
    std::vector<int> active(60), below(60);
    for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
      active[static_cast<size_t>(codes.indices[static_cast<size_t>(p)])] = 1;
    }
    for (size_t i = 0; i < 60; ++i) {
      const int32_t parent = model.parents()[i];
      if (!active[i] || parent < 0) continue;
      ASSERT_TRUE(active[static_cast<size_t>(parent)]);
      ASSERT_EQ(++below[static_cast<size_t>(parent)], 1);
      ++children;
    }
  }
  EXPECT_GT(children, 1000);
}

TEST(Planted, CorrelatedPairsFireTogetherAsTheGaussianCopulaSays) {
  Context context({Device::cpu, 2});
  PlantedOptions options = small("independent");
  options.n = 6;
  options.l0 = 3;  // p = 1/2: both fire with 1/4 + asin(ρ)/2π
  options.correlation_rank = 1;
  options.correlation = 0.8;
  const PlantedModel model(options);
  const int64_t rows = 100'000;
  const SparseCodes codes = model.codes(context, 0, rows);
  std::vector<double> both(36);
  for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
    for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
      for (int64_t q = p + 1; q < codes.row_offsets[row + 1]; ++q) {
        const int32_t i = codes.indices[static_cast<size_t>(p)],
                      j = codes.indices[static_cast<size_t>(q)];
        ++both[static_cast<size_t>(6 * i + j)];
      }
    }
  }
  const double step = std::asin(0.64) / (2 * M_PI);  // with one factor, ρ = ±0.8²
  int64_t negative = 0;
  for (size_t i = 0; i < 6; ++i) {
    for (size_t j = i + 1; j < 6; ++j) {
      const double found = both[6 * i + j] / rows;
      negative += found < 0.25;
      EXPECT_NEAR(found, 0.25 + (found < 0.25 ? -step : step), 0.008);
    }
  }
  EXPECT_GT(negative, 0);
  EXPECT_LT(negative, 15);
}

TEST(Planted, VarianceAndTheExactCodesEvMatchTheClosedForm) {
  Context context({Device::cpu, 2});
  PlantedOptions options = small("zipf");
  options.noise = 0.2;
  const PlantedModel model(options);
  const int64_t rows = 200'000, d = options.d;
  const SparseCodes codes = model.codes(context, 0, rows);
  std::vector<float> x(static_cast<size_t>(rows * d)), exact(x.size());
  model.activations(context, 0, codes, {x.data(), rows, d});
  options.noise = 0;
  PlantedModel(options).activations(context, 0, codes, {exact.data(), rows, d});
  data::MomentSums sums(d);
  double error = 0;
  for (int64_t i = 0; i < rows; ++i) sums.add(x.data() + i * d);
  for (size_t i = 0; i < x.size(); ++i) error += std::pow(static_cast<double>(x[i]) - exact[i], 2);
  const double variance = model.independent_variance();
  EXPECT_NEAR(sums.moments().variance, variance, 0.01 * variance);
  const double ev = 1 - error / (static_cast<double>(rows) * sums.moments().variance);
  EXPECT_NEAR(ev, 1 - static_cast<double>(d) * 0.04 / variance, 0.003);
  EXPECT_THROW(PlantedModel(small("tree")).independent_variance(), UsageError);
}

TEST(Planted, ModelsThatCannotBeSayWhy) {
  PlantedOptions options = small("independent");
  options.l0 = 100;
  EXPECT_THAT([&] { PlantedModel{options}; },
              ::testing::ThrowsMessage<UsageError>(HasSubstr("lower l0")));
  options = small("tree");
  options.n = 20;
  EXPECT_THAT([&] { PlantedModel{options}; },
              ::testing::ThrowsMessage<UsageError>(HasSubstr("raise n")));
  EXPECT_THAT([] { planted_kind("x"); },
              ::testing::ThrowsMessage<UsageError>(HasSubstr("independent")));
}

/// The least total cost over all ways to pair the shorter side.
double brute_force(const std::vector<float>& cost, int64_t rows, int64_t cols) {
  const int64_t few = std::min(rows, cols), many = std::max(rows, cols);
  std::vector<int64_t> order(static_cast<size_t>(many));
  std::iota(order.begin(), order.end(), 0);
  double best = INFINITY;
  do {
    double sum = 0;
    for (int64_t i = 0; i < few; ++i) {
      const int64_t j = order[static_cast<size_t>(i)];
      sum += cost[static_cast<size_t>(rows <= cols ? i * cols + j : j * cols + i)];
    }
    best = std::min(best, sum);
  } while (std::next_permutation(order.begin(), order.end()));
  return best;
}

TEST(Assignment, CostsTheLeastOfAllPairings) {
  std::mt19937 engine(5);
  const std::pair<int64_t, int64_t> shapes[] = {{1, 1}, {1, 5}, {5, 1}, {3, 7},
                                                {7, 3}, {6, 6}, {7, 7}};
  for (int trial = 0; trial < 70; ++trial) {
    const auto [rows, cols] = shapes[trial % 7];
    std::vector<float> cost(static_cast<size_t>(rows * cols));
    // Every other trial has few values, so many ties.
    for (float& c : cost) c = static_cast<float>(trial % 2 ? engine() % 3 : engine() % 1000) - 100;
    const std::vector<int64_t> columns = assign({cost.data(), rows, cols});
    double sum = 0;
    std::vector<int64_t> used;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t j = columns[static_cast<size_t>(i)];
      if (j < 0) continue;
      sum += cost[static_cast<size_t>(i * cols + j)];
      used.push_back(j);
    }
    std::sort(used.begin(), used.end());
    EXPECT_EQ(std::unique(used.begin(), used.end()), used.end());
    EXPECT_EQ(static_cast<int64_t>(used.size()), std::min(rows, cols));
    EXPECT_DOUBLE_EQ(sum, brute_force(cost, rows, cols)) << rows << " x " << cols;
  }
}

Dictionary truth_of(const PlantedModel& model) {
  const PlantedOptions& o = model.options();
  Dictionary truth;
  truth.info.d = o.d;
  truth.info.n = o.n;
  truth.info.k = 5;
  truth.w_dec.assign(model.features().data, model.features().data + o.n * o.d);
  truth.w_enc = truth.w_dec;
  truth.b_enc.assign(static_cast<size_t>(o.n), 0);
  truth.b_dec.assign(static_cast<size_t>(o.d), 0);
  return truth;
}

TEST(Recovery, ThePlantedDictionaryScoresOne) {
  Context context({Device::cpu, 2});
  const PlantedModel model(small("zipf"));
  const Recovery found = measure_recovery(context, model, truth_of(model), 1000);
  EXPECT_NEAR(found.directions.mcc, 1, 1e-6);
  EXPECT_EQ(found.directions.recovered, 1);
  EXPECT_EQ(found.directions.uniqueness, 1);
  // Shorter rows in another order are the same directions.
  std::vector<float> moved;
  for (int64_t i = model.options().n - 1; i >= 0; --i) {
    for (int64_t c = 0; c < 24; ++c) moved.push_back(0.3f * model.features().row(i)[c]);
  }
  const DirectionMatch match =
      match_directions(context, model.features(), {moved.data(), model.options().n, 24});
  EXPECT_NEAR(match.mcc, 1, 1e-6);
  for (int64_t j = 0; j < model.options().n; ++j) {
    EXPECT_EQ(match.nearest[static_cast<size_t>(j)], model.options().n - 1 - j);
  }
}

TEST(Recovery, CopiesAndOppositesAreNotNewFeatures) {
  Context context({Device::cpu, 1});
  const std::vector<float> features{1, 0, 0, 0, 1, 0, 0, 0, 1};
  const std::vector<float> latents{1, 0, 0, 2, 0, 0, 0, -1, 0, 0, 0, 0};
  const DirectionMatch match =
      match_directions(context, {features.data(), 3, 3}, {latents.data(), 4, 3});
  EXPECT_DOUBLE_EQ(match.recovered, 1.0 / 3);   // the opposite of the second is not found
  EXPECT_DOUBLE_EQ(match.uniqueness, 2.0 / 4);  // the zero row falls to the first
  EXPECT_DOUBLE_EQ(match.mcc, 2.0 / 3);
}

TEST(Recovery, FiringMatchesAPlainCount) {
  // Three rows, two features, three latents; the third latent is dead.
  const SparseCodes truth{{0, 1, 3, 4}, {0, 0, 1, 1}, {1, 1, 1, 1}};
  const SparseCodes found{{0, 2, 3, 5}, {0, 1, 1, 0, 2}, {1, 1, 1, 1, 0}};
  FiringCounts counts({0, 1, 1}, 2);
  counts.add(truth, found);
  // Latent 0 fires in rows 0, 2, its feature in 0, 1: F1 = 2·1/4. Latent 1: rows 0, 1; feature 1,
  // 2: 2·1/4. Latent 2: 0.
  EXPECT_DOUBLE_EQ(counts.f1(), (0.5 + 0.5 + 0) / 3);
  EXPECT_EQ(counts.dead(), 1);
  EXPECT_DOUBLE_EQ(counts.l0(), 4.0 / 3);
  FiringCounts exact({0, 1}, 2);
  exact.add(truth, truth);
  EXPECT_EQ(exact.f1(), 1);
}

}  // namespace
}  // namespace assay::sae
