#include "eval/encoding/encode_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "data/split.h"
#include "eval/encoding/pooled.h"
#include "kernels/base/error.h"
#include "tests/eval/planted_data.h"

namespace assay::eval {
namespace {

const data::SplitRule kRule{0.2, 0.1, 3};

/// Row by row in double, straight from the definition; no code shared with the library.
struct Naive {
  std::vector<double> z, y;  // [n], [d]
  Naive(const sae::Dictionary& dictionary, const float* x)
      : z(dictionary.info.n, 0.0), y(dictionary.info.d) {
    const int64_t n = dictionary.info.n, d = dictionary.info.d;
    std::vector<double> pre(n);
    std::vector<int64_t> order(n);
    for (int64_t i = 0; i < n; ++i) {
      pre[i] = dictionary.b_enc[i];
      for (int64_t j = 0; j < d; ++j)
        pre[i] += double(dictionary.w_enc[i * d + j]) * (double(x[j]) - dictionary.b_dec[j]);
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return pre[a] > pre[b]; });
    for (int64_t j = 0; j < d; ++j) y[j] = dictionary.b_dec[j];
    for (int64_t w = 0; w < dictionary.info.k; ++w) {
      z[order[w]] = std::max(0.0, pre[order[w]]);
      for (int64_t j = 0; j < d; ++j) y[j] += z[order[w]] * dictionary.w_dec[order[w] * d + j];
    }
  }
};

class EncodeCacheTest : public ::testing::Test {
 protected:
  EncodeCacheTest() : folder_("encode_cache"), planted_(test::make_planted({})) {
    test::write_planted(planted_, folder_.path());
    dataset_ = std::make_unique<data::Dataset>(data::Dataset::open(folder_.path()));
    table_ = text_table(*dataset_);
  }

  EncodeCache encode(const std::vector<const sae::Dictionary*>& dictionaries,
                     const EncodeRequest& request, int threads) {
    Context context({Device::cpu, threads});
    return encode_once(context, *dataset_, &table_, dictionaries, request, kRule);
  }

