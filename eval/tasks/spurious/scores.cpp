#include "eval/tasks/spurious/scores.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/results/families.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "eval/tasks/spurious/declare.h"
#include "eval/tasks/spurious/fix_entries.h"
#include "kernels/base/error.h"

namespace assay::eval::spurious {
namespace {

/// Share of the gap between no fix and the ceiling below which no fix is a repair.
constexpr double kRepaired = 0.5;

bool is_none(const FixCells& row) { return row.strength == 0; }

/// The dense fixes that the data allowed.
std::vector<std::string> dense_fixes(const FixTable& table) {
  std::vector<std::string> fixes;
  for (const FixEntry& fix : fix_entries())
    if (!fix.on_latents() && table.strengths(fix.arm.name, {}, 0).size() > 1)
      fixes.push_back(fix.arm.name);
  return fixes;
}

std::string method_of(const FixCells& row) { return fix_name(row.fix, row.strength); }

double mean_on(const FixCells& row, const std::vector<int8_t>& fold, int8_t tuning) {
  double sum = 0, count = 0;
  for (size_t i = 0; i < row.anti.size(); ++i)
    if (fold[row.anti[i].unit] == tuning) {
      sum += (row.anti[i].value + row.within[i].value) / 2;
      count += 1;
    }
  return sum / count;
}

class Reporter {
 public:
  Reporter(const Session& session, const SpuriousPlan& plan,
           const std::vector<std::optional<bool>>& seen, TaskResult& result)
      : session_(session), plan_(plan), seen_(seen), result_(result) {}

  std::string part(size_t share) const {
    return share_part(session_.config.of<SpuriousConfig>().shares[share]);
  }
  std::string name(std::optional<size_t> dictionary) const {
    return dictionary_name(session_, dictionary);
  }
  bool is_control(const ChosenFix& fix) const {
    return find_arm(result_, fix.fix)->role == "control" ||
           (fix.dictionary && !session_.dictionaries[*fix.dictionary].entry.null_kind.empty());
  }
  Number& add(const std::string& metric, const std::string& method,
              std::optional<size_t> dictionary, size_t share, const std::vector<Cell>& cells) {
    result_.numbers.push_back(
        number(metric, method, dictionary, share, mean_of_cells(cells), cells));
    return result_.numbers.back();
  }

  /// `cells`: those that the estimate, a mean or a paired difference, is made of.
  Number number(const std::string& metric, const std::string& method,
                std::optional<size_t> dictionary, size_t share, const Estimate& estimate,
                const std::vector<Cell>& cells) const {
    Number number;
    number.metric = metric;
    number.method = method;
    number.part = part(share);
    set_estimate(number, estimate, "classes", cells);
    number.n = std::ssize(plan_.classes);
    number.n_unit = "classes";
    number.dictionary = name(dictionary);
    if (dictionary) {
      const auto i = *dictionary;
      number.test_seen_in_training = seen_[i];
      number.control = control_of(session_, session_.dictionaries[i], find_arm(result_, method));
    }
    return number;
  }

  void row(const FixCells& row) {
    if (row.permuted) {
      add("both_auroc_permuted_labels", method_of(row), row.dictionary, row.share,
          both(row.anti, row.within))
          .control = "permuted_labels";
      return;
    }
    if (row.fix == "edit" && is_none(row)) return;  // the dense probe again
    values(method_of(row), row.dictionary, row.share, row.anti, row.within);
  }

  void chosen(const ChosenFix& fix) {
    values(fix.fix, fix.dictionary, 0, fix.anti, fix.within);
    const std::string role = find_arm(result_, fix.fix)->role;
    Score score{"both_auroc", part(0), fix.fix, name(fix.dictionary), role == "headline", true, {}};
    score.cells = both(fix.anti, fix.within);
    if (role != "control") result_.scores.push_back(std::move(score));  // no arm to choose
    for (const int fold : {0, 1})
      strengths_.push_back({{"fix", fix.fix},
                            {"dictionary", name(fix.dictionary)},
                            {"half", fold},
                            {"strength", fix.strength[fold]},
                            {"last_of_grid", fix.last[fold]}});
  }
  const nlohmann::json& strengths() const { return strengths_; }

