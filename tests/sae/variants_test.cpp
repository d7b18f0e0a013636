// What holds for every variant: the same bits on any threads and instruction set, and a dictionary
// that is reloaded to the same codes, which are the training step's own rule at the folded scale.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>

#include "kernels/base/error.h"
#include "sae/resample.h"
#include "tests/sae/variant_support.h"
#include "tests/support/isa.h"

namespace assay::sae {
namespace {

using namespace test;

class AnyVariant : public testing::TestWithParam<std::string> {};

State trained(const std::string& name, int threads, Isa isa) {
  Context context({Device::cpu, threads});
  context.force_isa(isa);
  VariantOptions options = small_options(name);
  options.train.dead_after_tokens = 3 * kRows;
  const auto variant = make_variant(options);
  return some_state(context, *variant, 12, 1e-3);
}

TEST_P(AnyVariant, SameBitsOnAnyThreadsAndInstructionSet) {
  const State expected = trained(GetParam(), 1, Isa::scalar);
  for (const Isa isa : support::available_isas()) {
    const State state = trained(GetParam(), 3, isa);
    for (const auto& [name, p] : expected.parameters) {
      EXPECT_EQ(state.at(name).value, p.value) << name;
      EXPECT_EQ(state.at(name).v, p.v) << name;
    }
    EXPECT_EQ(state.numbers, expected.numbers);
    EXPECT_EQ(state.silent, expected.silent);
  }
}

TEST_P(AnyVariant, LearnsOnOneBatch) {
  Context context({Device::cpu, 2});
  VariantOptions options = small_options(GetParam());
  const auto variant = make_variant(options);
  State state = variant->create();
  const auto x = small_batch(5);
  variant->initialise(context, state, 3, batch_of(x, options.d_out));
  double first = 0, last = 0;
  for (int64_t t = 0; t < 100; ++t) {
    NumericFlag flag;
    last = variant->step(context, state, batch_of(x, options.d_out), 3e-3, flag).loss;
    if (t == 0) first = last;
  }
  EXPECT_LT(last, 0.8 * first);
}

/// Of the columns encoded and reconstructed, every hook with its own scale and, where it is not 0,
/// a mean in every column.
std::pair<Units, Units> units_with(const VariantOptions& options, float mean) {
  const auto all = [&](int64_t d, double scale) {
    return Units{std::vector<float>(d, mean), std::vector<double>(d, scale), mean != 0};
  };
  Units in = all(options.d_in, 0.25),
        out = all(options.d_out, options.d_out == options.d_in ? 0.25 : 0.5);
  if (!options.hooks.empty()) {
    std::fill(in.scale.begin() + kHook, in.scale.end(), 0.5);
    out = in;
  }
  return {in, out};
}

TEST_P(AnyVariant, ReloadsToTheSameCodesAndHash) {
  Context context({Device::cpu, 2});
  VariantOptions options = small_options(GetParam());
  if (GetParam() == "crosscoder")
    options.model.sparsity = 0.1;  // two norms at the default would leave few active
  const auto variant = make_variant(options);
  const State state = some_state(context, *variant, 80, 2e-3);
  // Powers of two: folding is exact, so the codes are equal bit for bit.
  const auto [in, out] = units_with(variant->options(), 0);
  Dictionary dictionary = variant->dictionary(state), folded = dictionary;
  folded.fold(in, out);
  const auto folder = std::filesystem::temp_directory_path() / ("assay_variant_" + GetParam());
  folded.save(folder);
  const Dictionary loaded = Dictionary::load(folder);
  std::filesystem::remove_all(folder);
  EXPECT_EQ(loaded.hash(), folded.hash());
  EXPECT_NE(loaded.hash(), dictionary.hash());
  EXPECT_EQ(loaded.info.variant, GetParam());

  const auto x = small_batch(99);
  std::vector<float> raw = x;
  for (size_t i = 0; i < x.size(); ++i) raw[i] /= static_cast<float>(in.scale[i % kD]);
  const SparseCodes expected = dictionary.encode(context, batch_of(x).x);
  const SparseCodes codes = loaded.encode(context, batch_of(raw).x);
  EXPECT_GT(codes.pairs(), kRows);
  EXPECT_EQ(codes.row_offsets, expected.row_offsets);
  EXPECT_EQ(codes.indices, expected.indices);
  EXPECT_EQ(codes.values, expected.values);

  const int64_t width = dictionary.info.width();
  std::vector<float> y(kRows * width), raw_y(y.size());
  dictionary.decode(context, expected, {y.data(), kRows, width}, batch_of(x).x);
  loaded.decode(context, codes, {raw_y.data(), kRows, width}, batch_of(raw).x);
  for (size_t i = 0; i < y.size(); ++i)
    EXPECT_EQ(raw_y[i] * static_cast<float>(out.scale[i % width]), y[i]);
}

/// A mean in every column of raw rows changes neither codes nor errors.
TEST_P(AnyVariant, FoldsAMeanIntoThePublishedWeights) {
  Context context({Device::cpu, 2});
  const auto variant = make_variant(small_options(GetParam()));
  const State state = some_state(context, *variant, 30, 2e-3);
  const auto [in, out] = units_with(variant->options(), 40);
  const Dictionary dictionary = variant->dictionary(state);
  Dictionary folded = dictionary;
  folded.fold(in, out);
  const auto x = small_batch(99);
  std::vector<float> raw = x;
  for (size_t i = 0; i < x.size(); ++i)
    raw[i] = raw[i] / static_cast<float>(in.scale[i % kD]) + in.shift[i % kD];
  const SparseCodes expected = dictionary.encode(context, batch_of(x).x),
                    codes = folded.encode(context, batch_of(raw).x);
  const int64_t width = dictionary.info.width();
  std::vector<float> y(kRows * width), raw_y(y.size());
  dictionary.decode(context, expected, {y.data(), kRows, width}, batch_of(x).x);
  folded.decode(context, codes, {raw_y.data(), kRows, width}, batch_of(raw).x);
  double difference = 0, size = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double wanted = y[i] / out.scale[i % width];
    difference += std::pow(raw_y[i] - out.shift[i % width] - wanted, 2);
    size += wanted * wanted;
  }
  EXPECT_LT(difference, 1e-3 * size);  // a code near its threshold may come or go
  EXPECT_NEAR(codes.pairs(), expected.pairs(), 0.01 * expected.pairs());
  // Where what is encoded is reconstructed, the mean is taken off before encoding.
  EXPECT_EQ(folded.info.centred, in.shift == out.shift);
}

std::vector<std::string> names() {
  std::vector<std::string> all;
  for (const VariantEntry* entry : variants()) all.push_back(entry->name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, AnyVariant, testing::ValuesIn(names()),
                         [](const auto& c) { return c.param; });

/// Published codes are the step's own where no threshold stands in for the batch.
TEST(Variants, PublishedCodesAreTheSteps) {
  for (const char* name :
       {"topk", "matryoshka_topk", "relu", "p_anneal", "gated", "jumprelu", "matching_pursuit",
        "switch", "transcoder", "skip_transcoder", "crosscoder"}) {
    Context context({Device::cpu, 2});
    const auto variant = make_variant(small_options(name, 0));
    State state = some_state(context, *variant, 20);
    const Dictionary dictionary = variant->dictionary(state);
    const auto x = small_batch(50);
    NumericFlag flag;
    const double l0 =
        variant->step(context, state, batch_of(x, variant->options().d_out), 1e-3, flag).l0;
    const SparseCodes codes = dictionary.encode(context, batch_of(x).x);
    const auto active =
        std::count_if(codes.values.begin(), codes.values.end(), [](float v) { return v > 0; });
    EXPECT_DOUBLE_EQ(l0, static_cast<double>(active) / kRows) << name;
  }
}

TEST(BatchTopK, ThresholdAveragesFromHalfTheRunAndStartsAtItsFirstValue) {
  Context context({Device::cpu, 1});
  const auto variant = make_variant(small_options("batch_topk"));  // 100 steps: from step 50 on
  State state = variant->create();
  const auto sample = small_batch(1);
  variant->initialise(context, state, 3, batch_of(sample));
  double expected = 0;
  for (int64_t t = 0; t < 60; ++t) {
    const auto x = small_batch(10 + t);
    NumericFlag flag;
    variant->step(context, state, batch_of(x), 1e-3, flag);
    const SparseCodes& codes = variant->codes();
    ASSERT_EQ(codes.row_offsets[kRows], kK * kRows);
    const float least = *std::min_element(codes.values.begin(), codes.values.begin() + kK * kRows);
    EXPECT_EQ(state.numbers.count("threshold"), t >= 50 ? 1u : 0u) << t;
    if (t >= 50) expected = t == 50 ? least : 0.999 * expected + 0.001 * least;
  }
  EXPECT_NEAR(state.numbers.at("threshold"), expected, 1e-9);
}

TEST(BatchTopK, CalibratedThresholdGivesTheMeanL0) {
  Context context({Device::cpu, 2});
  VariantOptions options = small_options("batch_topk");
  options.model.threshold = "calibrated";
  const auto variant = make_variant(options);
  ASSERT_TRUE(variant->needs_validation());
  State state = some_state(context, *variant, 30);
  const auto x = small_batch(200);
  variant->calibrate(context, state, batch_of(x).x);
  EXPECT_EQ(variant->dictionary(state).encode(context, batch_of(x).x).pairs(), kK * kRows);
}

TEST(Matryoshka, PrefixesMustRiseToN) {
  VariantOptions options = small_options("matryoshka_topk");
  options.model.prefixes = {40, 20, kN};
  EXPECT_THROW(make_variant(options), UsageError);
  options.model.prefixes = {40, 60};
  EXPECT_THROW(make_variant(options), UsageError);
  options.model.prefixes = {40, kN};
  EXPECT_EQ(make_variant(options)->dictionary(make_variant(options)->create()).info.prefixes,
            options.model.prefixes);
}

TEST(Switch, EachRowUsesOneExpertWhoseProbabilityScalesItsCodes) {
  Context context({Device::cpu, 2});
  const auto variant = make_variant(small_options("switch"));
  const State state = some_state(context, *variant, 20);
  const Dictionary dictionary = variant->dictionary(state);
  const auto x = small_batch(50);
  const SparseCodes codes = dictionary.encode(context, batch_of(x).x);
  const float *router = state.at("router").value.data(),
              *b_router = state.at("b_router").value.data();
  for (int64_t i = 0; i < kRows; ++i) {
    const float* row = batch_of(x).x.row(i);
    double logits[5], sum = 0;
    for (int64_t e = 0; e < 5; ++e) {
      logits[e] = 0;
      for (int64_t c = 0; c < kD; ++c)
        logits[e] += router[e * kD + c] * (std::sqrt(double{kD}) * row[c] - b_router[c]);
      sum += std::exp(logits[e]);
    }
    const int64_t expert = std::max_element(logits, logits + 5) - logits;
    ASSERT_EQ(codes.row_offsets[i + 1] - codes.row_offsets[i], kK);
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
      const int32_t j = codes.indices[p];
      EXPECT_EQ(j / (kN / 5), expert);
      double pre = state.encoder_bias()[j];
      for (int64_t c = 0; c < kD; ++c)
        pre += double(state.encoder().row(j)[c]) * (row[c] - state.decoder_bias()[c]);
      EXPECT_NEAR(codes.values[p], std::exp(logits[expert]) / sum * std::max(pre, 0.0), 1e-5);
    }
  }
}

TEST(Switch, TheBalanceLossSpreadsTheRows) {
  const auto largest_share = [](double balance) {
    Context context({Device::cpu, 2});
    VariantOptions options = small_options("switch");
    options.model.balance = balance;
    const auto variant = make_variant(options);
    State state = variant->create();
    const auto sample = small_batch(1);
    variant->initialise(context, state, 3, batch_of(sample));
    // A router that sends almost every row to expert 0.
    for (int64_t c = 0; c < kD; ++c) state.at("router").value[c] = 3 * sample[c];
    for (int64_t t = 0; t < 300; ++t) {
      NumericFlag flag;
      const auto x = small_batch(10 + t);
      variant->step(context, state, batch_of(x), 3e-3, flag);
    }
    std::vector<int> rows(5);
    for (int64_t i = 0; i < kRows; ++i)
      ++rows[variant->codes().indices[variant->codes().row_offsets[i]] / (kN / 5)];
    return *std::max_element(rows.begin(), rows.end()) / static_cast<double>(kRows);
  };
  EXPECT_LT(largest_share(1), 0.4);
  EXPECT_LT(largest_share(1), largest_share(0));
}

/// Rows of five groups that share no coordinate, group i mod 5: `active` of its own coordinates
/// each, E‖x‖² = 1.
std::vector<float> grouped_batch(int64_t rows, int64_t d, uint64_t seed) {
  constexpr int64_t kActive = 6;
  std::mt19937_64 engine(seed);
  std::vector<float> x(rows * d);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t a = 0; a < kActive; ++a) {
      const auto within = static_cast<int64_t>(engine() % static_cast<uint64_t>(d / 5));
      x[i * d + i % 5 * (d / 5) + within] += 1 / std::sqrt(static_cast<float>(kActive));
    }
  }
  return x;
}

