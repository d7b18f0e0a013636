// Scores every fix of the spurious-correlation task at every strength, and lets grids go on.
#pragma once

#include "eval/tasks/spurious/scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::spurious {

/// The texts, and what is done with them.
struct SpuriousTexts {
  TextTable table;
  SpuriousPlan plan;
};

/// Every fix at the configured strengths and shares. Where the strength chosen for a half of the
/// classes is the last of its grid, the grid goes on by `wider`, at the headline share, at most
/// kWidenings times: each grid of a dictionary, and each of the activations, by itself, so that no
/// dictionary's numbers depend on what stands beside it.
FixTable score_fixes(const Session& session, const EncodeCache& cache,
                     const SpuriousTexts& planned);

}  // namespace assay::eval::spurious
