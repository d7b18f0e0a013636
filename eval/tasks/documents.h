// Which documents test texts come from (eval.documents): all, or those that no dictionary under
// evaluation trained on.
#pragma once

#include <string>
#include <vector>

#include "data/split.h"
#include "eval/tasks/task.h"

namespace assay::eval {

/// What the session's dictionaries say of their training. A random control never trained.
struct TrainingSplits {
  std::vector<data::SplitRule> rules;  ///< of those that trained on this data set
  std::vector<std::string> unknown;    ///< names of those that do not say, or name another data set
};
TrainingSplits training_splits(const Session& session);

/// A task's plan, and what it asks of the encoding pass.
struct PlannedTexts {
  TaskPlan plan;
  EncodeRequest request;
  std::string documents;  ///< where the test texts come from, one line; empty if the task has none
};

/// Plans by eval.documents. "unseen": test texts come only from documents in no dictionary's
/// training split. "auto": the same, if that leaves out no unit (class, goal, data set) that is
/// tested on all documents, each with the texts the task demands in every test part; else all.
/// Throws what planning throws, and Error where unseen documents are asked for and a dictionary
/// does not say what it trained on.
PlannedTexts plan_texts(const Session& session, const Task& task);

}  // namespace assay::eval