/// At the defaults, from a router that knows nothing: each group ends with an expert of its own.
TEST(Switch, TheRouterLearnsWhichGroupARowIsOf) {
  constexpr int64_t kBatch = 500, kWide = 400;
  Context context({Device::cpu, 2});
  VariantOptions options = small_options("switch");
  options.model.n = 500;
  options.d_in = options.d_out = kWide;
  const auto variant = make_variant(options);
  State state = variant->create();
  for (int64_t t = 0; t < 300; ++t) {
    const std::vector<float> x = grouped_batch(kBatch, kWide, 10 + static_cast<uint64_t>(t));
    const ConstMatrix rows(x.data(), kBatch, kWide);
    if (t == 0) variant->initialise(context, state, 3, {rows, rows});
    NumericFlag flag;
    variant->step(context, state, {rows, rows}, options.train.lr, flag);
  }
  int rows[5][5] = {};  // of each group at each expert
  for (int64_t i = 0; i < kBatch; ++i)
    ++rows[i % 5][variant->codes().indices[i * kK] / (options.model.n / 5)];
  std::set<int64_t> experts;
  for (const auto& of_group : rows) {
    const int* most = std::max_element(of_group, of_group + 5);
    EXPECT_GT(*most, kBatch / 5 * 9 / 10);
    experts.insert(most - of_group);
  }
  EXPECT_EQ(experts.size(), 5u);
}

