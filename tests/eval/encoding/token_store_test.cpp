#include "eval/encoding/token_store.h"

#include <gtest/gtest.h>

#include "eval/encoding/pooled.h"
#include "tests/eval/eval_session.h"

namespace assay::eval {
namespace {

/// Column means over each text's tokens.
std::vector<double> means(const TextTokens& tokens) {
  std::vector<double> sums(static_cast<size_t>(tokens.texts() * tokens.features));
  for (int64_t i = 0; i < tokens.texts(); ++i) {
    const auto count = static_cast<double>(tokens.start[i + 1] - tokens.start[i]);
    for (int64_t t = tokens.start[i]; t < tokens.start[i + 1]; ++t) {
      for (int64_t j = 0; !tokens.dense.empty() && j < tokens.features; ++j)
        sums[i * tokens.features + j] += tokens.dense[t * tokens.features + j] / count;
      if (tokens.dense.empty())
        for (int64_t p = tokens.sparse.row_offsets[t]; p < tokens.sparse.row_offsets[t + 1]; ++p)
          sums[i * tokens.features + tokens.sparse.indices[p]] += tokens.sparse.values[p] / count;
    }
  }
  return sums;
}

TEST(TokenStore, MeansOfTokensAreThePooledPass) {
  test::SessionFixture fixture("token_store", {});
  const sae::Dictionary dictionary = test::random_dictionary(24, 60, 8, 5);
  const std::vector<const sae::Dictionary*> dictionaries{&dictionary};
  const TextTable table = text_table(*fixture.dataset);
  const std::vector<int64_t> texts{40, 3, 3, 17};
  EncodeRequest request;
  request.texts = texts;
  const EncodeCache cache =
      encode_once(fixture.context, *fixture.dataset, &table, dictionaries, request, {0.2, 0.05, 0});
  const TokenStore store(fixture.context, *fixture.dataset, table, dictionaries, texts, 1000);
  const std::vector<int32_t> active = store.active(0, texts);
  EXPECT_EQ(active, active_latents(cache, cache.dictionaries[0].pooled, texts));
  const std::vector<double> dense = means(store.dense(texts)),
                            latents = means(store.latents(0, texts, active));
  const Features pooled = gather_dense(cache, cache.dense, texts),
                 codes = gather_latents(cache, cache.dictionaries[0].pooled, texts, active);
  ASSERT_EQ(dense.size(), pooled.values.size());
  for (size_t i = 0; i < dense.size(); ++i) EXPECT_NEAR(dense[i], pooled.values[i], 1e-5);
  ASSERT_EQ(latents.size(), codes.values.size());
  for (size_t i = 0; i < latents.size(); ++i) EXPECT_NEAR(latents[i], codes.values[i], 1e-5);
}

TEST(TokenStore, TakesTheFirstTokensOfLongTexts) {
  test::SessionFixture fixture("token_store_longest", {});
  const TextTable table = text_table(*fixture.dataset);
  const TokenStore all(fixture.context, *fixture.dataset, table, {}, {5, 6}, 1000),
      two(fixture.context, *fixture.dataset, table, {}, {6, 5}, 2);
  const TextTokens whole = all.dense({5, 6}), cut = two.dense({5, 6});
  EXPECT_EQ(cut.start, (std::vector<int64_t>{0, 2, 4}));
  for (int64_t j = 0; j < 2 * cut.features; ++j) {
    EXPECT_EQ(cut.dense[j], whole.dense[j]);
    EXPECT_EQ(cut.dense[2 * cut.features + j], whole.dense[whole.start[1] * cut.features + j]);
  }
}

}  // namespace
}  // namespace assay::eval
