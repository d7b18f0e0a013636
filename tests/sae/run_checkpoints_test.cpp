// A checkpoint that is written behind the run is the one that would have been written before it.
#include "sae/run_checkpoints.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/support/files.h"

namespace assay::sae {
namespace {

namespace fs = std::filesystem;

class RunCheckpointsTest : public testing::Test {
 protected:
  ~RunCheckpointsTest() override { ::unsetenv("ASSAY_MEMORY_LIMIT"); }

  std::unique_ptr<RunCheckpoints> begin(const std::string& name) {
    auto checkpoints = std::make_unique<RunCheckpoints>(root_ / name, CheckpointPolicy());
    checkpoints->claim();
    return checkpoints;
  }
  std::string saved(const std::string& name) const {
    const fs::path folder = checkpoint_folder(root_ / name, 3);
    return support::bytes_of(folder / "state.safetensors") +
           support::bytes_of(folder / "trainer.json");
  }

  support::TemporaryFolder root_;
};

/// Of every kind that a state may hold, at step 3.
State some_state(MomentType moments) {
  State state(64, 24, 24, moments);
  state.add("threshold", {64});
  Rng rng(7);
  const auto fill = [&rng](std::vector<float>& values) {
    for (float& value : values) value = static_cast<float>(rng.normal());
  };
  for (auto& [name, p] : state.parameters) {
    fill(p.value);
    fill(p.m);
    fill(p.v);
    for (NarrowMoment* moment : {&p.narrow.m, &p.narrow.v})
      for (uint8_t& code : moment->codes) code = static_cast<uint8_t>(rng.below(0x30));
  }
  state.numbers["mean"] = 2.5;
  state.averaged["W_dec"] = state.at("W_dec").value;
  for (int64_t& silence : state.silent) silence = static_cast<int64_t>(rng.below(1000));
  state.step = 3;
  return state;
}

TEST_F(RunCheckpointsTest, BehindHoldsTheStateOfTheCall) {
  for (const MomentType moments : {MomentType::fp32, MomentType::bf16, MomentType::int8}) {
    const std::string kind = std::to_string(static_cast<int>(moments));
    const State same = some_state(moments);
    begin("before" + kind)->save(same, {});
    State moving = some_state(moments);
    {
      const auto checkpoints = begin("behind" + kind);
      checkpoints->save(moving, {}, Writing::behind);
      for (auto& [name, p] : moving.parameters) std::fill(p.value.begin(), p.value.end(), 9.f);
      moving.silent.assign(64, 0);
      moving.step = 4;
    }
    ASSERT_FALSE(saved("before" + kind).empty());
    EXPECT_TRUE(saved("behind" + kind) == saved("before" + kind)) << kind;
  }
}

TEST_F(RunCheckpointsTest, WhatGoesWrongBehindIsSaidByTheNextCall) {
  State state = some_state(MomentType::fp32);
  state.at("W_enc").value[5] = NAN;
  const auto checkpoints = begin("bad");
  checkpoints->save(state, {}, Writing::behind);
  EXPECT_THROW(checkpoints->save(some_state(MomentType::fp32), {}), Error);
  checkpoints->save(state, {}, Writing::behind);
  EXPECT_NE(checkpoints->last_good().find("no checkpoint yet"), std::string::npos);
  checkpoints->save(some_state(MomentType::fp32), {});
  EXPECT_NE(checkpoints->last_good().find("step-0000000003"), std::string::npos);
}

TEST_F(RunCheckpointsTest, WithoutRoomForACopyItIsWrittenBeforeTheCallReturns) {
  ::setenv("ASSAY_MEMORY_LIMIT", "1000", 1);
  const auto checkpoints = begin("narrow");
  checkpoints->save(some_state(MomentType::fp32), {}, Writing::behind);
  EXPECT_TRUE(fs::exists(checkpoint_folder(root_ / "narrow", 3) / "trainer.json"));
}

TEST(State, BytesAreThoseOfItsParts) {
  const State wide = some_state(MomentType::fp32), narrow = some_state(MomentType::int8);
  const int64_t matrices = 2 * 64 * 24, others = 64 + 24 + 64, silent = 64 * 8;
  EXPECT_EQ(wide.bytes(), 4 * (3 * (matrices + others) + 64 * 24) + silent);
  const int64_t scales = 2 * 2 * 64;  // of both moments of two matrices, one block a row
  EXPECT_EQ(narrow.bytes(), 4 * (matrices + 3 * others + 64 * 24 + scales) + 2 * matrices + silent);
}

}  // namespace
}  // namespace assay::sae