TEST(Switch, ExpertsMustDivideTheLatentsAndHoldK) {
  VariantOptions options = small_options("switch");
  options.model.experts = 7;
  EXPECT_THROW(make_variant(options), UsageError);
  options.model.experts = 60;
  EXPECT_THROW(make_variant(options), UsageError);
}

/// The first step is TopK's first; a latent may be chosen again, and never is one that does not
/// correlate positively.
TEST(MatchingPursuit, ResidualFallsByEveryValueAndCodesDecodeToIt) {
  Context context({Device::cpu, 2});
  const auto variant = make_variant(small_options("matching_pursuit"));
  const State state = some_state(context, *variant, 30);
  const Dictionary dictionary = variant->dictionary(state);
  EXPECT_EQ(dictionary.w_enc, dictionary.w_dec);
  const auto x = small_batch(300);
  const SparseCodes codes = dictionary.encode(context, batch_of(x).x);
  std::vector<float> y(x.size());
  dictionary.decode(context, codes, {y.data(), kRows, kD});
  for (int64_t i = 0; i < kRows; ++i) {
    std::vector<double> r(kD), z(kN);
    for (int64_t c = 0; c < kD; ++c) r[c] = x[i * kD + c] - dictionary.b_dec[c];
    for (int64_t t = 0; t < kK; ++t) {
      int64_t best = 0;
      double most = -1e30;
      for (int64_t j = 0; j < kN; ++j) {
        double dot = 0;
        for (int64_t c = 0; c < kD; ++c) dot += r[c] * dictionary.w_dec[j * kD + c];
        if (dot > most) most = dot, best = j;
      }
      if (most <= 0) break;
      z[best] += most;
      for (int64_t c = 0; c < kD; ++c) r[c] -= most * dictionary.w_dec[best * kD + c];
    }
    std::vector<double> found(kN);
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p)
      found[codes.indices[p]] = codes.values[p];
    for (int64_t j = 0; j < kN; ++j) EXPECT_NEAR(found[j], z[j], 1e-5) << i << " " << j;
    for (int64_t c = 0; c < kD; ++c) EXPECT_NEAR(x[i * kD + c] - y[i * kD + c], r[c], 1e-5);
  }
}

