// The tasks there are, and their sections of settings: the one file that includes them. Adding a
// task is an include and a line in either table.
#include "eval/tasks/attention_probing/attention_probing.h"
#include "eval/tasks/attention_probing/settings.h"
#include "eval/tasks/core/core.h"
#include "eval/tasks/core/seed_stability.h"
#include "eval/tasks/core/settings.h"
#include "eval/tasks/core/splice.h"
#include "eval/tasks/debugging/debugging.h"
#include "eval/tasks/hidden_goals/diff.h"
#include "eval/tasks/hidden_goals/hidden_goals.h"
#include "eval/tasks/hidden_goals/settings.h"
#include "eval/tasks/hidden_goals/text.h"
#include "eval/tasks/hidden_goals/upper.h"
#include "eval/tasks/probing/ood_probing.h"
#include "eval/tasks/probing/probe_regimes.h"
#include "eval/tasks/probing/saebench_probing.h"
#include "eval/tasks/probing/settings.h"
#include "eval/tasks/spurious/removal.h"
#include "eval/tasks/spurious/settings.h"
#include "eval/tasks/spurious/spurious.h"
#include "eval/tasks/task.h"
#include "eval/tasks/unlearning/settings.h"
#include "eval/tasks/unlearning/text.h"
#include "eval/tasks/unlearning/unlearning.h"

namespace assay::eval {

const std::vector<const TaskEntry*>& task_entries() {
  static const std::vector<const TaskEntry*> all{
      &core::kCore,
      &core::kSeedStability,
      &probing::kOodProbing,
      &debugging::kDebugging,
      &spurious::kSpurious,
      &spurious::kTargetedRemoval,
      &hidden_goals::kHiddenGoals,
      &hidden_goals::kHiddenGoalsDiff,
      &hidden_goals::kHiddenGoalsUpper,
      &hidden_goals::kHiddenGoalsText,
      &probing::kProbeThemes,
      &probing::kProbeRegimes,
      &probing::kSaebenchProbing,
      &attention_probing::kAttentionProbing,
      &core::kSplice,
      &unlearning::kUnlearning,
      &unlearning::kUnlearningText,
  };
  return all;
}

const std::vector<const SettingsSection*>& settings_sections() {
  static const std::vector<const SettingsSection*> all{
      &probing::kOodSettings,
      &hidden_goals::kGoalScorersSettings,
      &hidden_goals::kGoalAdaptersSettings,
      &hidden_goals::kGoalUpperSettings,
      &probing::kRegimesSettings,
      &probing::kThemesSettings,
      &core::kCoreSettings,
      &core::kStabilitySettings,
      &spurious::kSpuriousSettings,
      &hidden_goals::kGoalTextSettings,
      &core::kSpliceSettings,
      &unlearning::kUnlearningSettings,
      &unlearning::kUnlearningTextSettings,
      &attention_probing::kAttentionSettings,
  };
  return all;
}

}  // namespace assay::eval
