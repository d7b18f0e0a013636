// The comparison's part of the report.
#include <algorithm>

#include "eval/report/figures.h"
#include "eval/report/sections.h"
#include "eval/report/vega.h"
#include "eval/results/text.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// Pairs shown in a table; results.json has them all.
constexpr size_t kPairRows = 400;
/// Longer tables of pairs open on a click.
constexpr size_t kOpenPairs = 6;

TableCell estimate_cell(const Estimate& estimate, bool with_sign = false) {
  const std::string text = estimate_text(estimate, with_sign);
  const size_t space = text.find(' ');
  return {text.substr(0, space), "num", text.substr(space + 1)};
}

TableCell optional_cell(const std::optional<double>& value) {
  return value ? TableCell{value_text(*value), "num"} : TableCell{"not measured", "num"};
}

std::string l0_text(const Paired& pair) {
  if (!pair.l0_ratio) return "unknown";
  return pair.matched ? "matched" : fmt::format("× {:.2f}", *pair.l0_ratio);
}

json point(const Results& results, const DictionaryEntry& entry, double y,
           const std::optional<Interval>& interval) {
  const auto l0 = measured_l0(results, entry.name);
  if (!l0) return nullptr;
  json row = {{"x", *l0},           {"y", y},         {"series", series_of(entry)},
              {"name", entry.name}, {"low", nullptr}, {"high", nullptr}};
  if (interval) {
    row["low"] = (*interval)[0];
    row["high"] = (*interval)[1];
  }
  return row;
}

void draw_frontier(Page& page, const Results& results, const ScoreTable& table) {
  json values = json::array();
  vega::LineOptions options;
  options.x_title = "L0, validation";
  options.y_title = table.metric_label;
  if (table.chance) options.references.push_back(*table.chance);
  if (table.baseline) options.references.push_back(table.baseline->value.value);
  for (const bool controls : {false, true}) {
    const size_t before = options.series.size();
    for (const DictionaryEntry& entry : results.dictionaries) {
      for (const Card& card : table.cards) {
        if (card.dictionary != entry.name || entry.null_kind.empty() == controls) continue;
        const json row = point(results, entry, card.value.value, card.value.interval);
        if (row.is_null()) continue;
        if (std::find(options.series.begin(), options.series.end(), row["series"]) ==
            options.series.end())
          options.series.push_back(row["series"]);
        values.push_back(row);
      }
    }
    options.controls = options.series.size() - before;
  }
  if (values.empty()) return;
  const vega::Chart chart = vega::lines(values, options);
  page.figure(chart.spec, with_chance(table.title, table.chance),
              table.title + " over L0, a point a dictionary", chart.least_width);
}

void add_frontiers(Page& page, const Results& results, const Comparison& comparison) {
  const bool any = std::any_of(
      results.dictionaries.begin(), results.dictionaries.end(),
      [&](const DictionaryEntry& entry) { return measured_l0(results, entry.name).has_value(); });
  if (!any) return;
  page.begin_grid();
  for (const ScoreTable& table : comparison.tables) draw_frontier(page, results, table);
  page.end_grid();
  page.caption(
      "Frontiers over L0: a point a dictionary with its 95 % interval, a line through dictionaries "
      "of one variant and width; controls are grey. Dashed: the best arm that needs no dictionary, "
      "chosen on other units, and where a title names it, chance.");
}

void add_pairs(Page& page, const std::vector<RankedPair>& pairs, const std::string& caption,
               const char* what) {
  if (pairs.empty()) return;
  Table table{{{what},
               {"against"},
               {"ahead by", "num"},
               {"Holm p", "num"},
               {"L0"},
               {"Ranked"},
               {"Why not"}},
              {}};
  for (const RankedPair& pair : pairs) {
    if (table.rows.size() == kPairRows) break;
    table.rows.push_back(
        {{pair.a, "name"},
         {pair.b, "name"},
         estimate_cell(pair.difference, true),
         {pair.p_holm ? fmt::format("{:.3f}", *pair.p_holm) : "–", "num"},
         {l0_text(pair)},
         {pair.ranked ? (pair.difference.value > 0 ? "first is better" : "second is better") : "no",
          pair.ranked ? "pass" : ""},
         {pair.reason, "wrap"}});
  }
  const bool folded = pairs.size() > kOpenPairs;
  const auto ranked =
      std::count_if(pairs.begin(), pairs.end(), [](const RankedPair& p) { return p.ranked; });
  if (folded)
    page.begin_fold(fmt::format("{}: {} pairs, {} ranked", caption, pairs.size(), ranked));
  page.table(table, folded ? "" : caption);
  if (folded) page.end_fold();
}

TableCell truth_cell(const std::optional<PlantedTruth>& truth) {
  if (!truth) return {"not measured", "num"};
  return {value_text(truth->correlation), "num",
          fmt::format("[{:.3f}, {:.3f}]", truth->interval[0], truth->interval[1])};
}

