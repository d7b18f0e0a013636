#include "sae/variants/penalised.h"

#include <algorithm>
#include <cmath>

#include "kernels/encode_threshold.h"

namespace assay::sae {

Penalised::Penalised(const VariantOptions& options, Geometry geometry, double sparsity,
                     double warmup)
    : Variant(options, std::move(geometry)),
      sparsity_(options.model.sparsity > 0 ? options.model.sparsity : sparsity),
      warmup_(options.model.sparsity_warmup >= 0 ? options.model.sparsity_warmup : warmup) {}

void Penalised::encode(Context& context, State& state, NumericFlag& flag) {
  const std::vector<float> theta = thresholds(state);
  encode_threshold(context, centred(), encoder(state), theta.data(), band_, codes_, &pre_, flag);
}

double Penalised::weight(const State& state) const {
  const double steps = warmup_ * static_cast<double>(options_.train.steps);
  return sparsity_ * std::min(1.0, static_cast<double>(state.step + 1) / std::max(steps, 1.0));
}

Dictionary Penalised::dictionary(const State& state) const {
  Dictionary result = Variant::dictionary(state);
  result.info.encoding = "threshold";
  const auto l0 = state.numbers.find("l0");
  if (l0 != state.numbers.end()) {
    result.info.k = std::clamp<int64_t>(std::llround(l0->second), 1, state.n);
  }
  result.extra["threshold"] = {{state.n}, thresholds(state)};
  return result;
}

}  // namespace assay::sae
