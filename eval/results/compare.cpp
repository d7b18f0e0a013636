#include "eval/results/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "eval/results/compare_parts.h"
#include "eval/results/words.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace compare_parts {

std::string table_title(const TaskResult& task, const Score& score) {
  return fmt::format("{}: {}{}{}", task_label(task), metric_label(task, score.metric),
                     score.part.empty() ? "" : ", ", part_label(task, score.part));
}

void adjust(const std::vector<Paired*>& family) {
  std::vector<double> p;
  for (const Paired* pair : family) p.push_back(pair->difference.p);
  if (p.empty()) return;
  const std::vector<double> adjusted = holm(p);
  for (size_t i = 0; i < family.size(); ++i) family[i]->p_holm = adjusted[i];
}

bool told(const Paired& pair) { return pair.p_holm && *pair.p_holm < kAlpha; }

void note_l0(Paired& pair, std::optional<double> a, std::optional<double> b) {
  if (!a || !b || !(*b > 0)) return;
  pair.l0_ratio = *a / *b;
  pair.matched = std::abs(*pair.l0_ratio - 1) <= kMatchedL0;
}

}  // namespace compare_parts

namespace {

using namespace compare_parts;

/// Scores of one (metric, part) as arms, better = higher, checked to cover the same cells.
std::vector<Arm> arms_of(const TaskResult& task, const Score& like) {
  std::vector<Arm> arms;
  std::optional<std::set<std::pair<int64_t, int64_t>>> covered;
  for (const Score& score : task.scores) {
    if (score.metric != like.metric || score.part != like.part) continue;
    Arm arm{score.dictionary, score.method, arm_with_cost(task, score.method), score.headline, {}};
    std::set<std::pair<int64_t, int64_t>> keys;
    const double sign = like.higher_is_better ? 1 : -1;
    for (const Cell& cell : score.cells) {
      arm.cells.push_back({cell.unit, cell.run, sign * cell.value});
      keys.insert({cell.unit, cell.run});
    }
    if (!covered) covered = keys;
    if (keys != *covered || keys.size() != score.cells.size() || keys.empty())
      throw Error(fmt::format(
          "{}: scores of '{}' ({}): arm {} of '{}' does not have the cells of the other arms",
          task.name, score.metric, score.part, score.method, score.dictionary));
    arms.push_back(std::move(arm));
  }
  return arms;
}

Estimate flip_to_metric(Estimate estimate, bool higher_is_better) {
  if (higher_is_better) return estimate;
  estimate.value = -estimate.value;
  if (estimate.interval)
    estimate.interval = Interval{-(*estimate.interval)[1], -(*estimate.interval)[0]};
  return estimate;
}

/// Nothing where there are none, or one is unknown.
std::optional<Spread> mean_spread(const std::vector<std::optional<Spread>>& spreads) {
  if (spreads.empty()) return std::nullopt;
  const auto count = static_cast<double>(spreads.size());
  Spread mean;
  for (const std::optional<Spread>& spread : spreads) {
    if (!spread) return std::nullopt;
    mean.units += spread->units / count;
    mean.runs += spread->runs / count;
    mean.cells += spread->cells / count;
    mean.choice += spread->choice / count;
  }
  return mean;
}

class TableMaker {
 public:
  TableMaker(const Results& results, const TaskResult& task, const Score& like)
      : results_(results), arms_(arms_of(task, like)) {
    table_.task = task.name;
    table_.title = table_title(task, like);
    table_.metric = like.metric;
    table_.metric_label = metric_label(task, like.metric);
    table_.part = like.part;
    table_.caveat = task.caveat;
    table_.higher_is_better = like.higher_is_better;
    table_.chance = chance_of(task, like.metric);
    std::set<int64_t> units, runs;
    for (const Cell& cell : arms_.front().cells) {
      units.insert(cell.unit);
      runs.insert(cell.run);
    }
    units_.assign(units.begin(), units.end());
    table_.units = std::ssize(units_);
    table_.runs = std::ssize(runs);
  }

  ScoreTable make() {
    choose_baseline();
    for (const DictionaryEntry& entry : results_.dictionaries) add_card(entry);
    table_.spread = mean_spread(spreads_);
    add_controls();
    add_settings(results_, arms_, table_);
    return std::move(table_);
  }

 private:
  void choose_baseline() {
    baselines_ = arms_of_dictionary("");
    baseline_ = choose_on_other_units(baselines_, units_);
    if (baseline_) table_.baseline = chosen_arm(*baseline_, baselines_);
  }

  ChosenArm chosen_arm(const Chosen& chosen, const std::vector<const Arm*>& arms) const {
    const Estimate mean =
        with_variance(mean_of_cells(chosen.cells), variance_of_choice(arms, {}, units_));
    return {chosen.methods, chosen.labels, flip_to_metric(mean, table_.higher_is_better)};
  }