  support::TemporaryFolder folder_;
  test::Planted planted_;
  std::unique_ptr<data::Dataset> dataset_;
  TextTable table_;
};

TEST_F(EncodeCacheTest, StatisticsEqualTheNaiveDoubleComputation) {
  const sae::Dictionary dictionary = test::random_dictionary(24, 100, 8, 5);
  const EncodeCache cache = encode({&dictionary}, {StatisticsRequest{}, {}}, 2);
  const int64_t d = 24;
  std::vector<double> mean(d, 0.0);
  double tokens = 0, error = 0, deviation = 0, active = 0, cosine = 0, ratio = 0;
  std::vector<int64_t> firing(100, 0);
  const auto counts = [&](int64_t r) {
    return !planted_.special[r] &&
           data::split_of(planted_.document[r], kRule) == data::Split::validation;
  };
  for (int64_t r = 0; r < planted_.rows(); ++r) {
    if (!counts(r)) continue;
    ++tokens;
    for (int64_t j = 0; j < d; ++j) mean[j] += planted_.x[r * d + j];
  }
  for (double& m : mean) m /= tokens;
  for (int64_t r = 0; r < planted_.rows(); ++r) {
    if (!counts(r)) continue;
    const float* x = planted_.x.data() + r * d;
    const Naive naive(dictionary, x);
    double xx = 0, yy = 0, xy = 0;
    for (int64_t j = 0; j < d; ++j) {
      error += std::pow(x[j] - naive.y[j], 2);
      deviation += std::pow(x[j] - mean[j], 2);
      xx += double(x[j]) * x[j];
      yy += naive.y[j] * naive.y[j];
      xy += x[j] * naive.y[j];
    }
    for (int64_t i = 0; i < 100; ++i) firing[i] += naive.z[i] > 0, active += naive.z[i] > 0;
    cosine += xy / std::sqrt(xx * yy);
    ratio += std::sqrt(yy / xx);
  }
  DocumentSums sums;
  for (const DocumentSums& s : cache.dictionaries[0].validation.documents) {
    sums.error += s.error;
    sums.deviation += s.deviation;
    sums.active += s.active;
    sums.cosine += s.cosine;
    sums.ratio += s.ratio;
    sums.tokens += s.tokens;
  }
  EXPECT_EQ(sums.tokens, tokens);
  EXPECT_EQ(cache.dictionaries[0].validation.tokens, static_cast<int64_t>(tokens));
  EXPECT_NEAR(sums.error / sums.deviation, error / deviation, 1e-6 * error / deviation);
  EXPECT_NEAR(sums.deviation, deviation, 1e-10 * deviation);
  EXPECT_EQ(sums.active, active);
  EXPECT_NEAR(sums.cosine, cosine, 1e-6 * tokens);
  EXPECT_NEAR(sums.ratio, ratio, 1e-6 * ratio);
  EXPECT_EQ(cache.dictionaries[0].validation.firing, firing);
}

TEST_F(EncodeCacheTest, ACapLeavesTheSumsOfItsDocumentsAlone) {
  const sae::Dictionary dictionary = test::random_dictionary(24, 100, 8, 5);
  const EncodeCache all = encode({&dictionary}, {StatisticsRequest{}, {}}, 2),
                    some = encode({&dictionary}, {StatisticsRequest{200, 9}, {}}, 2);
  const StatisticsSample sample = sample_statistics(*dataset_, kRule, {200, 9});
  const PartStatistics& part = some.dictionaries[0].validation;
  EXPECT_EQ(part.tokens, sample.validation.tokens);
  EXPECT_LE(part.tokens, 200);
  ASSERT_EQ(part.documents.size(), sample.validation.documents.size());
  const auto whole = sample_statistics(*dataset_, kRule, {}).validation.documents;
  for (size_t i = 0; i < part.documents.size(); ++i) {
    const auto at = std::lower_bound(whole.begin(), whole.end(), sample.validation.documents[i]);
    const DocumentSums& same = all.dictionaries[0].validation.documents[at - whole.begin()];
    EXPECT_EQ(part.documents[i].error, same.error);
    EXPECT_EQ(part.documents[i].tokens, same.tokens);
  }
}

TEST_F(EncodeCacheTest, PoolsOverOrdinaryTokens) {
  const sae::Dictionary dictionary = test::random_dictionary(24, 100, 8, 6);
  const EncodeCache cache = encode({&dictionary}, {std::nullopt, {40, 3, 500, 3}}, 2);
  ASSERT_EQ(cache.texts, (std::vector<int64_t>{3, 40, 500}));
  for (const int64_t t : cache.texts) {
    std::vector<double> x(24, 0.0), z(100, 0.0), y(24, 0.0);
    double count = 0;
    for (int64_t r = 0; r < planted_.rows(); ++r) {
      if (planted_.text[r] != t || planted_.special[r]) continue;
      const Naive naive(dictionary, planted_.x.data() + r * 24);
      ++count;
      for (int64_t j = 0; j < 24; ++j) x[j] += planted_.x[r * 24 + j], y[j] += naive.y[j];
      for (int64_t i = 0; i < 100; ++i) z[i] += naive.z[i];
    }
    const int64_t slot = cache.slot(t);
    for (int64_t j = 0; j < 24; ++j) {
      EXPECT_NEAR(cache.dense[slot * 24 + j], x[j] / count, 1e-5);
      EXPECT_NEAR(cache.dictionaries[0].reconstruction[slot * 24 + j], y[j] / count, 1e-4);
    }
    const auto& pooled = cache.dictionaries[0].pooled;
    const auto latents = active_latents(cache, pooled, {t});
    const Features features = gather_latents(cache, pooled, {t}, latents);
    // Folds are made by it.
    const std::vector<int64_t> document{table_.document[t]};
    EXPECT_EQ(features.documents, document);
    EXPECT_EQ(gather_sparse(cache, pooled, {t}, latents).documents, document);
    EXPECT_EQ(gather_dense(cache, cache.dense, {t}).documents, document);
    double seen = 0;
    for (size_t i = 0; i < latents.size(); ++i) {
      EXPECT_NEAR(features.values[i], z[latents[i]] / count, 1e-5);
      seen += features.values[i];
    }
    EXPECT_NEAR(seen, std::accumulate(z.begin(), z.end(), 0.0) / count, 1e-4);
  }
  EXPECT_THROW(cache.slot(4), Error);
}

TEST_F(EncodeCacheTest, SameBitsOnAnyNumberOfThreads) {
  const sae::Dictionary dictionary = test::random_dictionary(24, 100, 8, 6);
  std::vector<int64_t> texts(static_cast<size_t>(table_.size()));
  std::iota(texts.begin(), texts.end(), 0);
  const EncodeCache one = encode({&dictionary}, {StatisticsRequest{}, texts}, 1),
                    three = encode({&dictionary}, {StatisticsRequest{}, texts}, 3);
  EXPECT_EQ(one.dense, three.dense);
  EXPECT_EQ(one.dictionaries[0].pooled.values, three.dictionaries[0].pooled.values);
  EXPECT_EQ(one.dictionaries[0].reconstruction, three.dictionaries[0].reconstruction);
  const auto &a = one.dictionaries[0].validation.documents,
             &b = three.dictionaries[0].validation.documents;
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(DocumentSums)), 0);
}

