#include "sae/warnings.h"

#include <fmt/core.h>

#include <cmath>

namespace assay::sae {

namespace {

constexpr double kJudgedFrom = 0.1;    // share of the run
constexpr double kTestedRatio = 300;   // tests/experiments/large_mean_test.py
constexpr double kMissedTarget = 0.1;  // share of the target

}  // namespace

std::vector<std::string> warnings_of(const RunFacts& f) {
  std::vector<std::string> found;
  if (f.mean_ratio > kTestedRatio) {
    found.push_back(
        fmt::format("the activations' common mean is {:.4g} times their spread; tested up to {:g}: "
                    "subtract it before you store them",
                    f.mean_ratio, kTestedRatio));
  }
  if (f.share < kJudgedFrom) return found;
  if (f.fvu >= 1) {
    found.push_back(fmt::format(
        "FVU is {:.4g}: worse than predicting the mean; lower train.lr or look at the activations",
        f.fvu));
  }
  if (2 * f.dead > f.latents) {
    found.push_back(
        fmt::format("{} of {} latents are dead: lower model.n or train.lr", f.dead, f.latents));
  }
  if (f.share >= 1 && f.target_l0 > 0 && std::abs(f.l0 / f.target_l0 - 1) > kMissedTarget) {
    found.push_back(
        fmt::format("L0 is {:.4g}, over 10 % from the target {:g}: raise train.steps or train.lr",
                    f.l0, f.target_l0));
  }
  return found;
}

}  // namespace assay::sae
