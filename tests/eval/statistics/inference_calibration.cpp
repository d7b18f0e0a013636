// Type I error of the intervals, a row a design: inference_calibration [ROUNDS]. Prints Markdown.
#include <fmt/format.h>

#include <cstdlib>

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
}
