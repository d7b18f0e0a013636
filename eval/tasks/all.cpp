// The tasks there are: the one file that includes them.
#include "eval/tasks/core/core.h"
#include "eval/tasks/core/seed_stability.h"
#include "eval/tasks/core/splice.h"
#include "eval/tasks/debugging/debugging.h"
#include "eval/tasks/hidden_goals/diff.h"
#include "eval/tasks/hidden_goals/hidden_goals.h"
#include "eval/tasks/hidden_goals/text.h"
#include "eval/tasks/hidden_goals/upper.h"
#include "eval/tasks/probing/ood_probing.h"
#include "eval/tasks/probing/probe_regimes.h"
#include "eval/tasks/probing/saebench_probing.h"
#include "eval/tasks/spurious/removal.h"
#include "eval/tasks/spurious/spurious.h"
#include "eval/tasks/task.h"
#include "eval/tasks/unlearning/text.h"
#include "eval/tasks/unlearning/unlearning.h"

namespace assay::eval {

std::vector<std::unique_ptr<Task>> all_tasks() {
  std::vector<std::unique_ptr<Task>> tasks;
  tasks.push_back(core::make_core_task());
  tasks.push_back(core::make_seed_stability_task());
  tasks.push_back(probing::make_ood_probing_task());
  tasks.push_back(debugging::make_debugging_task());
  tasks.push_back(spurious::make_spurious_task());
  tasks.push_back(spurious::make_removal_task());
  tasks.push_back(hidden_goals::make_hidden_goals_task());
  tasks.push_back(hidden_goals::make_hidden_goals_diff_task());
  tasks.push_back(hidden_goals::make_hidden_goals_upper_task());
  tasks.push_back(hidden_goals::make_hidden_goals_text_task());
  tasks.push_back(probing::make_probe_themes_task());
  tasks.push_back(probing::make_probe_regimes_task());
  tasks.push_back(probing::make_saebench_probing_task());
  tasks.push_back(core::make_splice_task());
  tasks.push_back(unlearning::make_unlearning_task());
  tasks.push_back(unlearning::make_unlearning_text_task());
  return tasks;
}

}  // namespace assay::eval
