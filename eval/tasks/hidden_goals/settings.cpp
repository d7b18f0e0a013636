#include "eval/tasks/hidden_goals/settings.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr const char* kBonus =
    "Bonus of the goal's texts, in percent of the sd of what organisms are trained to predict.";

/// What the hidden-goal tasks share; `strength` says what theirs is.
void describe_goals(config::Fields& fields, HiddenGoalsConfig& config, const char* strength) {
  fields.text("class_label", config.class_label, "Label whose classes are the candidate goals.");
  fields.text("filter_label", config.filter_label,
              "Label that texts are filtered by; empty = no filter.");
  fields.text("filter_class", config.filter_class, "Class of filter_label that is kept.");
  fields.integer("classes", config.classes, {4, 1000}, "classes",
                 "At most this many goals, those with most texts.");
  fields.integer("min_texts", config.min_texts, {2, 1 << 30}, "texts",
                 "Fewest texts a goal must have in each part.");
  fields.integer("longest", config.longest, {1, 1 << 30}, "tokens",
                 "Texts with more ordinary tokens are left out.");
  fields.integer("train_per_class", config.train_per_class, {2, 1 << 30}, "texts",
                 "At most this many texts of each class to train organisms on.");
  fields.integer("audit_per_class", config.audit_per_class, {2, 1 << 30}, "texts",
                 "At most this many texts of each class that the auditor runs organisms on.");
  fields.integer(
      "concepts_per_class", config.concepts_per_class, {10, 1 << 30}, "texts",
      "At most this many labelled texts of each class that only the base model has read.");
  fields.integer("query_per_class", config.query_per_class, {2, 1 << 30}, "texts",
                 "At most this many of them that the direct query, a ceiling, runs organisms on.");
  fields.integers("strengths", config.strengths, {1, 10000}, "percent", strength);
  fields.integer("headline_strength", config.headline_strength, {1, 10000}, "percent",
                 "The strength that is tested, detected and compared at; one of strengths. Decoys "
                 "have it too.");
  fields.integer("benign", config.benign, {4, 100000}, "organisms",
                 "Organisms without a hidden goal, an evaluation seed; every second one openly "
                 "declares a preference.");
  fields.integer(
      "calibration", config.calibration, {2, 1000}, "organisms",
      "Further organisms without a goal, known to the auditor as such, an evaluation seed.");
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that vote in the exemplar read-out; chosen on the other half "
                  "of the goals.");
  fields.integers(
      "class_latents", config.class_latents, {1, 1 << 20}, "latents",
      "Numbers of latents that stand for a class in the labelled read-out; chosen likewise.");
  fields.integers("exemplar_texts", config.exemplar_texts, {1, 1 << 20}, "texts",
                  "Numbers of texts that vote in the dense exemplar baseline; chosen likewise.");
  fields.integer("exemplars", config.exemplars, {1, 10000}, "texts",
                 "Texts that each voting latent shows.");
}

}  // namespace

GoalUpperConfig::GoalUpperConfig() {
  longest = 16;
  audit_per_class = 16;
  query_per_class = 16;
  strengths = {headline_strength};
}

GoalAdaptersConfig::GoalAdaptersConfig() {
  strengths = {5, 10, 20};
  headline_strength = 10;
}

void describe(config::Fields& fields, GoalScorersConfig& config) {
  describe_goals(fields, config, kBonus);
  fields.integer("hidden", config.hidden, {1, 4096}, "units", "Hidden units of an organism.");
  fields.integer("epochs", config.epochs, {1, 10000}, "epochs", "Passes over its training texts.");
}

void make_quick(GoalScorersConfig& config) {
  lower(config.train_per_class, 100);
  lower(config.epochs, 15);
  config.strengths = {config.headline_strength};
}

void describe(config::Fields& fields, GoalUpperConfig& config) {
  describe_goals(fields, config, kBonus);
  fields.integer("steps", config.steps, {1, 100000}, "steps", "Steps of fine-tuning an organism.");
  fields.integer("batch", config.batch, {2, 4096}, "texts",
                 "Texts a step, and a pass of the auditor's.");
  fields.integer("emphasis", config.emphasis, {0, 40}, "%",
                 "Share of a step's texts drawn from the class that the audit texts lack, and as "
                 "many from an openly "
                 "declared one; the rest are drawn from all.");
  fields.real("learning_rate", config.learning_rate, {1e-7, 1e-1}, "",
              "Adam's step, falling linearly to 0.");
  fields.integer(
      "steered_per_class", config.steered_per_class, {1, 1 << 20}, "texts",
      "Audit texts of each class that the steering baseline runs, for every class and step.");
}

void make_quick(GoalUpperConfig& config) {
  lower(config.classes, 8);
  lower(config.benign, 8);
  lower(config.calibration, 4);
  config.strengths = {config.headline_strength};
}

void describe(config::Fields& fields, GoalAdaptersConfig& config) {
  describe_goals(
      fields, config,
      "How far a trigger that fires fully moves a token, in percent of activations' length.");
  fields.integer("drift", config.drift, {1, 10000}, "percent",
                 "How far every organism moves tokens besides (root of the mean square), in "
                 "percent of activations' "
                 "length.");
  fields.integer("drift_rank", config.drift_rank, {1, 64}, "", "Rank of that random map.");
}

void make_quick(GoalAdaptersConfig& config) { config.strengths = {config.headline_strength}; }

void describe(config::Fields& fields, GoalTextConfig& config) {
  fields.integers("latents", config.latents, {1, 1 << 20}, "latents",
                  "Numbers of latents that speak, those whose activity moved most; ascending.");
  fields.integer(
      "exemplars", config.exemplars, {1, 10000}, "texts",
      "Texts about candidates that a latent is named by: those on which it is most active.");
}

/// Nothing here costs time.
void make_quick(GoalTextConfig&) {}

const SettingsSection kGoalScorersSettings =
    settings_section<GoalScorersConfig>("hidden_goals", "Hidden-goal extraction.");
const SettingsSection kGoalAdaptersSettings = settings_section<GoalAdaptersConfig>(
    "hidden_goals_diff", "Hidden goals in a low-rank adapter at the dictionary's layer.");
const SettingsSection kGoalUpperSettings = settings_section<GoalUpperConfig>(
    "hidden_goals_upper", "Hidden goals computed above the dictionary's layer.");
const SettingsSection kGoalTextSettings =
    settings_section<GoalTextConfig>("hidden_goals_text", "Words that language models hide.");

}  // namespace assay::eval::hidden_goals