  std::vector<const Arm*> arms_of_dictionary(const std::string& name) const {
    std::vector<const Arm*> arms;
    for (const Arm& arm : arms_)
      if (arm.dictionary == name) arms.push_back(&arm);
    return arms;
  }

  void add_card(const DictionaryEntry& entry) {
    const std::vector<const Arm*> arms = arms_of_dictionary(entry.name);
    if (arms.empty()) return;
    const Arm& headline = headline_arm(arms_, entry.name);
    Card card;
    card.dictionary = entry.name;
    card.null_kind = entry.null_kind;
    card.method = headline.method;
    card.label = headline.label;
    card.value = flip_to_metric(mean_of_cells(headline.cells), table_.higher_is_better);
    if (const auto chosen = choose_on_other_units(arms, units_)) {
      card.chosen = chosen_arm(*chosen, arms);
      if (baseline_) set_beside(*chosen, arms, card);
    }
    table_.cards.push_back(std::move(card));
  }

  void set_beside(const Chosen& chosen, const std::vector<const Arm*>& arms, Card& card) {
    Paired pair;
    pair.a = card.dictionary;
    pair.b = baseline_->methods;
    const std::vector<Cell> cells = differences(chosen.cells, baseline_->cells);
    const double choice = variance_of_choice(arms, baselines_, units_);
    pair.difference = with_variance(mean_of_cells(cells), choice);
    if (card.null_kind.empty()) {
      spreads_.push_back(spread_of(cells, choice));
      card.beside = pair;
    } else {
      card.control_beside = pair;
    }
  }

  /// A control belongs to the dictionary it was built like, or, where it was trained and passed, to
  /// every dictionary of its width.
  bool is_control_of(const DictionaryEntry& control, const DictionaryEntry& own) const {
    if (control.null_kind.empty() || control.n != own.n) return false;
    return control.parent.empty() || control.parent == own.name;
  }

  void add_controls() {
    std::vector<Paired*> family;
    for (Card& card : table_.cards) {
      if (!card.null_kind.empty()) continue;
      for (const DictionaryEntry& control : results_.dictionaries) {
        if (!is_control_of(control, entry_of(results_, card.dictionary)) ||
            arms_of_dictionary(control.name).empty())
          continue;
        Paired pair;
        pair.a = card.dictionary;
        pair.b = control.name;
        pair.difference = paired_difference(headline_arm(arms_, card.dictionary).cells,
                                            headline_arm(arms_, control.name).cells);
        note_l0(pair, measured_l0(results_, pair.a), measured_l0(results_, pair.b));
        card.minus_nulls.push_back(pair);
      }
    }
    for (Card& card : table_.cards)
      for (Paired& pair : card.minus_nulls) family.push_back(&pair);
    adjust(family);
  }

  const Results& results_;
  std::vector<Arm> arms_;
  std::vector<int64_t> units_;
  std::vector<const Arm*> baselines_;
  std::optional<Chosen> baseline_;
  std::vector<std::optional<Spread>> spreads_;  ///< of each trained dictionary
  ScoreTable table_;
};

}  // namespace

namespace compare_parts {

const Arm& headline_arm(const std::vector<Arm>& arms, const std::string& dictionary) {
  const Arm* found = nullptr;
  for (const Arm& arm : arms) {
    if (arm.dictionary != dictionary || !arm.headline) continue;
    if (found) throw Error(fmt::format("scores: '{}' has two headline arms", dictionary));
    found = &arm;
  }
  if (!found) throw Error(fmt::format("scores: '{}' has no headline arm", dictionary));
  return *found;
}

const DictionaryEntry& entry_of(const Results& results, const std::string& name) {
  for (const DictionaryEntry& entry : results.dictionaries)
    if (entry.name == name) return entry;
  throw Error(fmt::format("scores: no dictionary '{}'", name));
}

}  // namespace compare_parts

Comparison compare(const Results& results) {
  struct Scored {
    const TaskResult* task;
    const Score* like;
  };
  std::vector<Scored> all;
  for (const TaskResult& task : results.tasks) {
    if (task.status == "failed") continue;
    std::set<std::pair<std::string, std::string>> done;
    for (const Score& score : task.scores)
      if (done.insert({score.metric, score.part}).second) all.push_back({&task, &score});
  }
  Comparison comparison;
  for (const auto& [task, like] : all)
    if (task->status == "ok") comparison.tables.push_back(TableMaker(results, *task, *like).make());
  judge(comparison.tables);
  auto table = comparison.tables.begin();
  for (const auto& [task, like] : all)
    comparison.panel.push_back(
        metric_state(*task, *like, task->status == "ok" ? &*table++ : nullptr));
  return comparison;
}

std::optional<double> measured_l0(const Results& results, const std::string& dictionary) {
  for (const TaskResult& task : results.tasks) {
    if (task.status != "ok") continue;
    for (const Number& n : task.numbers)
      if (n.metric == "l0" && n.part == "validation" && n.method.empty() &&
          n.dictionary == dictionary)
        return n.value;
  }
  return std::nullopt;
}

}  // namespace assay::eval
