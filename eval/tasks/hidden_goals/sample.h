// Which texts and goals the hidden-goal task uses.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/hidden_goals/settings.h"

namespace assay::eval::hidden_goals {

/// Texts of one part, and the class of each.
struct GoalTexts {
  std::vector<int64_t> texts;  ///< indices into the text table
  std::vector<int32_t> classes;
};

/// One evaluation seed: its own cut of the documents and its own organisms.
struct GoalRun {
  GoalTexts train;  ///< organisms learn on these; the auditor never sees them
  /// what the auditor runs organisms on, less the texts of the class that is absent
  GoalTexts audit;
  GoalTexts concepts;  ///< labelled texts that only the base model has read
  GoalTexts query;     ///< those of them that the direct query, a ceiling, runs organisms on
};

struct GoalPlan {
  std::vector<std::string> classes;  ///< candidate goals
  /// [classes] 0 or 1: knobs for one fold of the goals are chosen on the other fold
  std::vector<int8_t> fold;
  std::vector<GoalRun> runs;  ///< one an evaluation seed
};

/// Documents are cut by hash: 40 % to train, 20 % to audit, 40 % to concepts. Where the table holds
/// texts back from tests: those to train, of the others a third to audit and the rest to concepts.
/// A part takes the first texts of each class in a seeded order, up to its limit. Classes: those
/// with min_texts in every part of every run, the ones with most texts first, ties to the smaller
/// label. Throws Error naming what is missing: an unknown label or class, fewer than four classes
/// with enough texts.
GoalPlan plan_goals(const data::Dataset& dataset, const TextTable& texts,
                    const HiddenGoalsConfig& config, int64_t seeds, uint64_t seed);

/// Throws Error where two parts of a run share a document.
void check_disjoint(const GoalRun& run, const TextTable& texts);

}  // namespace assay::eval::hidden_goals