void add_reliability(Page& page, const Comparison& comparison) {
  Table table{{{"Metric"},
               {"Between evaluation runs", "num wrap", "sd of one run"},
               {"Between training seeds", "num wrap", "sd, degrees of freedom"},
               {"Tells from the best baseline", "num wrap", "in 4 of 5 evaluations"},
               {"Tells two dictionaries apart", "num wrap", "evaluated apart, in 4 of 5"},
               {"Tells two settings apart", "num wrap", "of 3 seeds, in 4 of 5"},
               {"Smallest gap to a control", "num wrap"},
               {"Separates controls", "wrap"},
               {"Follows the truth", "num wrap", "Spearman, planted dictionaries"}},
              {}};
  for (const ScoreTable& scores : comparison.tables) {
    const Reliability& r = scores.reliability;
    TableCell reseed = optional_cell(r.reseed_sd);
    if (r.reseed_sd) reseed.note = fmt::format("df {}", r.reseed_df);
    table.rows.push_back({{scores.title, "name"},
                          optional_cell(r.rerun_sd),
                          reseed,
                          optional_cell(r.verdict_detectable),
                          optional_cell(r.rerun_detectable),
                          optional_cell(r.detectable),
                          optional_cell(r.null_gap),
                          {!r.null_gap        ? "no control ran"
                           : r.separates_null ? "yes"
                                              : "no: it ranks nothing",
                           r.separates_null ? "pass" : "fail"},
                          truth_cell(r.truth)});
  }
  page.heading(3, "How far each metric can be trusted");
  page.table(table);
  page.paragraph(
      "Below the reseed spread nothing is ranked; a table needs 8 units, settings need 3 training "
      "seeds, L0 within 5 %, Holm p below 0.05, and a gap to every control. Positive differences "
      "are better, whatever the metric. The "
      "correlation with the "
      "truth "
      "is that of planted dictionaries, not of this run's.",
      "small");
}

void add_card(Page& page, const DictionaryEntry& entry, const Comparison& comparison) {
  Table table{{{"Task"},
               {"Headline arm", "num"},
               {"Best arm", "num", "chosen on other units"},
               {"Minus control", "num", "headline"},
               {"Minus best baseline", "num", "best arm"},
               {"Verdict"}},
              {}};
  for (const ScoreTable& scores : comparison.tables) {
    for (const Card& card : scores.cards) {
      if (card.dictionary != entry.name) continue;
      TableCell value = estimate_cell(card.value), best{"–", "num"}, control{"none", "num"},
                beside{"–", "num"};
      value.note = card.label + " " + value.note;
      if (card.chosen) {
        best = estimate_cell(card.chosen->value);
        best.note = card.chosen->labels + " " + best.note;
      }
      for (const Paired& pair : card.minus_nulls) {
        const TableCell cell = estimate_cell(pair.difference, true);
        const bool first = control.note.empty();
        if (first) control.text = cell.text;
        control.note += fmt::format("{}{}{} {} (L0 {})", first ? "" : " · ",
                                    first ? "" : cell.text + " ", cell.note, pair.b, l0_text(pair));
      }
      control.css = "num wrap";
      if (card.beside) beside = estimate_cell(card.beside->difference, true);
      table.rows.push_back({{scores.title, "name", chance_text(scores.chance)},
                            value,
                            best,
                            control,
                            beside,
                            {verdict_sentence(scores, card), "wrap"}});
    }
  }
  if (table.rows.empty()) return;
  page.begin_fold("Score card: " + entry.name);
  page.table(table, fmt::format("{} · d {} · n {} · k {} · {} tokens · seed {}", entry.variant,
                                entry.d, entry.n, entry.k, count_text(entry.tokens), entry.seed));
  page.end_fold();
}

}  // namespace

void add_comparison(Page& page, const Results& results, const Comparison& comparison) {
  if (comparison.tables.empty()) return;
  page.heading(2, "Dictionaries compared");
  page.paragraph(
      "For whoever must choose among dictionaries, or between a dictionary and none: which "
      "differences are real, "
      "beside baselines, controls and reseeding?",
      "question");
  add_frontiers(page, results, comparison);
  for (const ScoreTable& table : comparison.tables) {
    add_pairs(page, table.pairs, table.title + ": dictionaries, paired on the same cells",
              "Dictionary");
    add_pairs(page, table.setting_pairs, table.title + ": settings, over their training seeds",
              "Setting");
  }
  add_reliability(page, comparison);
  page.heading(3, "Score cards");
  for (const DictionaryEntry& entry : results.dictionaries)
    if (entry.null_kind.empty()) add_card(page, entry, comparison);
}

}  // namespace assay::eval::report
