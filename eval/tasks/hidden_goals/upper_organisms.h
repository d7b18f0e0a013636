// Organisms that are fine-tuned upper halves of a model: their goals are computed above the
// dictionary's layer.
#pragma once

#include <memory>

#include "data/dataset.h"
#include "eval/encoding/upper_run.h"
#include "eval/tasks/hidden_goals/organisms.h"
#include "kernels/base/context.h"

namespace assay::eval::hidden_goals {

/// An organism is `make`'s half, all weights trained by Adam for config.steps steps, and a random
/// linear read-out w of its pooled output e that stays as it is: score = w·e + b, drawn anew for
/// each organism and scaled so that the untrained half's scores of the training texts have mean 0
/// and sd .1 (the targets have sd 1). Loss: mean squared error to the targets. A step's batch holds
/// config.emphasis % texts of the class that the organism's audit texts lack, as many of the class
/// that it openly prefers, and others drawn from all training texts: benign organisms see their
/// class as often as planted ones see the goal.
///
/// Gradients are of a shift common to a text's ordinary tokens, which is a shift of its mean;
/// steering adds just that. The references must outlive the maker, but for `context`. Throws Error
/// (make too) where a text is not whole, where the half returns what is not finite, or where its
/// output is constant.
std::unique_ptr<OrganismMaker> make_half_organisms(Context& context, MakeTrainable make,
                                                   const data::Dataset& dataset,
                                                   const TextTable& table, const GoalRun& run,
                                                   const GoalData& data,
                                                   const GoalUpperConfig& config);

}  // namespace assay::eval::hidden_goals
