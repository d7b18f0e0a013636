#include "eval/tasks/unlearning/readings.h"

#include <algorithm>

namespace assay::eval::unlearning {
namespace {

/// Points of damage. Neighbours may lie so close that the line through them says nothing of the
/// frontier; no slope is taken over less.
constexpr double kLeastSpan = .5;

/// Mean over classes of the stronger setting less the weaker.
double rise(const RunOutcome& run, const Mixture& from, const Reading& reading) {
  double sum = 0;
  for (size_t c = 0; c < run.classes.size(); ++c)
    sum += reading(from.stronger[c], run.clean[c], run, c) -
           reading(from.weaker[c], run.clean[c], run, c);
  return sum / static_cast<double>(run.classes.size());
}

}  // namespace

double read_damage(const ClassOutcome& edited, const PanelScores& clean, const RunOutcome&,
                   size_t) {
  return retain_damage(edited.scores, clean);
}

std::vector<double> read_mixture(const RunOutcome& run, const Mixture& from,
                                 const Reading& reading) {
  std::vector<double> values;
  for (size_t c = 0; c < run.classes.size(); ++c)
    values.push_back((1 - from.share) * reading(from.weaker[c], run.clean[c], run, c) +
                     from.share * reading(from.stronger[c], run.clean[c], run, c));
  return values;
}

std::vector<double> read_at_budget(const RunOutcome& run, const Mixture& from,
                                   const Reading& reading) {
  std::vector<double> values = read_mixture(run, from, reading);
  if (!from.budget) return values;
  const double slope =
      rise(run, from, reading) / std::max(kLeastSpan, rise(run, from, read_damage));
  const std::vector<double> damage = read_mixture(run, from, read_damage);
  for (size_t c = 0; c < values.size(); ++c) values[c] -= slope * (damage[c] - *from.budget);
  return values;
}

}  // namespace assay::eval::unlearning
