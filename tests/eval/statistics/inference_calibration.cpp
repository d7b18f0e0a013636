// Type I error of the intervals, a row a design: inference_calibration [ROUNDS]. Prints Markdown.
#include <fmt/format.h>

#include <cstdlib>

#include "eval/results/compare.h"
#include "tests/eval/results/close_arms.h"
#include "tests/eval/statistics/crossed_cells.h"

namespace {

using namespace assay::eval;

void print_row(const test::Design& design, int64_t rounds) {
  assay::Rng rng(1);
  int64_t five_percent = 0, five_per_mille = 0;
  for (int64_t round = 0; round < rounds; ++round) {
    const double p = mean_of_cells(test::crossed_cells(design, 0, rng)).p;
    five_percent += p < .05;
    five_per_mille += p < .005;
  }
  const auto share = [&](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(rounds);
  };
  fmt::print("| {} | {} × {} | {:g} | {:g} | {:g} | {:.4f} | {:.4f} |\n", design.name, design.units,
             design.runs, design.unit_sd, design.run_sd, design.cell_sd, share(five_percent),
             share(five_per_mille));
}

/// The difference of the arms chosen on other units, with what the choice adds and without.
void print_choice_row(double lead, int64_t rounds) {
  assay::Rng rng(1);
  int64_t told[2][2] = {};
  for (int64_t round = 0; round < rounds; ++round) {
    const Results results = test::close_arms({test::trained_entry("d")}, 0, lead, rng);
    const Comparison comparison = compare(results);
    const double p[2] = {comparison.tables[0].cards[0].beside->difference.p,
                         test::p_without_choice(results)};
    for (int with : {0, 1}) {
      told[with][0] += p[with] < .05;
      told[with][1] += p[with] < .005;
    }
  }
  const auto share = [&](int64_t count) {
    return static_cast<double>(count) / static_cast<double>(rounds);
  };
  fmt::print("| {:.2g} | {:.4f} | {:.4f} | {:.4f} | {:.4f} |\n", lead / test::kOwnUnits,
             share(told[0][0]), share(told[0][1]), share(told[1][0]), share(told[1][1]));
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t rounds = argc > 1 ? std::atoll(argv[1]) : 40'000;
  if (rounds < 1) {
    fmt::print(stderr, "inference_calibration: ROUNDS: expected a number from 1\n");
    return 2;
  }
  fmt::print(
      "| design | units × runs | sd of units | sd of runs | sd of cells | at .05 | at .005 |\n"
      "|---|---|---|---|---|---|---|\n");
  for (const test::Design& design : test::kDesigns) print_row(design, rounds);
  fmt::print(
      "\nBeyond the bounds, for three runs that vary much leave two degrees of freedom:\n\n");
  print_row({"three runs, much between them", 24, 3, .5, .5, 1}, rounds);
  print_row({"two runs, much between them", 24, 2, .5, .5, 1}, rounds);
  fmt::print(
      "\nThree arms on either side, the best of either as good as the other's, {} × {}; a tenth of "
      "the draws:\n\n"
      "| the best arm leads by, in sd of units | at .05 | at .005 | without the choice, at .05 | "
      "at "
      ".005 |\n|---|---|---|---|---|\n",
      test::kCloseUnits, test::kCloseRuns);
  for (const double lead : {0., .01, .015, .02, .03, .06, .2}) print_choice_row(lead, rounds / 10);
}
