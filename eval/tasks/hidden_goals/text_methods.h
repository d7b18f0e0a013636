// How an auditor of language models scores candidates from a reading;
// docs/tasks/hidden_goals_text.md has the methods in words.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/tasks/hidden_goals/methods.h"
#include "eval/tasks/hidden_goals/text_data.h"

namespace assay::eval::hidden_goals {

/// direct_query (the ceiling: it asks about every candidate), black_box, black_box_shift,
/// mean_difference, activation_shift and, where there is a lens, logit_lens.
std::vector<GoalScores> score_without_dictionary(const AuditReading& reading,
                                                 const AuditConcepts& concepts);

/// latents_exemplar and, where there is a lens, latents_tokens: dictionary `index` of the reader's.
/// `counts`: numbers of latents that speak.
std::vector<GoalScores> score_by_latents(const AuditReading& reading, const AuditConcepts& concepts,
                                         const sae::Dictionary& dictionary, size_t index,
                                         const std::vector<int64_t>& counts,
                                         const sae::WordHalf* words);

}  // namespace assay::eval::hidden_goals
