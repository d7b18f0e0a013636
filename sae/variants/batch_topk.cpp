#include "sae/variants/batch_topk.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/encode_batch_topk.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr double kMemory = 0.999;
constexpr int64_t kFirstStep = 1000;

}  // namespace

void BatchTopK::choose(Context& context, const State& state, ConstMatrix x, SparseCodes& out,
                       NumericFlag& flag) const {
  const std::vector<float> scale = rank_scale(context, state);
  Encoder ranked = encoder(state);
  if (!scale.empty()) ranked.rank_scale = scale.data();
  const auto pairs = std::llround(static_cast<double>(x.rows) * options_.model.k);
  encode_batch_topk(context, x, ranked, pairs, out, flag);
}

float BatchTopK::smallest(const SparseCodes& codes, const std::vector<float>& scale) {
  float least = std::numeric_limits<float>::infinity();
  for (int64_t p = 0; p < codes.pairs(); ++p) {
    least = std::min(least,
                     scale.empty() ? codes.values[p] : codes.values[p] * scale[codes.indices[p]]);
  }
  return std::isfinite(least) ? least : 0.0f;
}

void BatchTopK::encode(Context& context, State& state, NumericFlag& flag) {
  choose(context, state, centred(), codes_, flag);
  last_smallest_ = smallest(codes_, rank_scale(context, state));
}

void BatchTopK::step_own(Context&, State& state, const AdamStep&) {
  if (state.step < std::min(kFirstStep, options_.train.steps / 2)) return;
  const auto [place, first] = state.numbers.try_emplace("threshold", last_smallest_);
  if (!first) place->second = kMemory * place->second + (1 - kMemory) * last_smallest_;
}

void BatchTopK::calibrate(Context& context, State& state, ConstMatrix rows) const {
  const Primitives& p = primitives(context.isa());
  std::vector<float> centred(rows.rows * rows.cols);
  for (int64_t i = 0; i < rows.rows; ++i) {
    float* row = centred.data() + i * rows.cols;
    if (geometry_.centred) {
      p.subtract(rows.row(i), state.decoder_bias(), row, rows.cols);
    } else {
      std::copy_n(rows.row(i), rows.cols, row);
    }
  }
  SparseCodes codes;
  NumericFlag flag;
  choose(context, state, {centred.data(), rows.rows, rows.cols}, codes, flag);
  // Encoding is strict, so θ lies just below the smallest value that should pass.
  state.numbers["threshold"] = std::nextafter(smallest(codes, rank_scale(context, state)), 0.0f);
}

Dictionary BatchTopK::dictionary(const State& state) const {
  Dictionary result = Variant::dictionary(state);
  result.info.encoding = "threshold";
  const auto found = state.numbers.find("threshold");
  const auto threshold = static_cast<float>(found == state.numbers.end() ? 0.0 : found->second);
  std::vector<float> values(state.n, threshold);
  Context context({Device::cpu, 1});
  const std::vector<float> scale = rank_scale(context, state);
  for (size_t j = 0; j < scale.size(); ++j)
    values[j] /= std::max(scale[j], std::numeric_limits<float>::min());
  result.extra["threshold"] = {{state.n}, std::move(values)};
  return result;
}

const VariantEntry kBatchTopK{
    .name = "batch_topk",
    .make = make_as<BatchTopK>,
    .learning_rate = topk_learning_rate,
    .batch_threshold = true,
    .freezes = true,
};

}  // namespace assay::sae
