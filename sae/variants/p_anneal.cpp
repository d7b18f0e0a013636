// p-annealing (Karvonen et al. 2024, "Measuring progress in dictionary learning … with board game
// models", 3.2):
//   loss = ‖x − x̂‖² + λ_s Σ z_j^p,  pre = W_enc (x − b_dec) + b_enc,  z = ReLU(pre)
// with unit decoder rows.
// p falls from 1 to 0.2 in ten equal steps. When it falls, λ_s is multiplied by the ratio of the
// mean penalties at the old and the new p over the last ten batches, so that the penalty does not
// jump. The exponents, ten falls and ten batches are dictionary_learning's defaults; the shares of
// the run are ours: annealing begins after a tenth, λ_s rises over the first 5 %, and so is λ_s =
// 0.05. z^p is infinitely steep at 0: (z + 1e-5)^p of every z > 0 is taken in its place, which is
// ours.
#include <algorithm>
#include <cmath>

#include "sae/variants/penalised.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

constexpr double kFirst = 1, kLast = 0.2, kSparsity = 0.05, kBegin = 0.1, kFloor = 1e-5;
constexpr int64_t kUpdates = 10, kBatches = 10;

class PAnneal : public Penalised {
 public:
  explicit PAnneal(const VariantOptions& o) : Penalised(o, {}, kSparsity, 0.05) {}

  State create() const override {
    State state = Penalised::create();
    state.numbers["p"] = kFirst;
    state.numbers["rescale"] = 1;
    return state;
  }

 protected:
  double penalty_weight(const State& state) const override {
    return weight(state) * state.numbers.at("rescale");
  }

  double penalise(Context&, State& state) override {
    const double p = state.numbers["p"];
    const double each = penalty_weight(state) * row_weight();
    for (int64_t pair = 0; pair < codes_.row_offsets[batch_]; ++pair) {
      if (!(codes_.values[pair] > 0)) continue;
      d_values_[pair] +=
          static_cast<float>(each * p * std::pow(codes_.values[pair] + kFloor, p - 1));
    }
    return each * penalty(p);
  }

  /// Ten times in the run p falls; before that, the penalties at both p are averaged.
  void step_own(Context&, State& state, const AdamStep&) override {
    const auto index = [&](int64_t step) {
      const double begin = kBegin * static_cast<double>(options_.train.steps);
      const double each = (static_cast<double>(options_.train.steps) - begin) / kUpdates;
      return std::clamp<int64_t>(
          static_cast<int64_t>(std::floor((static_cast<double>(step) - begin) / each)) + 1, 0,
          kUpdates);
    };
    const int64_t now = index(state.step);
    if (now == kUpdates || index(state.step + kBatches) == now) return;
    const double next = kFirst + (kLast - kFirst) * static_cast<double>(now + 1) / kUpdates;
    state.numbers["before"] += penalty(state.numbers["p"]);
    state.numbers["after"] += penalty(next);
    if (index(state.step + 1) == now) return;
    if (state.numbers["after"] > 0)
      state.numbers["rescale"] *= state.numbers["before"] / state.numbers["after"];
    state.numbers["p"] = next;
    state.numbers["before"] = state.numbers["after"] = 0;
  }

 private:
  double penalty(double p) const {
    double sum = 0;
    for (int64_t pair = 0; pair < codes_.row_offsets[batch_]; ++pair) {
      if (codes_.values[pair] > 0) sum += std::pow(codes_.values[pair] + kFloor, p);
    }
    return sum;
  }
};

}  // namespace

const VariantEntry kPAnneal{
    .name = "p_anneal",
    .make = make_as<PAnneal>,
    .learning_rate = saebench_learning_rate,
    .eps = 1e-8,
    .aux_coefficient = 0,
    .governs = Governs::penalty,
    .freezes = true,
};

}  // namespace assay::sae
