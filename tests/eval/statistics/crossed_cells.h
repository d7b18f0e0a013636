// Cells of crossed units and runs with known variances, for tests of intervals and their
// calibration.
#pragma once

#include <vector>

#include "eval/statistics/inference.h"
#include "kernels/base/random.h"

namespace assay::eval::test {

/// Standard deviations of what units share, of what runs share, and of single cells.
struct Design {
  const char* name;
  int64_t units, runs;
  double unit_sd, run_sd, cell_sd;
};

/// The designs of the tasks' tables, their variances those of the quickstart's differences between
/// dictionary and best baseline (components of the analysis of variance, 2026-11), and three with
/// more between runs than any of them has.
inline constexpr Design kDesigns[] = {
    {"ood_probing", 15, 4, .051, .004, .022},  {"spurious", 8, 4, .050, .017, .074},
    {"targeted_removal", 8, 4, .038, 0, .016}, {"probe_regimes, noise", 15, 4, .051, .035, .029},
    {"unlearning", 13, 1, .147, 0, 0},         {"hidden_goals", 24, 2, .217, 0, .323},
    {"cells alone", 24, 2, 0, 0, 1},           {"units dominate", 8, 4, 1, 0, .1},
    {"units dominate", 6, 16, 1, 0, .1},       {"units dominate", 15, 4, 1, 0, .1},
    {"runs vary like units", 8, 8, 1, 1, 1},   {"runs vary somewhat", 15, 4, 1, .3, .3},
    {"many units", 40, 5, 1, .2, 1},
};

/// Mean 0 + `mean` in every cell.
inline std::vector<Cell> crossed_cells(const Design& design, double mean, Rng& rng) {
  std::vector<double> unit(static_cast<size_t>(design.units)),
      run(static_cast<size_t>(design.runs));
  for (double& value : unit) value = design.unit_sd * rng.normal();
  for (double& value : run) value = design.run_sd * rng.normal();
  std::vector<Cell> cells;
  for (int64_t u = 0; u < design.units; ++u)
    for (int64_t r = 0; r < design.runs; ++r)
      cells.push_back({u, r,
                       mean + unit[static_cast<size_t>(u)] + run[static_cast<size_t>(r)] +
                           design.cell_sd * rng.normal()});
  return cells;
}

}  // namespace assay::eval::test
