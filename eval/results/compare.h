// Any number of dictionaries compared, from the scores of a results file alone
// (TaskResult::scores): score cards, paired differences, rankings, and how far each metric can be
// trusted. docs/comparing.md has the rules.
//
// Differences are signed so that positive is better, whatever the metric. Intervals are Student's t
// over units and runs (eval/statistics/inference.h), unadjusted; p are exact, and adjusted by Holm
// within a family: the verdicts of all tables and dictionaries together, all controls of a table,
// all its pairs of dictionaries, all its pairs of settings. A table of fewer than kUnitsToTell
// units describes: nothing in it is told apart. Tasks that are withheld or failed are left out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/results/planted_truth.h"
#include "eval/results/results.h"
#include "eval/statistics/inference.h"
#include "eval/statistics/power.h"

namespace assay::eval {

/// L0 of two dictionaries counts as matched within this share.
inline constexpr double kMatchedL0 = 0.05;
/// Dictionary seeds that a setting needs before it is ranked.
inline constexpr int64_t kRankingSeeds = 3;

/// a − b on the same cells.
struct Paired {
  std::string a, b;  ///< dictionaries, settings, or the arm of a baseline
  Estimate difference;
  std::optional<double> p_holm;    ///< nothing if the pair stands in no family
  std::optional<double> l0_ratio;  ///< L0 of a over L0 of b, where both are known
  bool matched = false;            ///< both L0 are known and within kMatchedL0
};

/// A pair of settings, or of single dictionaries, and whether one may be called better.
struct RankedPair : Paired {
  /// Training seeds a setting with which a difference of this size would exceed the reseed spread;
  /// of settings.
  std::optional<int64_t> seeds_needed;
  bool ranked = false;
  std::string reason;  ///< why not; "" where ranked
};

/// An arm chosen on other units: units are cut in two by turns, and each half takes the arm that is
/// best on the other half (ties to the arm listed first). No choice is made on the units it is
/// scored on.
struct ChosenArm {
  /// "latents_top16", or both halves' choices: "latents_top4 / latents_top16"
  std::string methods;
  std::string labels;  ///< the same for people
  Estimate value;
};

enum class Verdict {
  describes,      ///< the table has too few units to tell
  baseline_wins,  ///< the difference is below 0 after Holm over all verdicts
  open,           ///< it is not told apart from 0, or the arm ahead is no better than chance
  dictionary_leads
};

/// One dictionary in one table.
struct Card {
  std::string dictionary, null_kind;
  std::string method, label;  ///< the headline arm, fixed beforehand, and its words
  Estimate value;
  std::optional<ChosenArm> chosen;  ///< where the table has 2 or more units
  /// chosen − best baseline, both chosen on other units; trained dictionaries
  std::optional<Paired> beside;
  Verdict verdict = Verdict::open;  ///< of `beside`
  /// what `beside` would have told in four of five evaluations, at Holm's strictest step
  std::optional<double> detectable;
  /// the same as `beside`, of a control: none may lead
  std::optional<Paired> control_beside;
  /// headline − the control's headline, for its own and for passed controls
  std::vector<Paired> minus_nulls;
};

/// Dictionaries whose configurations differ in their training seed alone
/// (DictionaryEntry::setting); one that does not say its configuration stands alone.
struct Setting {
  std::string name;  ///< for people, unique
  std::vector<std::string> members;
  double mean = 0;
  std::optional<double> sd;  ///< over the members' means; of 2 or more
};

/// The reliability card: how far a metric can be trusted, from what stands in the table and from
/// planted dictionaries.
struct Reliability {
  /// between evaluation runs of one dictionary, pooled; of a single run; from three runs on
  std::optional<double> rerun_sd;
  int64_t runs = 0;                 ///< evaluation runs a value averages
  std::optional<double> reseed_sd;  ///< between training seeds of one setting, pooled over settings
  int64_t reseed_df = 0;            ///< its degrees of freedom
  // Differences that would be told from 0 at .05 in four of five such comparisons.
  /// of two settings of kRankingSeeds seeds each, beside reseeding: √(2/3)·reseed_sd
  std::optional<double> detectable;
  /// of two dictionaries evaluated apart, beside evaluating once more: √(2/runs)·rerun_sd, whose
  /// degrees of freedom are the runs less 1, for all dictionaries share their cuts
  std::optional<double> rerun_detectable;
  /// of a dictionary and the best baseline on these units: the largest Card::detectable
  std::optional<double> verdict_detectable;
  /// smallest headline − control over trained dictionaries and controls
  std::optional<double> null_gap;
  bool separates_null = false;  ///< every such difference is above 0 after Holm
  std::optional<PlantedTruth> truth;
};

struct ScoreTable {
  std::string task, metric, part;
  std::string title;         ///< "Out-of-distribution probing: AUROC, out of distribution"
  std::string metric_label;  ///< "AUROC"
  std::string caveat;        ///< the task's; stands behind every verdict
  bool higher_is_better = true;
  std::optional<double> chance;  ///< MetricEntry::chance
  int64_t units = 0, runs = 0;
  std::optional<ChosenArm> baseline;  ///< the best baseline, chosen on other units
  std::vector<Card> cards;            ///< in the order of the results' dictionaries
  std::vector<RankedPair> pairs;      ///< of trained dictionaries
  std::vector<Setting> settings;
  std::vector<RankedPair> setting_pairs;
  Reliability reliability;
  /// Controls that are ahead of the best baseline: what they are ahead in is not learnt.
  std::vector<std::string> leading_controls;
  /// Of the differences Card::beside, the mean over trained dictionaries.
  std::optional<Spread> spread;
};

/// Did a metric pass its own checks on this run, and what may it be used for?
struct MetricState {
  std::string task, metric, part;
  std::string title;  ///< as ScoreTable's
  /// the task's checks hold, every control is beaten and none leads, and the metric follows the
  /// truth on planted dictionaries if that was measured
  bool passed = false;
  int64_t checks_passed = 0, checks = 0;
  /// "told apart", "not told apart", "none ran"; "" where the task is withheld
  std::string controls;
  std::string use;  ///< what it may be used for, in words
};

struct Comparison {
  std::vector<ScoreTable> tables;
  std::vector<MetricState> panel;  ///< every metric with scores, those of withheld tasks too
};

/// Throws Error where a table's arms do not cover the same cells, or a dictionary has not exactly
/// one headline.
Comparison compare(const Results& results);

/// The comparison's name among the tasks of a results file.
inline constexpr const char* kComparisonTask = "comparison";

/// The comparison as a task of the results file: numbers with intervals, and flat tables in
/// details.
TaskResult comparison_task(const Comparison& comparison);

/// Several results of the same data, settings, seed and split as one, so that dictionaries
/// evaluated apart compare. Names met again with another hash get " (2)"; a dictionary met again
/// (same name and hash) counts once. nullopt with `why` where they do not belong together. Task
/// details, checks of the first; numbers and scores of all.
std::optional<Results> merge_results(const std::vector<const Results*>& parts, std::string& why);

/// Why `now` cannot be added to the `earlier` results of one folder: other data, split, seed or
/// version, or other settings of a task that both have; "" where it can. Tasks of `now` need only
/// name and details.settings, so this can be asked before the work.
std::string why_not_added(const Results& earlier, const Results& now);

/// The earlier results with what `now` adds: tasks, and of tasks that both have the dictionaries
/// that the earlier had nothing of. A task that failed gives way to one that did not. Dictionaries
/// are named as merge_results does; the task "comparison" is left out, for it is made anew.
Results add_results(const Results& earlier, Results now);

/// Validation L0, of the first task that measured one; nothing where none did.
std::optional<double> measured_l0(const Results& results, const std::string& dictionary);

/// Is the arm's interval beyond the metric's chance level? True where the metric has none.
bool beats_chance(const ScoreTable& table, const ChosenArm& arm);

/// "A simple baseline wins here: …" for people, with the task's caveat; "" for a control.
std::string verdict_sentence(const ScoreTable& table, const Card& card);

}  // namespace assay::eval
