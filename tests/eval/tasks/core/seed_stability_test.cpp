#include "eval/tasks/core/seed_stability.h"

#include <gtest/gtest.h>

#include <numeric>

#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::core {
namespace {

using test::find;

/// The rows of `dictionary` in another order; the first `fresh` ones are replaced by random rows.
sae::Dictionary reordered(sae::Dictionary dictionary, const std::vector<int64_t>& order,
                          int64_t fresh) {
  const sae::Dictionary before = dictionary, other = test::random_dictionary(24, 60, 8, 77);
  const int64_t d = dictionary.info.d;
  for (int64_t i = 0; i < dictionary.info.n; ++i)
    for (int64_t j = 0; j < d; ++j) {
      const bool replaced = order[i] < fresh;
      dictionary.w_dec[i * d + j] =
          replaced ? other.w_dec[i * d + j] : 3 * before.w_dec[order[i] * d + j];
      dictionary.w_enc[i * d + j] =
          replaced ? other.w_enc[i * d + j] : before.w_enc[order[i] * d + j];
    }
  return dictionary;
}

TEST(SeedStability, FindsExactlyTheLatentsThatAreThere) {
  Context context({Device::cpu, 2});
  Rng rng(4);
  const sae::Dictionary a = test::random_dictionary(24, 60, 8, 5);
  const sae::Dictionary b = reordered(a, rng.permutation(60), 15);
  std::vector<int64_t> all(60);
  std::iota(all.begin(), all.end(), int64_t{0});
  const SharedLatents shared = match_latents(context, a, b, all);
  EXPECT_EQ(shared.latents, 60);
  EXPECT_EQ(shared.shared, 45) << "order and length do not matter, replaced latents are not found";
  EXPECT_NEAR(shared.decoder[20], 1, 1e-6);
  EXPECT_NEAR(shared.encoder[59], 1, 1e-6);
  EXPECT_LT(shared.decoder[3], 0.9);
  const SharedLatents some = match_latents(context, a, b, {3, 20, 59});
  EXPECT_EQ(some.shared, 2);
}

TEST(SeedStability, PairsOfOneSettingAndTheirControl) {
  test::SessionFixture fixture("stability", {});
  const sae::Dictionary a = test::random_dictionary(24, 60, 8, 5);
  std::vector<int64_t> order(60);
  std::iota(order.begin(), order.end(), int64_t{0});
  fixture.add(a, "a");
  fixture.add(reordered(a, order, 6), "b");
  for (size_t i = 0; i < 2; ++i) {
    DictionaryEntry& entry = fixture.dictionaries[i].entry;
    entry.n = 60;
    entry.seed = i;
    entry.setting = "a configuration";
  }
  add_nulls(fixture.dictionaries, {"random"}, *fixture.dataset, 3);
  const auto results = fixture.run({"seed_stability"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  const Number* share = find(results[0], "shared_share", "a ~ b", "a", "");
  ASSERT_NE(share, nullptr);
  EXPECT_NEAR(share->value, 0.9, 0.05);
  const Number* control = find(results[0], "shared_share", "a ~ b:random", "a", "");
  ASSERT_NE(control, nullptr);
  EXPECT_LT(control->value, 0.2);
  EXPECT_EQ(control->control, "random");
  EXPECT_TRUE(results[0].scores.empty());
}

TEST(SeedStability, IsLeftOutWithoutReseeds) {
  test::SessionFixture fixture("stability_single", {});
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  EXPECT_THROW(fixture.run({"seed_stability"}), UsageError);
}

}  // namespace
}  // namespace assay::eval::core