 private:
  void values(const std::string& method, std::optional<size_t> dictionary, size_t share,
              const std::vector<Cell>& anti, const std::vector<Cell>& within) {
    add("both_auroc", method, dictionary, share, both(anti, within));
    add("anti_auroc", method, dictionary, share, anti);
    add("within_auroc", method, dictionary, share, within);
  }

  const Session& session_;
  const SpuriousPlan& plan_;
  const std::vector<std::optional<bool>>& seen_;
  TaskResult& result_;
  nlohmann::json strengths_ = nlohmann::json::array();
};

void check_nulls(const Reporter& reporter, const FixTable& table, TaskResult& result) {
  std::vector<NullTest> tests;
  for (const FixCells& row : table.rows()) {
    if (!row.permuted) continue;
    std::vector<Cell> cells = both(row.anti, row.within);
    for (Cell& cell : cells) cell.value -= .5;
    const Estimate found = mean_of_cells(cells);
    tests.push_back(
        {row.fix + (!row.dictionary ? "" : " of " + reporter.name(row.dictionary)), found.p,
         fmt::format("AUROC less .5: {} with permuted labels, p", estimate_text(found, true))});
  }
  add_null_checks(tests, result);
}

/// A perfect fix at the headline share does as well as a probe whose training texts never had the
/// correlation.
void check_ceiling(const FixTable& table, const std::vector<ChosenFix>& chosen,
                   size_t ceiling_share, TaskResult& result) {
  const FixCells& row = table.at("dense", 0, {}, ceiling_share, false);
  const std::vector<Cell> ceiling = both(row.anti, row.within);
  std::vector<Estimate> differences;
  std::vector<double> p;
  for (const ChosenFix& fix : chosen) {
    differences.push_back(paired_difference(both(fix.anti, fix.within), ceiling));
    p.push_back(differences.back().p);
  }
  const std::vector<double> adjusted = holm(p);
  std::string above;
  for (size_t i = 0; i < chosen.size(); ++i)
    if (differences[i].value > 0 && adjusted[i] < kCheckAlpha)
      above += fmt::format("{}{} by {:.3f}", above.empty() ? "" : ", ", chosen[i].fix,
                           differences[i].value);
  const Estimate value = mean_of_cells(ceiling);
  result.checks.push_back(
      {"oracle: nothing is above training without the correlation", above.empty(),
       above.empty()
           ? fmt::format("ceiling {}, {} fixes compared", estimate_text(value), chosen.size())
           : above});
}

/// A fix may lead others and still be no repair; "" where the best closes half of the gap.
std::string repair_caveat(const Reporter& reporter, const FixTable& table,
                          const std::vector<ChosenFix>& chosen, size_t ceiling_share,
                          const TaskResult& result) {
  const auto mean = [&](const auto& cells) {
    return mean_of_cells(both(cells.anti, cells.within)).value;
  };
  const double none = mean(table.at("dense", 0, {}, 0, false));
  const double ceiling = mean(table.at("dense", 0, {}, ceiling_share, false));
  if (!(ceiling > none)) return "";
  const ChosenFix* best = nullptr;
  double highest = 0;
  for (const ChosenFix& fix : chosen) {
    if (reporter.is_control(fix)) continue;
    const double value = mean(fix);
    if (best && value <= highest) continue;
    best = &fix;
    highest = value;
  }
  if (!best) return "";
  const double closed = (highest - none) / (ceiling - none);
  if (closed >= kRepaired) return "";
  return fmt::format(
      "no fix closes half of the gap between no fix ({:.3f}) and training without the correlation "
      "({:.3f}); the best, {}, closes {:.0f} %.",
      none, ceiling, arm_label(result, best->fix), 100 * closed);
}

/// Names the fixes, controls apart, whose choice is the last of a grid that went on as far as it
/// may: a further point might be better. "" where there are none.
std::string grid_caveat(const Reporter& reporter, const std::vector<ChosenFix>& chosen,
                        const TaskResult& result) {
  std::vector<std::string> names;
  for (const ChosenFix& fix : chosen) {
    if (reporter.is_control(fix) || (!fix.last[0] && !fix.last[1])) continue;
    const std::string owner = reporter.name(fix.dictionary);
    names.push_back(fmt::format("{}{}{} ({})", arm_label(result, fix.fix),
                                owner.empty() ? "" : " of ", owner,
                                fix.strength[fix.last[0] ? 0 : 1]));
  }
  if (names.empty()) return "";
  return fmt::format(
      "Chosen on the last point of a grid, so that a further one might be better: {}.",
      fmt::join(names, ", "));
}

std::vector<ChosenFix> choose_all(const Session& session, const SpuriousPlan& plan,
                                  const FixTable& table) {
  std::vector<ChosenFix> chosen;
  for (const std::string& fix : dense_fixes(table))
    chosen.push_back(choose_fix(table, fix, {}, 0, plan.fold));
  for (size_t i = 0; i < session.dictionaries.size(); ++i)
    for (const FixEntry& fix : fix_entries())
      if (fix.on_latents()) chosen.push_back(choose_fix(table, fix.arm.name, i, 0, plan.fold));
  return chosen;
}

const ChosenFix& find_fix(const std::vector<ChosenFix>& chosen, const std::string& fix,
                          std::optional<size_t> dictionary) {
  return *std::find_if(chosen.begin(), chosen.end(), [&](const ChosenFix& c) {
    return c.fix == fix && c.dictionary == dictionary;
  });
}

/// A comparison: `a` less the cells `b`.
struct Pair {
  const ChosenFix* a;
  std::string other, control, other_label;
  std::vector<Cell> b;
};

void write_differences(const Reporter& reporter, const std::vector<Pair>& pairs,
                       TaskResult& result) {
  DifferenceFamily family;
  for (const auto& [a, other, control, other_label, b] : pairs) {
    const Estimate estimate = paired_difference(both(a->anti, a->within), b);
    Number number = reporter.number("both_auroc_difference", fmt::format("{} - {}", a->fix, other),
                                    a->dictionary, 0, estimate, a->anti);
    number.control = control;
    declare_difference(result, number.method, a->fix, other_label);
    family.add(std::move(number), estimate, result);
  }
  family.finish(result);
}

/// The comparisons of every trained dictionary; fixed beforehand, whatever comes out.
void report_differences(const Session& session, const Reporter& reporter, const FixTable& table,
                        const std::vector<ChosenFix>& chosen, TaskResult& result) {
  std::vector<Pair> pairs;
  const auto cells = [](const auto& fix) { return both(fix.anti, fix.within); };
  const auto add = [&](const ChosenFix& a, const std::string& other, std::vector<Cell> b) {
    pairs.push_back({&a, other, other, arm_label(result, other), std::move(b)});
  };
  for (size_t i = 0; i < session.dictionaries.size(); ++i) {
    const DictionaryEntry& entry = session.dictionaries[i].entry;
    if (!entry.null_kind.empty()) continue;
    for (const char* fix : {"latents_drop", "edit", "edit_covariate"}) {
      const ChosenFix& a = find_fix(chosen, fix, i);
      for (size_t j = 0; j < session.dictionaries.size(); ++j)
        if (session.dictionaries[j].entry.parent == entry.name)
          pairs.push_back({&a, session.dictionaries[j].entry.null_kind + "_" + fix,
                           session.dictionaries[j].entry.name,
                           fmt::format("{}, {} control", arm_label(result, fix),
                                       session.dictionaries[j].entry.null_kind),
                           cells(find_fix(chosen, fix, j))});
      for (const std::string& dense : dense_fixes(table))
        add(a, dense, cells(find_fix(chosen, dense, {})));
    }
    add(find_fix(chosen, "latents_drop", i), "latents_random",
        cells(find_fix(chosen, "latents_random", i)));
    add(find_fix(chosen, "latents_drop", i), "latents", cells(table.at("latents", 0, i, 0, false)));
  }
  write_differences(reporter, pairs, result);
}

}  // namespace

std::vector<Cell> both(const std::vector<Cell>& anti, const std::vector<Cell>& within) {
  std::vector<Cell> cells = anti;
  for (size_t i = 0; i < cells.size(); ++i) cells[i].value = (anti[i].value + within[i].value) / 2;
  return cells;
}

void FixTable::add(const SpuriousCell& cell, std::optional<size_t> dictionary, size_t share,
                   bool permuted, const SpuriousScore& score) {
  auto after = rows_.end();  // of the fix's other strengths
  FixCells* row = nullptr;
  for (auto r = rows_.begin(); r != rows_.end(); ++r) {
    if (r->fix != score.fix || r->dictionary != dictionary || r->share != share ||
        r->permuted != permuted)
      continue;
    after = r + 1;
    if (r->strength == score.strength) row = &*r;
  }
  if (!row)
    row = &*rows_.insert(after,
                         FixCells{score.fix, score.strength, dictionary, share, permuted, {}, {}});
  row->anti.push_back({cell.category, cell.run, score.anti});
  row->within.push_back({cell.category, cell.run, score.within});
}

void FixTable::drop_incomplete(size_t cells) {
  std::erase_if(rows_, [&](const FixCells& row) { return row.anti.size() < cells; });
}

const FixCells& FixTable::at(const std::string& fix, int64_t strength,
                             std::optional<size_t> dictionary, size_t share, bool permuted) const {
  const auto row = std::find_if(rows_.begin(), rows_.end(), [&](const FixCells& r) {
    return r.fix == fix && r.strength == strength && r.dictionary == dictionary &&
           r.share == share && r.permuted == permuted;
  });
  if (row == rows_.end()) throw Error(fmt::format("spurious: fix '{}' was not scored", fix));
  return *row;
}

std::vector<const FixCells*> FixTable::strengths(const std::string& fix,
                                                 std::optional<size_t> dictionary,
                                                 size_t share) const {
  std::vector<const FixCells*> list{&at(find_fix_entry(fix).none, 0, dictionary, share, false)};
  for (const FixCells& row : rows_)
    if (row.fix == fix && row.dictionary == dictionary && row.share == share && !row.permuted &&
        !is_none(row))
      list.push_back(&row);
  return list;
}

const FixCells& choose_strength(const std::vector<const FixCells*>& strengths,
                                const std::vector<int8_t>& fold, int8_t tuning) {
  const FixCells* best = strengths.front();
  for (const FixCells* row : strengths)
    if (mean_on(*row, fold, tuning) > mean_on(*best, fold, tuning) + 1e-12) best = row;
  return *best;
}

ChosenFix choose_fix(const FixTable& table, const std::string& fix,
                     std::optional<size_t> dictionary, size_t share,
                     const std::vector<int8_t>& fold) {
  const std::vector<const FixCells*> strengths = table.strengths(fix, dictionary, share);
  const bool has_grid = find_fix_entry(fix).grid != nullptr;
  ChosenFix chosen{fix, dictionary, {}, {}, {}, {}};
  for (const int8_t own : {0, 1}) {
    const FixCells& row = choose_strength(strengths, fold, static_cast<int8_t>(1 - own));
    chosen.strength[own] = row.strength;
    chosen.last[own] = has_grid && !is_none(row) && &row == strengths.back();
    for (size_t i = 0; i < row.anti.size(); ++i) {
      if (fold[row.anti[i].unit] != own) continue;
      chosen.anti.push_back(row.anti[i]);
      chosen.within.push_back(row.within[i]);
    }
  }
  return chosen;
}

void report_spurious(const Session& session, const SpuriousPlan& plan, const FixTable& table,
                     const std::vector<std::optional<bool>>& seen, TaskResult& result) {
  Reporter reporter(session, plan, seen, result);
  TriedStrengths tried;
  for (const FixCells& row : table.rows())
    if (!is_none(row)) tried[row.fix].insert(row.strength);
  declare_spurious(tried, reporter.part(0), result);
  const std::vector<ChosenFix> chosen = choose_all(session, plan, table);
  for (const ChosenFix& fix : chosen) reporter.chosen(fix);
  for (const FixCells& row : table.rows()) reporter.row(row);
  report_differences(session, reporter, table, chosen, result);
  check_nulls(reporter, table, result);
  const auto& shares = session.config.of<SpuriousConfig>().shares;
  const auto ceiling =
      static_cast<size_t>(std::find(shares.begin(), shares.end(), 50) - shares.begin());
  check_ceiling(table, chosen, ceiling, result);
  result.caveat = repair_caveat(reporter, table, chosen, ceiling, result);
  if (const std::string edge = grid_caveat(reporter, chosen, result); !edge.empty())
    result.caveat += (result.caveat.empty() ? "" : " ") + edge;
  result.details["strengths_chosen"] = reporter.strengths();
  result.details["classes"] = plan.classes;
}

}  // namespace assay::eval::spurious
