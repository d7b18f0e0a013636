// How many of encode_topk's winners differ from the canonical fp32 ones on real activations? The
// reference scores every latent one by one, so this takes minutes for thousands of rows; the tests
// hold the same on made-up inputs.
//
//   bench_winners DICTIONARY SHARDS [ROWS = 4096] [K = the dictionary's]
#include <fmt/core.h>

#include <cstdlib>

#include "data/dataset.h"
#include "kernels/base/error.h"
#include "kernels/encode_topk.h"
#include "sae/dictionary.h"
#include "sae/formats/format.h"
#include "tests/support/reference.h"

namespace {

using namespace assay;

/// Returns how many winners differ.
int64_t compare(const sae::Dictionary& dictionary, const data::Dataset& dataset, int64_t rows,
                int64_t k) {
  Context context;
  const int64_t d = dictionary.info.d, n = dictionary.info.n;
  std::vector<float> x(rows * d);
  dataset.read("activations", 0, {x.data(), rows, d});
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t c = 0; c < d; ++c) x[i * d + c] -= dictionary.b_dec[c];
  }
  const ConstMatrix w(dictionary.w_enc.data(), n, d);
  ScreenCopy screen(n, d);
  screen.refresh(context, w);
  SparseCodes codes;
  NumericFlag flag;
  encode_topk(context, {x.data(), rows, d}, {w, dictionary.b_enc.data(), &screen}, k, codes, flag);
  std::vector<int64_t> differing(rows);
  context.pool().run(rows, [&](int64_t i, int) {
    const auto expected = reference::encode_row(x.data() + i * d, w, dictionary.b_enc.data(), k);
    for (int64_t c = 0; c < k; ++c) {
      differing[i] += codes.indices[i * k + c] != expected[c].index ||
                      codes.values[i * k + c] != expected[c].value;
    }
  });
  const int64_t total = std::accumulate(differing.begin(), differing.end(), int64_t{0});
  fmt::print("{} rows, d {}, n {}, k {}: {} of {} winners differ in index or value\n", rows, d, n,
             k, total, rows * k);
  return total;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 3) throw UsageError("usage: bench_winners DICTIONARY SHARDS [ROWS] [K]");
  const sae::Dictionary dictionary = sae::formats::open_dictionary(argv[1]);
  const data::Dataset dataset = data::Dataset::open(argv[2]);
  const int64_t rows =
      std::min<int64_t>(dataset.info().rows, argc > 3 ? std::atoll(argv[3]) : 4096);
  return compare(dictionary, dataset, rows, argc > 4 ? std::atoll(argv[4]) : dictionary.info.k) == 0
             ? 0
             : 1;
} catch (const std::exception& error) {
  fmt::print(stderr, "bench_winners: {}\n", error.what());
  return 1;
}
