#include "sae/ema.h"

#include <algorithm>
#include <cmath>

#include "kernels/primitives.h"
#include "sae/blocks.h"

namespace assay::sae {

void start_average(State& state) {
  for (const auto& [name, parameter] : state.parameters) state.averaged[name] = parameter.value;
}

void average(Context& context, State& state, double decay) {
  const auto t = static_cast<double>(state.step);
  const auto keep = static_cast<float>(std::min(decay, (1 + t) / (10 + t)));
  constexpr int64_t kBlock = 4096;
  for (auto& [name, a] : state.averaged) {
    const std::vector<float>& p = state.at(name).value;
    float* out = a.data();
    const auto count = static_cast<int64_t>(p.size());
    context.pool().run((count + kBlock - 1) / kBlock, [&](int64_t task, int) {
      for (int64_t i = task * kBlock; i < std::min(count, (task + 1) * kBlock); ++i) {
        out[i] = keep * out[i] + (1 - keep) * p[i];
      }
    });
  }
}

void publish_average(Context& context, State& state, bool unit_norm) {
  for (const auto& [name, a] : state.averaged) state.at(name).value = a;
  if (unit_norm && state.averaged.count("W_dec") > 0) {
    const Primitives& p = primitives(context.isa());
    float* decoder = state.at("W_dec").value.data();
    parallel_for(context, state.n, [&](int64_t j) {
      float* row = decoder + j * state.d_out;
      const float squares = p.dot(row, row, state.d_out);
      if (squares > 0) p.scale(1 / std::sqrt(squares), row, state.d_out);
    });
  }
  state.screen.refresh(context, state.encoder());
}

}  // namespace assay::sae
