// Every kernel operation by itself, at the sizes of the case table's benchmarks. Each is checked
// against its naive reference on a few rows before its clock starts; a wrong answer skips the
// timing with an error, and the program fails.
//
//   bench_kernels [--benchmark_filter=REGEX] [--benchmark_format=json]
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/backward_update.h"
#include "kernels/encode_batch_topk.h"
#include "kernels/encode_threshold.h"
#include "kernels/encode_topk.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "kernels/topk.h"
#include "tests/support/kernel_cases.h"

namespace assay {
namespace {

using reference::matrix;
using support::EncodeCase;
using support::SparseCase;
using support::TopkCase;

constexpr int64_t kCheckedRows = 4;

bool all_verified = true;

/// True where all of `found` are within `tolerance` of what was expected; else the benchmark ends
/// with an error.
template <class Expected>
bool verified(benchmark::State& state, const char* what, int64_t count, const Expected& difference,
              double tolerance) {
  for (int64_t i = 0; i < count; ++i) {
    if (std::abs(difference(i)) <= tolerance) continue;
    all_verified = false;
    state.SkipWithError(
        (std::string(what) + " differs from the reference at " + std::to_string(i)).c_str());
    return false;
  }
  return true;
}

void bench_topk(benchmark::State& state, const TopkCase& c) {
  Context context;
  const std::vector<float> z = c.z();
  SparseCodes codes;
  NumericFlag flag;
  topk(context, matrix(z, c.rows, c.n), c.k, TopkOrder::value, codes, flag);
  for (int64_t i = 0; i < kCheckedRows; ++i) {
    const auto expected = reference::topk_row(z.data() + i * c.n, c.n, c.k);
    const auto wrong = [&](int64_t p) { return codes.indices[i * c.k + p] - expected[p].index; };
    if (!verified(state, "topk", c.k, wrong, 0)) return;
  }
  for (auto _ : state) topk(context, matrix(z, c.rows, c.n), c.k, TopkOrder::value, codes, flag);
  state.SetBytesProcessed(state.iterations() * c.rows * c.n * 4);
}

/// A batch and an encoder, ready to be encoded.
struct Encoding {
  const EncodeCase& c;
  Context context;
  std::vector<float> x, w, bias;
  ScreenCopy screen;
  SparseCodes codes;
  NumericFlag flag;

  explicit Encoding(const EncodeCase& c_)
      : c(c_), x(c.x()), w(c.w()), bias(c.bias()), screen(c.n, c.d) {
    screen.refresh(context, weights());
  }
  ConstMatrix input() const { return matrix(x, c.rows, c.d); }
  ConstMatrix weights() const { return matrix(w, c.n, c.d); }
  Encoder encoder() const { return {weights(), bias.data(), &screen}; }