TEST_F(EncodeCacheTest, RefusesWhatDoesNotFit) {
  const sae::Dictionary wide = test::random_dictionary(25, 100, 8, 6),
                        fits = test::random_dictionary(24, 100, 8, 6);
  EXPECT_THROW(encode({&wide}, {StatisticsRequest{}, {}}, 1), UsageError);
  Context context({Device::cpu, 1});
  const sae::Dictionary* list[] = {&fits};
  EXPECT_THROW(encode_once(context, *dataset_, &table_, list, {StatisticsRequest{}, {}}, {0, 0, 0}),
               Error);
}

TEST_F(EncodeCacheTest, MaxAndLastAreOverTheOrdinaryTokens) {
  const sae::Dictionary dictionary = test::random_dictionary(24, 100, 8, 5);
  const std::vector<int64_t> texts{7, 2, 40};
  const EncodeCache cache = encode({&dictionary}, {std::nullopt, texts, true}, 2);
  const EncodedDictionary& encoded = cache.dictionaries[0];
  for (const int64_t t : texts) {
    std::vector<double> z_max(100, 0.0), z_last;
    std::vector<float> x_max(24, -1e9f), x_last;
    for (int64_t row = table_.first[t]; row < table_.first[t] + table_.rows[t]; ++row) {
      if (planted_.special[row]) continue;
      const float* x = planted_.x.data() + row * 24;
      const Naive naive(dictionary, x);
      for (int64_t j = 0; j < 24; ++j) x_max[j] = std::max(x_max[j], x[j]);
      for (int64_t j = 0; j < 100; ++j) z_max[j] = std::max(z_max[j], naive.z[j]);
      z_last = naive.z;
      x_last.assign(x, x + 24);
    }
    const int64_t slot = cache.slot(t);
    for (int64_t j = 0; j < 24; ++j) {
      EXPECT_EQ(cache.dense_max[slot * 24 + j], x_max[j]);
      EXPECT_EQ(cache.dense_last[slot * 24 + j], x_last[j]);
    }
    for (const auto& [codes, wanted] :
         {std::pair(&encoded.pooled_max, &z_max), {&encoded.pooled_last, &z_last}}) {
      std::vector<double> found(100, 0.0);
      for (int64_t p = codes->row_offsets[slot]; p < codes->row_offsets[slot + 1]; ++p) {
        EXPECT_GT(codes->values[p], 0);
        found[codes->indices[p]] = codes->values[p];
      }
      for (int64_t j = 0; j < 100; ++j) EXPECT_NEAR(found[j], (*wanted)[j], 1e-4);
    }
  }
  EXPECT_TRUE(encode({&dictionary}, {std::nullopt, texts}, 2).dense_max.empty())
      << "only where asked for";
}

}  // namespace
}  // namespace assay::eval
