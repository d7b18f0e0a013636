// Where a method of the unlearning tasks is read: at equal measured damage. Tuning texts say along
// which settings a method grows stronger and where it should stop. The damage on other texts, those
// of the numbers, says how far it goes. What is forgotten on test texts is never looked at.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <vector>

namespace assay::eval::unlearning {

/// A setting by its place in the method's list; none = no edit.
using Setting = std::optional<size_t>;

/// Settings that grow stronger, each with more damage than the one before.
struct Line {
  std::vector<size_t> settings;
  /// What the settings share stands at an edge of its grid: beyond may be better.
  bool outer = false;
};

/// Readings of every setting on tuning texts.
struct Tuning {
  std::vector<double> drop;    ///< share forgotten
  std::vector<double> damage;  ///< mean, in the budgets' unit
  std::vector<double> error;   ///< standard error of the damage
};

/// A line, cut behind its strongest useful setting.
struct Walk {
  std::vector<size_t> settings;  ///< not empty
  bool whole = false;            ///< nothing was cut: the grid ends here
  bool outer = false;            ///< Line::outer
};

/// The line that forgets most on tuning texts within the budget, cut behind the setting that
/// forgets most of all, ties to the earlier. A damage counts with its standard error, and between
/// settings the drop is interpolated. None where no setting forgets anything.
std::optional<Walk> choose_walk(const std::vector<Line>& lines, const Tuning& tuning,
                                double budget);

/// A mixture of two neighbours on a walk: `share` of the stronger, the rest of the weaker.
struct OperatingPoint {
  Setting weaker, stronger;
  double share = 0;
  bool reached = false;  ///< the damage is the budget; else the walk ends below it
  bool edge = false;     ///< on an edge of the grid: a wider one may forget more

  Setting nearer() const { return share < 0.5 ? weaker : stronger; }
  double mix(double of_weaker, double of_stronger) const {
    return (1 - share) * of_weaker + share * of_stronger;
  }
};

/// Measured damages, of the settings that were measured.
using Damages = std::map<size_t, double>;

/// The setting to measure next: from the strongest down to the first within the budget; none when
/// that is known.
Setting next_to_measure(const Walk& walk, const Damages& damages, double budget);

/// The strongest setting within the budget, mixed with the next stronger one until the damage is
/// the budget. No edit has damage 0. Nothing is extrapolated: where the end of the walk is within
/// the budget it is the operating point, and `reached` is false. Needs what next_to_measure names.
OperatingPoint operating_point(const std::optional<Walk>& walk, const Damages& damages,
                               double budget);

}  // namespace assay::eval::unlearning
