#include "eval/results/power.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/results/text.h"
#include "eval/statistics/inference.h"

namespace assay::eval {
namespace {

std::string needed_text(const Spread& spread, int64_t runs, double difference) {
  const auto units = units_needed(spread, runs, difference);
  return units ? fmt::format("{} takes {} units", difference, *units)
               : fmt::format("no number of units tells {}", difference);
}

}  // namespace

std::optional<Spread> published_spread(std::string_view task, std::string_view metric,
                                       std::string_view part) {
  // SPREADS
  static constexpr Spread kMeasured[] = {
      {"ood_probing", "auroc", "ood", .00258, .00002, .00049},
  };
  for (const Spread& measured : kMeasured)
    if (measured.task == task && measured.metric == metric && measured.part == part)
      return measured;
  return std::nullopt;
}

std::optional<double> detectable(const Spread& spread, int64_t units, int64_t runs) {
  if (units < 2 || runs < 1) return std::nullopt;
  const auto u = static_cast<double>(units), r = static_cast<double>(runs);
  // What the mean squares of the two-way layout will be, over u·r.
  const double by_unit = (r * spread.units + spread.cells) / (u * r);
  if (runs < 3 || spread.runs == 0) return detectable(std::sqrt(by_unit), u - 1);
  const double by_run = (u * spread.runs + spread.cells) / (u * r), cells = spread.cells / (u * r);
  const double sum = by_unit + by_run - cells;
  const double df = sum * sum /
                    (by_unit * by_unit / (u - 1) + by_run * by_run / (r - 1) +
                     cells * cells / ((u - 1) * (r - 1)));
  return detectable(std::sqrt(sum), std::max(df, std::min(u, r) - 1));
}

std::optional<int64_t> units_needed(const Spread& spread, int64_t runs, double difference) {
  constexpr int64_t kMost = 10'000;
  for (int64_t units = kUnitsToTell; units <= kMost; ++units)
    if (detectable(spread, units, runs) <= difference) return units;
  return std::nullopt;
}

std::string power_text(const std::optional<Spread>& spread, int64_t units, int64_t runs) {
  std::string text = fmt::format("{} units, {} run{}: ", units, runs, runs == 1 ? "" : "s");
  if (units < kUnitsToTell)
    text += fmt::format("describes, for it takes {} units to tell; ", kUnitsToTell);
  if (!spread) return text + "how much they vary was never measured";
  if (const auto least = detectable(*spread, units, runs); least && units >= kUnitsToTell)
    text += fmt::format("would tell {} apart; ", value_text(*least));
  return text + needed_text(*spread, runs, .05) + ", " + needed_text(*spread, runs, .02);
}

}  // namespace assay::eval
