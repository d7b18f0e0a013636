#include "sae/metrics_log.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace assay::sae {

void MetricsLog::add(const StepReport& report, int64_t steps) {
  const auto weight = static_cast<double>(steps);
  state_.steps += steps;
  state_.loss += weight * report.loss;
  state_.fvu += weight * report.fvu;
  state_.aux_loss += weight * report.aux_loss;
  state_.l0 += weight * report.l0;
}

MetricsLog::Line MetricsLog::write(int64_t step, int64_t tokens, int64_t dead, double lr,
                                   int64_t tokens_since, double seconds) {
  const auto count = static_cast<double>(std::max<int64_t>(1, state_.steps));
  const Line line{step,
                  tokens,
                  dead,
                  state_.loss / count,
                  state_.fvu / count,
                  state_.aux_loss / count,
                  state_.l0 / count,
                  lr,
                  static_cast<double>(tokens_since) / std::max(seconds, 1e-9)};
  const nlohmann::json json{{"step", line.step},
                            {"tokens", line.tokens},
                            {"loss", line.loss},
                            {"fvu", line.fvu},
                            {"aux_loss", line.aux_loss},
                            {"l0", line.l0},
                            {"dead", line.dead},
                            {"lr", line.lr},
                            {"tokens_per_s", line.tokens_per_s}};
  file_.write(json.dump() + "\n");
  state_ = {};
  return line;
}

MetricsState MetricsLog::sync() {
  state_.bytes = file_.sync();
  return state_;
}

std::vector<std::pair<std::string, float>> scalars_of(const MetricsLog::Line& line) {
  const auto f = [](auto value) { return static_cast<float>(value); };
  return {{"train/loss", f(line.loss)},
          {"train/fvu", f(line.fvu)},
          {"train/aux_loss", f(line.aux_loss)},
          {"train/l0", f(line.l0)},
          {"train/dead", f(line.dead)},
          {"train/learning_rate", f(line.lr)},
          {"speed/tokens_per_s", f(line.tokens_per_s)}};
}

}  // namespace assay::sae
