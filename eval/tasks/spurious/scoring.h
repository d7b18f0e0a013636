// Scores every fix of the spurious-correlation task at every strength, and lets grids go on.
#pragma once

#include "eval/tasks/spurious/grids.h"
#include "eval/tasks/spurious/scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::spurious {

/// The texts, and what is done with them.
struct SpuriousTexts {
  TextTable table;
  SpuriousPlan plan;
};

/// Is this strength what a fix of the grid, controls apart, was chosen at for a half of the
/// classes? At the headline share.
bool chosen_at(const FixTable& table, const GridEntry& grid, std::optional<size_t> dictionary,
               int64_t strength, const std::vector<int8_t>& fold);

/// Every fix at the configured strengths and shares. Where the strength chosen for a half of the
/// classes is the last of its grid, the grid goes on by `wider`, at the headline share, at most
/// kWidenings times: each grid of a dictionary, and each of the activations, by itself, so that no
/// dictionary's numbers depend on what stands beside it. Controls of a fix widen nothing.
/// `details` gets "random_latents": how well they match, by dictionary and number.
FixTable score_fixes(const Session& session, const EncodeCache& cache, const SpuriousTexts& planned,
                     nlohmann::json& details);

}  // namespace assay::eval::spurious