  /// The k largest canonical scores of row i, indices ascending.
  std::vector<reference::Winner> winners(int64_t i, int64_t k) const {
    return reference::encode_row(x.data() + i * c.d, weights(), bias.data(), k);
  }
  /// Whether row i's pairs are all the latents whose canonical score is `cut` or more.
  bool all_from(int64_t i, float cut) const {
    int64_t p = codes.row_offsets[i];
    for (const auto& [index, value] : winners(i, c.n)) {
      if (value < cut) continue;
      if (p == codes.row_offsets[i + 1] || codes.indices[p] != index || codes.values[p] != value)
        return false;
      ++p;
    }
    return p == codes.row_offsets[i + 1];
  }
  void count(benchmark::State& state) const {
    state.counters["GFLOP/s"] = benchmark::Counter(2e-9 * static_cast<double>(c.rows * c.d * c.n),
                                                   benchmark::Counter::kIsIterationInvariantRate);
  }
};

void bench_encode_topk(benchmark::State& state, const EncodeCase& c) {
  Encoding e(c);
  const auto encode = [&] { encode_topk(e.context, e.input(), e.encoder(), c.k, e.codes, e.flag); };
  encode();
  for (int64_t i = 0; i < kCheckedRows; ++i) {
    const auto expected = e.winners(i, c.k);
    const auto wrong = [&](int64_t p) { return e.codes.indices[i * c.k + p] - expected[p].index; };
    if (!verified(state, "encode_topk", c.k, wrong, 0)) return;
  }
  for (auto _ : state) encode();
  e.count(state);
}

/// One threshold for all latents: what the first row's k-th score just exceeds.
void bench_encode_threshold(benchmark::State& state, const EncodeCase& c) {
  Encoding e(c);
  const auto first = e.winners(0, c.k);
  const float cut = std::min_element(first.begin(), first.end(), [](const auto& a, const auto& b) {
                      return a.value < b.value;
                    })->value;
  const std::vector<float> theta(c.n, std::nextafter(cut, 0.0f));
  const auto encode = [&] {
    encode_threshold(e.context, e.input(), e.encoder(), theta.data(), 0, e.codes, nullptr, e.flag);
  };
  encode();
  const auto wrong = [&](int64_t i) { return e.all_from(i, cut) ? 0.0 : 1.0; };
  if (!verified(state, "encode_threshold, row", kCheckedRows, wrong, 0)) return;
  for (auto _ : state) encode();
  e.count(state);
}

void bench_encode_batch_topk(benchmark::State& state, const EncodeCase& c) {
  Encoding e(c);
  const auto encode = [&] {
    encode_batch_topk(e.context, e.input(), e.encoder(), c.rows * c.k, e.codes, e.flag);
  };
  encode();
  const float cut = *std::min_element(e.codes.values.begin(), e.codes.values.end());
  const auto wrong = [&](int64_t i) {
    return e.all_from(i, cut) && e.codes.pairs() == c.rows * c.k ? 0.0 : 1.0;
  };
  if (!verified(state, "encode_batch_topk, row", kCheckedRows, wrong, 0)) return;
  for (auto _ : state) encode();
  e.count(state);
}

void bench_sparse_decode(benchmark::State& state, const SparseCase& c) {
  Context context;
  const SparseCodes codes = c.codes();
  const std::vector<float> w = c.weights(), bias = reference::normal(c.d, 43);
  std::vector<float> out(c.rows * c.d);
  const auto decode = [&] {
    sparse_decode(context, codes, matrix(w, c.n, c.d), bias.data(), {out.data(), c.rows, c.d});
  };
  decode();
  const auto wrong = [&](int64_t e) {
    const int64_t i = e / c.d, column = e % c.d;
    double sum = bias[column];
    for (int64_t p = codes.row_offsets[i]; p < codes.row_offsets[i + 1]; ++p) {
      sum += static_cast<double>(codes.values[p]) * w[codes.indices[p] * c.d + column];
    }
    return out[e] - sum;
  };
  if (!verified(state, "sparse_decode", kCheckedRows * c.d, wrong, 1e-3)) return;
  for (auto _ : state) decode();
  state.SetBytesProcessed(state.iterations() * codes.pairs() * c.d * 4);
}

void bench_value_gradient(benchmark::State& state, const SparseCase& c) {
  Context context;
  const SparseCodes codes = c.codes();
  const std::vector<float> w = c.weights(), g = c.rows_of(44);
  std::vector<float> out;
  const auto gradient = [&] {
    value_gradient(context, codes, matrix(g, c.rows, c.d), matrix(w, c.n, c.d), out);
  };
  gradient();
  const auto wrong = [&](int64_t p) {
    const float expected =
        reference::canonical_dot(g.data(), w.data() + codes.indices[p] * c.d, c.d);
    return out[p] - (codes.values[p] > 0 ? expected : 0.0f);
  };
  if (!verified(state, "value_gradient", codes.row_offsets[1], wrong, 0)) return;
  for (auto _ : state) gradient();
  state.SetBytesProcessed(state.iterations() * codes.pairs() * c.d * 4);
}

void bench_sort_by_latent(benchmark::State& state, const SparseCase& c) {
  Context context;
  const SparseCodes codes = c.codes();
  PairsByLatent order;
  const auto sort = [&] {
    sort_by_latent(context, codes, c.n, codes.values.data(), nullptr, order);
  };
  sort();
  int64_t kept = 0;
  for (const float value : codes.values) kept += value != 0;
  const auto wrong = [&](int64_t o) {
    if (static_cast<int64_t>(order.pairs.size()) != kept) return 1.0;
    const bool rises = o == 0 ||
                       codes.indices[order.pairs[o - 1]] < codes.indices[order.pairs[o]] ||
                       (codes.indices[order.pairs[o - 1]] == codes.indices[order.pairs[o]] &&
                        order.pairs[o - 1] < order.pairs[o]);
    return rises ? 0.0 : 1.0;
  };
  if (!verified(state, "sort_by_latent", kept, wrong, 0)) return;
  for (auto _ : state) sort();
  state.SetItemsProcessed(state.iterations() * codes.pairs());
}

/// One latent's encoder row after the step, by a plain sum over its pairs.
std::vector<double> stepped_encoder_row(const support::UpdateProblem& before, int64_t j) {
  std::vector<double> row(before.d);
  for (int64_t column = 0; column < before.d; ++column) {
    double gradient = 0;
    for (int64_t i = 0; i < before.codes.rows(); ++i) {
      for (int64_t p = before.codes.row_offsets[i]; p < before.codes.row_offsets[i + 1]; ++p) {
        if (before.codes.indices[p] != j) continue;
        gradient += static_cast<double>(before.d_values[p]) * before.x[i * before.d + column];
      }
    }
    const int64_t at = j * before.d + column;
    double m = before.w_enc_m[at], v = before.w_enc_v[at];
    row[column] = before.w_enc[at];
    reference::adam(before.options.adam, gradient, row[column], m, v);
  }
  return row;
}

void bench_backward_update(benchmark::State& state, const SparseCase& c) {
  Context context;
  support::UpdateProblem problem(c);
  const std::vector<double> expected = stepped_encoder_row(problem, c.n / 2);
  problem.run(context);
  const auto wrong = [&](int64_t column) {
    return problem.w_enc[c.n / 2 * c.d + column] - expected[column];
  };
  if (!verified(state, "backward_update", c.d, wrong, 1e-4)) return;
  for (auto _ : state) problem.run(context);
  state.SetBytesProcessed(state.iterations() * 2 * c.n * c.d * 24);
}

template <class Case, size_t N>
void add(const char* operation, void (*body)(benchmark::State&, const Case&),
         const Case (&cases)[N]) {
  for (const Case& c : cases) {
    benchmark::RegisterBenchmark((std::string(operation) + "/" + c.name).c_str(), body, c)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  }
}

}  // namespace
}  // namespace assay

int main(int count, char** arguments) {
  using namespace assay;
  add("topk", bench_topk, support::kTopkTimed);
  add("encode_topk", bench_encode_topk, support::kEncodeTimed);
  add("encode_threshold", bench_encode_threshold, support::kEncodeTimed);
  add("encode_batch_topk", bench_encode_batch_topk, support::kEncodeTimed);
  add("sparse_decode", bench_sparse_decode, support::kSparseTimed);
  add("value_gradient", bench_value_gradient, support::kSparseTimed);
  add("sort_by_latent", bench_sort_by_latent, support::kSparseTimed);
  add("backward_update", bench_backward_update, support::kSparseTimed);
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return all_verified ? 0 : 1;
}
