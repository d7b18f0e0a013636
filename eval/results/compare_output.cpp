#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval/results/compare_parts.h"
#include "eval/results/families.h"
#include "eval/results/text.h"

namespace assay::eval {
namespace {

Number number_of(const ScoreTable& table, const Estimate& estimate, const std::string& metric,
                 const std::string& a) {
  Number n;
  n.metric = metric;
  n.dictionary = a;
  n.part = table.part.empty() ? table.task : fmt::format("{}, {}", table.task, table.part);
  set_estimate(n, estimate, "units", table.units, table.runs);
  n.n = table.units;
  n.n_unit = "units";
  return n;
}

nlohmann::json pair_row(const ScoreTable& table, const Paired& pair) {
  nlohmann::json row = {{"task", table.task},
                        {"metric", table.metric},
                        {"part", table.part},
                        {"a", pair.a},
                        {"b", pair.b},
                        {"difference", pair.difference.value},
                        {"p", pair.difference.p},
                        {"matched_l0", pair.matched}};
  if (pair.p_holm) row["p_holm"] = *pair.p_holm;
  add_interval(row, pair.difference);
  if (pair.l0_ratio) row["l0_ratio"] = *pair.l0_ratio;
  return row;
}

nlohmann::json ranked_row(const ScoreTable& table, const RankedPair& pair) {
  nlohmann::json row = pair_row(table, pair);
  row["ranked"] = pair.ranked;
  row["why_not"] = pair.reason;
  if (pair.seeds_needed) row["seeds_needed"] = *pair.seeds_needed;
  return row;
}

nlohmann::json reliability_row(const ScoreTable& table) {
  const Reliability& r = table.reliability;
  nlohmann::json row = {
      {"task", table.task}, {"metric", table.metric}, {"part", table.part}, {"runs", r.runs}};
  if (r.rerun_sd) row["between_runs_sd"] = *r.rerun_sd;
  if (r.reseed_sd) row["reseed_sd"] = *r.reseed_sd;
  row["reseed_df"] = r.reseed_df;
  if (r.detectable) row["detectable_difference"] = *r.detectable;
  if (r.rerun_detectable) row["detectable_between_evaluations"] = *r.rerun_detectable;
  if (r.verdict_detectable) row["detectable_from_baseline"] = *r.verdict_detectable;
  if (table.spread) {
    row["variance_of_units"] = table.spread->units;
    row["variance_of_runs"] = table.spread->runs;
    row["variance_of_cells"] = table.spread->cells;
    row["variance_of_choice"] = table.spread->choice;
  }
  if (r.null_gap) row["smallest_gap_to_control"] = *r.null_gap;
  row["separates_controls"] = r.separates_null;
  if (r.truth) {
    row["correlation_with_truth"] = r.truth->correlation;
    row["correlation_low"] = r.truth->interval[0];
    row["correlation_high"] = r.truth->interval[1];
  }
  return row;
}

nlohmann::json panel_row(const MetricState& state) {
  return {{"task", state.task},
          {"metric", state.metric},
          {"part", state.part},
          {"passed", state.passed},
          {"checks_passed", state.checks_passed},
          {"checks", state.checks},
          {"controls", state.controls},
          {"use", state.use}};
}

void add_cards(const ScoreTable& table, TaskResult& result) {
  for (const Card& card : table.cards) {
    if (card.beside) {
      Number n = number_of(table, card.beside->difference, "minus_best_baseline", card.dictionary);
      n.method = fmt::format("{} - {}", card.chosen->methods, card.beside->b);
      n.control = card.beside->b;
      result.numbers.push_back(n);
      nlohmann::json row = pair_row(table, *card.beside);
      row["verdict"] = verdict_sentence(table, card);
      result.details["baselines"].push_back(row);
    }
    for (const Paired& pair : card.minus_nulls) {
      Number n = number_of(table, pair.difference, "minus_control", card.dictionary);
      n.method = card.method;
      n.control = pair.b;
      result.numbers.push_back(n);
      result.details["controls"].push_back(pair_row(table, pair));
    }
  }
}

/// The name a dictionary of a later part gets: its own, a numbered one where that is taken by other
/// weights. `known` where it is there already.
std::string name_in(const Results& merged, const DictionaryEntry& entry, bool& known) {
  known = false;
  std::string name = entry.name;
  for (int i = 2;; ++i) {
    const auto same = std::find_if(merged.dictionaries.begin(), merged.dictionaries.end(),
                                   [&](const DictionaryEntry& d) { return d.name == name; });
    if (same == merged.dictionaries.end()) return name;
    if (same->hash == entry.hash) {
      known = true;
      return name;
    }
    name = fmt::format("{} ({})", entry.name, i);
  }
}

/// The words of a later part that the first does not have.
template <class Entry>
void append_new(const std::vector<Entry>& from, std::vector<Entry>& to) {
  for (const Entry& entry : from)
    if (std::none_of(to.begin(), to.end(), [&](const Entry& e) { return e.name == entry.name; }))
      to.push_back(entry);
}

/// Adds the part's dictionaries; each one's name in `merged` by its name in the part.
std::map<std::string, std::string> add_dictionaries(const Results& part, Results& merged) {
  std::map<std::string, std::string> names{{"", ""}};
  for (DictionaryEntry entry : part.dictionaries) {
    bool known = false;
    const std::string name = name_in(merged, entry, known);
    names[entry.name] = name;
    if (known) continue;
    if (names.count(entry.parent)) entry.parent = names[entry.parent];
    entry.name = name;
    merged.dictionaries.push_back(entry);
  }
  return names;
}

/// The dictionaries that a task has numbers or scores of, "" for baselines.
std::set<std::string> covered(const TaskResult& task) {
  std::set<std::string> names;
  for (const Number& number : task.numbers) names.insert(number.dictionary);
  for (const Score& score : task.scores) names.insert(score.dictionary);
  return names;
}

/// What `part` has of dictionaries that `task` has nothing of.
void add_to(TaskResult& task, const TaskResult& part,
            const std::map<std::string, std::string>& names) {
  const std::set<std::string> there = covered(task);
  if (part.status != "ok" && task.status == "ok") {
    task.status = part.status;
    task.reason = part.reason;
  }
  const auto add = [&](const auto& from, auto& to) {
    for (auto each : from) {
      each.dictionary = names.at(each.dictionary);
      if (there.count(each.dictionary) == 0) to.push_back(each);
    }
  };
  append_new(part.arms, task.arms);
  append_new(part.metrics, task.metrics);
  append_new(part.parts, task.parts);
  std::vector<Number> numbers = part.numbers;
  for (Number& n : numbers)
    if (const auto at = names.find(n.control); at != names.end()) n.control = at->second;
  add(numbers, task.numbers);
  add(part.scores, task.scores);
}

void append(const Results& part, Results& merged) {
  for (const LeftOut& left : part.left_out) {
    const bool known =
        std::any_of(merged.left_out.begin(), merged.left_out.end(),
                    [&](const LeftOut& l) { return l.name == left.name && l.path == left.path; });
    if (!known) merged.left_out.push_back(left);
  }
  const std::map<std::string, std::string> names = add_dictionaries(part, merged);
  for (const TaskResult& task : part.tasks) {
    const auto same = std::find_if(merged.tasks.begin(), merged.tasks.end(),
                                   [&](const TaskResult& t) { return t.name == task.name; });
    if (same != merged.tasks.end()) {
      add_to(*same, task, names);
      continue;
    }
    TaskResult fresh = task;
    fresh.numbers.clear();
    fresh.scores.clear();
    add_to(fresh, task, names);
    merged.tasks.push_back(std::move(fresh));
  }
}

/// Why `b` cannot be added to `a`, be it with other tasks; "" where it can.
std::string other_evaluation(const Results& a, const Results& b) {
  if (a.version != b.version) return fmt::format("Assay {} and {}", a.version, b.version);
  if (a.dataset_hash != b.dataset_hash || (a.dataset_hash.empty() && a.dataset != b.dataset))
    return "different data";
  if (a.split_rule != b.split_rule) return "different splits";
  if (a.seed != b.seed) return fmt::format("evaluation seeds {} and {}", a.seed, b.seed);
  return "";
}

/// Which tasks ran, with which settings: parts are merged task by task.
std::string outcome(const Results& results) {
  nlohmann::json tasks = nlohmann::json::array();
  for (const TaskResult& task : results.tasks)
    tasks.push_back({task.name, task.details.value("settings", nlohmann::json())});
  return tasks.dump();
}

/// Why `b` cannot stand beside `a`; "" where it can.
std::string mismatch(const Results& a, const Results& b) {
  std::string why = other_evaluation(a, b);
  if (!why.empty()) return why;
  return outcome(a) != outcome(b) ? "different tasks or settings" : "";
}

std::string p_text(double p) { return p < .001 ? "p < .001" : fmt::format("p {:.3f}", p); }

std::string verdict_words(const ScoreTable& table, const Card& card) {
  switch (card.verdict) {
    case Verdict::baseline_wins:
      return "A simple baseline wins here";
    case Verdict::dictionary_leads:
      return "The dictionary leads";
    case Verdict::describes:
      return fmt::format("Describes, for {} units tell nothing apart", table.units);
    case Verdict::open:
      break;
  }
  if (compare_parts::told(*card.beside)) return "Ahead of a simple baseline and no verdict";
  const std::optional<double>& least = card.detectable;
  return "Not told apart from a simple baseline" +
         (least ? fmt::format(", and only a difference of {} mostly would be", value_text(*least))
                : "");
}

bool is_comparison(const TaskResult& task) { return task.name == kComparisonTask; }

}  // namespace

std::string verdict_sentence(const ScoreTable& table, const Card& card) {
  if (!card.beside) return "";
  const Paired& pair = *card.beside;
  const std::string guessing =
      beats_chance(table, *card.chosen)
          ? ""
          : fmt::format(" The dictionary's arm is no better than chance ({}).",
                        value_text(*table.chance));
  return fmt::format(
      "{}: {} {} against {} {}, difference {}{}.{}{}", verdict_words(table, card),
      table.baseline->labels, value_text(table.baseline->value.value), card.chosen->labels,
      value_text(card.chosen->value.value), estimate_text(pair.difference, true),
      pair.p_holm ? fmt::format(", {} after Holm over all verdicts", p_text(*pair.p_holm)) : "",
      guessing, table.caveat.empty() ? "" : " Caveat: " + table.caveat);
}

TaskResult comparison_task(const Comparison& comparison) {
  TaskResult result;
  result.name = kComparisonTask;
  result.title = "Dictionaries compared";
  result.question =
      "For whoever must choose among dictionaries, or between a dictionary and none: which "
      "differences are real, "
      "beside baselines, controls and reseeding?";
  result.status = "ok";
  result.metrics = {{"minus_best_baseline", "minus the best baseline", "higher"},
                    {"minus_control", "minus the control", "higher"},
                    {"difference", "difference", "higher"}};
  for (const char* key :
       {"baselines", "controls", "dictionaries", "settings", "reliability", "panel"})
    result.details[key] = nlohmann::json::array();
  for (const ScoreTable& table : comparison.tables) {
    add_cards(table, result);
    for (const RankedPair& pair : table.pairs) {
      Number n = number_of(table, pair.difference, "difference", pair.a);
      n.method = fmt::format("{} - {}", pair.a, pair.b);
      n.control = pair.b;
      result.numbers.push_back(n);
      result.details["dictionaries"].push_back(ranked_row(table, pair));
    }
    for (const RankedPair& pair : table.setting_pairs)
      result.details["settings"].push_back(ranked_row(table, pair));
    result.details["reliability"].push_back(reliability_row(table));
  }
  for (const MetricState& state : comparison.panel)
    result.details["panel"].push_back(panel_row(state));
  return result;
}

std::optional<Results> merge_results(const std::vector<const Results*>& parts, std::string& why) {
  if (parts.empty()) return std::nullopt;
  Results merged = *parts.front();
  std::erase_if(merged.tasks, is_comparison);
  for (size_t i = 1; i < parts.size(); ++i) {
    Results part = *parts[i];
    std::erase_if(part.tasks, is_comparison);
    why = mismatch(merged, part);
    if (!why.empty()) return std::nullopt;
    append(part, merged);
  }
  return merged;
}

std::string why_not_added(const Results& earlier, const Results& now) {
  std::string why = other_evaluation(earlier, now);
  if (!why.empty()) return why;
  const nlohmann::json none;
  for (const TaskResult& then : earlier.tasks) {
    for (const TaskResult& task : now.tasks) {
      if (task.name != then.name || is_comparison(task) || then.status == "failed") continue;
      if (task.details.value("settings", none) != then.details.value("settings", none))
        return fmt::format("different settings of task {}", task.name);
    }
  }
  return "";
}

Results add_results(const Results& earlier, Results now) {
  Results merged = earlier;
  const auto of = [](const Results& results, const TaskResult& task) {
    return std::find_if(results.tasks.begin(), results.tasks.end(),
                        [&](const TaskResult& t) { return t.name == task.name; });
  };
  std::erase_if(merged.tasks, [&](const TaskResult& task) {
    return is_comparison(task) || (task.status == "failed" && of(now, task) != now.tasks.end());
  });
  std::erase_if(now.tasks, [&](const TaskResult& task) {
    return is_comparison(task) ||
           (task.status == "failed" && of(merged, task) != merged.tasks.end());
  });
  std::erase_if(merged.left_out, [&](const LeftOut& left) {
    return std::any_of(now.dictionaries.begin(), now.dictionaries.end(),
                       [&](const DictionaryEntry& d) { return d.path == left.path; });
  });
  append(now, merged);
  return merged;
}

}  // namespace assay::eval
