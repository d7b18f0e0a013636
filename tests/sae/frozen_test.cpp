// What model.frozen holds: bit for bit at its start, or within a cone about it, while the rest
// learns.
#include "sae/frozen.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "kernels/base/error.h"
#include "sae/device_step.h"
#include "tests/sae/variant_support.h"
#include "tests/support/isa.h"

namespace assay::sae {
namespace {

using namespace test;

VariantOptions frozen_options(const std::string& variant, const std::string& frozen) {
  VariantOptions options = small_options(variant);
  options.model.frozen = frozen;
  options.train.seed = 3;  // some_state's
  return options;
}

State start_of(Context& context, const VariantOptions& options) {
  const auto variant = make_variant(options);
  return some_state(context, *variant, 0);
}

/// The smallest cosine of a row with its start, in double.
double least_cosine(const State& state, const State& start) {
  double least = 1;
  for (int64_t j = 0; j < state.n; ++j) {
    double along = 0, own = 0, before = 0;
    for (int64_t c = 0; c < state.d_out; ++c) {
      const double a = state.decoder().row(j)[c], b = start.decoder().row(j)[c];
      along += a * b;
      own += a * a;
      before += b * b;
    }
    least = std::min(least, along / std::sqrt(own * before));
  }
  return least;
}

class FreezingVariant : public testing::TestWithParam<std::string> {
 protected:
  State trained(const std::string& frozen, double lr = 3e-2) {
    const auto variant = make_variant(frozen_options(GetParam(), frozen));
    return some_state(context_, *variant, 40, lr);
  }
  State start() { return start_of(context_, frozen_options(GetParam(), "none")); }
  Context context_{{Device::cpu, 2}};
};

TEST_P(FreezingVariant, HoldsItsDecoderWhileTheEncoderLearns) {
  const State before = start(), after = trained("decoder");
  EXPECT_EQ(after.at("W_dec").value, before.at("W_dec").value);
  EXPECT_EQ(after.at("W_dec").v, before.at("W_dec").v);
  for (const char* moved : {"W_enc", "b_enc", "b_dec"})
    EXPECT_NE(after.at(moved).value, before.at(moved).value) << moved;
}

TEST_P(FreezingVariant, HoldsItsEncoderWhileTheDecoderLearns) {
  const State before = start(), after = trained("encoder");
  for (const char* held : {"W_enc", "b_enc"}) {
    EXPECT_EQ(after.at(held).value, before.at(held).value) << held;
    EXPECT_EQ(after.at(held).m, before.at(held).m) << held;
  }
  for (const char* moved : {"W_dec", "b_dec"})
    EXPECT_NE(after.at(moved).value, before.at(moved).value) << moved;
}

TEST_P(FreezingVariant, KeepsASoftlyFrozenDecoderInItsConeWhereItWouldLeave) {
  const State before = start();
  ASSERT_LT(least_cosine(trained("none"), before), 0.7) << "the bound must bind";
  const State after = trained("soft_decoder");
  EXPECT_NEAR(least_cosine(after, before), 0.8, 1e-6);
  EXPECT_NE(after.at("W_enc").value, before.at("W_enc").value);
}

TEST_P(FreezingVariant, SameBitsOnAnyThreadsAndInstructionSet) {
  for (const FrozenPart& part : frozen_parts()) {
    const VariantOptions options = frozen_options(GetParam(), part.frozen);
    const auto run = [&](int threads, Isa isa) {
      Context context({Device::cpu, threads});
      context.force_isa(isa);
      const auto variant = make_variant(options);
      return some_state(context, *variant, 12, 3e-2);
    };
    const State expected = run(1, Isa::scalar);
    for (const Isa isa : support::available_isas()) {
      const State state = run(3, isa);
      for (const auto& [name, p] : expected.parameters)
        EXPECT_EQ(state.at(name).value, p.value) << part.frozen << " " << name;
    }
  }
}

TEST_P(FreezingVariant, SaysWhichControlItIs) {
  for (const FrozenPart& part : frozen_parts()) {
    const auto variant = make_variant(frozen_options(GetParam(), part.frozen));
    EXPECT_EQ(variant->dictionary(some_state(context_, *variant, 1)).info.null_kind,
              part.null_kind);
  }
}

std::vector<std::string> names(bool freezes) {
  std::vector<std::string> all;
  for (const VariantEntry* entry : variants())
    if (entry->freezes == freezes) all.emplace_back(entry->name);
  return all;
}
INSTANTIATE_TEST_SUITE_P(All, FreezingVariant, testing::ValuesIn(names(true)),
                         [](const auto& c) { return c.param; });

TEST(Frozen, OthersAreRefusedByName) {
  const std::vector<std::string> able = names(true), unable = names(false);
  EXPECT_EQ(able.size(), 8u);
  for (const std::string& name : unable) {
    try {
      make_variant(frozen_options(name, "decoder"));
      FAIL() << name;
    } catch (const UsageError& error) {
      const std::string text = error.what();
      EXPECT_NE(text.find(name), std::string::npos) << text;
      EXPECT_NE(text.find("topk"), std::string::npos) << text;
    }
  }
  VariantOptions options = frozen_options("topk", "decoder");
  options.train.resample_every = 10;
  EXPECT_THROW(make_variant(options), UsageError);
  EXPECT_THROW(device_step_options(frozen_options("topk", "encoder"), kRows), UsageError);
}

/// Its step's closed form in double: a soft freeze is the free step, then the nearest point.
TEST(Frozen, ARowThatLeavesItsConeGoesToTheNearestPointOfItsSphere) {
  Context context({Device::cpu, 2});
  const VariantOptions free = frozen_options("topk", "none"),
                       soft = frozen_options("topk", "soft_decoder");
  const State start = start_of(context, free);
  const auto one_step = [&](const VariantOptions& options) {
    const auto variant = make_variant(options);
    return some_state(context, *variant, 1, 0.15);  // far, at once
  };
  const State moved = one_step(free), held = one_step(soft);
  EXPECT_EQ(moved.at("W_enc").value, held.at("W_enc").value);
  int64_t outside = 0;
  for (int64_t j = 0; j < start.n; ++j) {
    const float *a = start.decoder().row(j), *w = moved.decoder().row(j),
                *h = held.decoder().row(j);
    double along = 0, across = 0;
    for (int64_t c = 0; c < kD; ++c) along += double(w[c]) * a[c];
    for (int64_t c = 0; c < kD; ++c) across += std::pow(w[c] - along * a[c], 2);
    outside += along < 0.8;
    for (int64_t c = 0; c < kD; ++c) {
      const double edge = 0.8 * a[c] + 0.6 * (w[c] - along * a[c]) / std::sqrt(across);
      ASSERT_NEAR(h[c], along < 0.8 ? edge : w[c], 1e-6) << j;
    }
  }
  EXPECT_GT(outside, kN / 10);
  EXPECT_LT(outside, kN);
}

/// Clipping by norm sees only what moves.
TEST(Frozen, WhatIsHeldDoesNotCountInTheGradientsNorm) {
  Context context({Device::cpu, 2});
  const auto moments = [&](const std::string& frozen, double clip_norm) {
    VariantOptions options = frozen_options("topk", frozen);
    options.train.clip_norm = clip_norm;
    const auto variant = make_variant(options);
    const State state = some_state(context, *variant, 1, 1e-3);
    double squares = 0;  // of the gradients, from the first moments of the first step
    for (const auto& [name, p] : state.parameters)
      for (const float m : p.m) squares += std::pow(m / (1 - options.train.beta1), 2);
    return std::sqrt(squares);
  };
  for (const char* frozen : {"decoder", "encoder"}) {
    const double norm = moments(frozen, 0);
    EXPECT_LT(norm, 0.999 * moments("none", 0));
    EXPECT_NEAR(moments(frozen, 0.5 * norm), 0.5 * norm, 1e-4 * norm) << frozen;
  }
}

}  // namespace
}  // namespace assay::sae
