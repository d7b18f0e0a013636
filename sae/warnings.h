// What a run's own numbers say against it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace assay::sae {

struct RunFacts {
  double fvu = 0, l0 = 0;  ///< means over the steps since the line before
  int64_t dead = 0, latents = 0;
  double share = 1;       ///< of the run that is done
  double mean_ratio = 0;  ///< ‖μ‖ / σ of the activations, the largest of the hooks
  double target_l0 = 0;   ///< what a penalty aims at; 0: nothing
};

/// One line each, in a fixed order; none where nothing speaks against the run. The first tenth of a
/// run is not judged, and L0 only at the end.
std::vector<std::string> warnings_of(const RunFacts& facts);

}  // namespace assay::sae
