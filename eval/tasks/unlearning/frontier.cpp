#include "eval/tasks/unlearning/frontier.h"

#include <algorithm>

namespace assay::eval::unlearning {
namespace {

/// The walk along one line, and what it forgets on tuning texts within the budget.
struct Candidate {
  Walk walk;
  double drop = 0;
};

Candidate cut(const Line& line, const Tuning& tuning, double budget) {
  const auto best =
      std::max_element(line.settings.begin(), line.settings.end(),
                       [&](size_t a, size_t b) { return tuning.drop[a] < tuning.drop[b]; });
  Candidate candidate;
  candidate.walk = {{line.settings.begin(), best + 1}, best + 1 == line.settings.end(), line.outer};
  Damages damages;
  for (const size_t setting : candidate.walk.settings)
    damages[setting] = tuning.damage[setting] + tuning.error[setting];
  const OperatingPoint point = operating_point(candidate.walk, damages, budget);
  const auto drop = [&](Setting setting) { return setting ? tuning.drop[*setting] : 0; };
  candidate.drop = point.mix(drop(point.weaker), drop(point.stronger));
  return candidate;
}

}  // namespace

std::optional<Walk> choose_walk(const std::vector<Line>& lines, const Tuning& tuning,
                                double budget) {
  std::optional<Walk> best;
  double best_drop = 0;
  for (const Line& line : lines) {
    Candidate candidate = cut(line, tuning, budget);
    if (!(candidate.drop > best_drop)) continue;
    best = std::move(candidate.walk);
    best_drop = candidate.drop;
  }
  return best;
}

Setting next_to_measure(const Walk& walk, const Damages& damages, double budget) {
  for (auto setting = walk.settings.rbegin(); setting != walk.settings.rend(); ++setting) {
    const auto known = damages.find(*setting);
    if (known == damages.end()) return *setting;
    if (known->second <= budget) break;
  }
  return std::nullopt;
}

OperatingPoint operating_point(const std::optional<Walk>& walk, const Damages& damages,
                               double budget) {
  OperatingPoint point;
  if (!walk) return point;
  for (auto setting = walk->settings.rbegin(); setting != walk->settings.rend(); ++setting) {
    point.weaker = *setting;
    if (damages.at(*setting) <= budget) break;
    point.stronger = point.weaker;
    point.weaker = std::nullopt;
  }
  point.edge = walk->outer;
  if (!point.stronger) {
    point.stronger = point.weaker;
    point.edge |= walk->whole;
    return point;
  }
  const double below = point.weaker ? damages.at(*point.weaker) : 0;
  point.share = (budget - below) / (damages.at(*point.stronger) - below);
  point.reached = true;
  return point;
}

}  // namespace assay::eval::unlearning
