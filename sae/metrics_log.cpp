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

MetricsLog::Line MetricsLog::means() const {
  const auto count = static_cast<double>(std::max<int64_t>(1, state_.steps));
  Line line;
  line.loss = state_.loss / count;
  line.fvu = state_.fvu / count;
  line.aux_loss = state_.aux_loss / count;
  line.l0 = state_.l0 / count;
  return line;
}

void MetricsLog::write(const Line& line) {
  nlohmann::json json{{"step", line.step},
                      {"tokens", line.tokens},
                      {"loss", line.loss},
                      {"fvu", line.fvu},
                      {"aux_loss", line.aux_loss},
                      {"l0", line.l0},
                      {"dead", line.dead},
                      {"lr", line.lr},
                      {"tokens_per_s", line.tokens_per_s}};
  if (line.sparsity > 0) json["sparsity"] = line.sparsity;
  if (!line.warnings.empty()) json["warnings"] = line.warnings;
  file_.write(json.dump() + "\n");
  state_ = {};
}

MetricsState MetricsLog::sync() {
  state_.bytes = file_.sync();
  return state_;
}

std::vector<std::pair<std::string, float>> scalars_of(const MetricsLog::Line& line) {
  const auto f = [](auto value) { return static_cast<float>(value); };
  std::vector<std::pair<std::string, float>> scalars{{"train/loss", f(line.loss)},
                                                     {"train/fvu", f(line.fvu)},
                                                     {"train/aux_loss", f(line.aux_loss)},
                                                     {"train/l0", f(line.l0)},
                                                     {"train/dead", f(line.dead)},
                                                     {"train/learning_rate", f(line.lr)},
                                                     {"speed/tokens_per_s", f(line.tokens_per_s)}};
  if (line.sparsity > 0) scalars.emplace_back("train/sparsity", f(line.sparsity));
  return scalars;
}

}  // namespace assay::sae