TEST(SkipTranscoder, CodesAloneCannotBeDecoded) {
  Context context({Device::cpu, 1});
  const auto variant = make_variant(small_options("skip_transcoder"));
  const State state = some_state(context, *variant, 2);
  const Dictionary dictionary = variant->dictionary(state);
  const auto x = small_batch(9);
  const SparseCodes codes = dictionary.encode(context, batch_of(x).x);
  std::vector<float> y(kRows * kOut);
  EXPECT_THROW(dictionary.decode(context, codes, {y.data(), kRows, kOut}), UsageError);
}

TEST(Variants, ThoseWithoutAuxKOrResamplingRefuseThem) {
  EXPECT_THROW(make_variant(small_options("matching_pursuit", 0.1)), UsageError);
  for (const char* name : {"matching_pursuit", "transcoder", "skip_transcoder", "crosscoder"}) {
    const auto variant = make_variant(small_options(name));
    EXPECT_THROW(check_resampling(*variant, variant->create()), UsageError) << name;
  }
}

TEST(PAnneal, EndsAtTheLastExponentWithoutAJumpOfThePenalty) {
  Context context({Device::cpu, 2});
  VariantOptions options = small_options("p_anneal");
  options.train.steps = 300;
  const auto variant = make_variant(options);
  State state = variant->create();
  const auto sample = small_batch(1);
  variant->initialise(context, state, 3, batch_of(sample));
  int changes = 0;
  double p = 1, before = 0;
  bool changed = false;
  for (int64_t t = 0; t < 300; ++t) {
    const auto x = small_batch(10 + t);
    NumericFlag flag;
    const StepReport report = variant->step(context, state, batch_of(x), 1e-4, flag);
    const double penalty = report.loss - report.fvu;
    if (changed) {
      EXPECT_NEAR(penalty, before, 0.1 * before) << t;
    }
    before = penalty;
    changed = state.numbers["p"] != p;
    changes += changed;
    p = state.numbers["p"];
  }
  EXPECT_EQ(changes, 10);
  EXPECT_NEAR(p, 0.2, 1e-12);
}

TEST(Dictionary, DamagedVariantsAreRefused) {
  Context context({Device::cpu, 1});
  const auto variant = make_variant(small_options("jumprelu"));
  const State state = some_state(context, *variant, 1);
  const auto folder = std::filesystem::temp_directory_path() / "assay_variant_damaged";
  const auto refuses = [&](Dictionary dictionary, const std::string& text) {
    dictionary.save(folder);
    try {
      Dictionary::load(folder);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    }
  };
  const Dictionary good = variant->dictionary(state);
  Dictionary bad = good;
  bad.extra.clear();
  refuses(bad, "threshold");
  bad = good;
  bad.extra["threshold"].values[3] = -1;
  refuses(bad, "negative");
  bad = good;
  bad.info.encoding = "nonsense";
  refuses(bad, "nonsense");
  bad = good;
  bad.info.prefixes = {5, 5};
  refuses(bad, "prefixes");
  const auto routed = make_variant(small_options("switch"));
  bad = routed->dictionary(some_state(context, *routed, 1));
  bad.extra["router"] = {{7, kD}, std::vector<float>(7 * kD)};
  refuses(bad, "7 experts");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace assay::sae
