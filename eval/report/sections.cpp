#include "eval/report/sections.h"

#include <algorithm>
#include <cmath>

#include "eval/report/figures.h"
#include "eval/report/tables.h"
#include "eval/report/vega.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

TableCell number_cell(const std::optional<Number>& number) {
  if (!number) return {"–", "num"};
  return {value_text(number->value), "num", interval_text(*number)};
}

TableCell score_cell(const SummaryScore& score) {
  if (!score.card) return {"–", "num"};
  const std::string text = estimate_text(score.card->value);
  const size_t space = text.find(' ');
  return {text.substr(0, space), "num", text.substr(space + 1)};
}

TableCell dictionary_cell(const DictionaryEntry& entry) {
  if (!entry.null_kind.empty()) return {entry.name, "name control", "control: " + entry.null_kind};
  return {entry.name, "name", fmt::format("{} · n {} · k {}", entry.variant, entry.n, entry.k)};
}

/// The longer of the two lists, metrics or dictionaries, goes down the page: across it, it would
/// not fit.
Table score_table(const Summary& summary, const Comparison& comparison) {
  const auto metric_cell = [](const ScoreTable& scores, const char* css) {
    return TableCell{
        scores.title, css,
        with_chance(scores.cards.empty() ? "" : scores.cards.front().label, scores.chance)};
  };
  Table table;
  if (comparison.tables.size() < summary.rows.size()) {
    table.head = {{"Dictionary"}};
    for (const ScoreTable& scores : comparison.tables)
      table.head.push_back(metric_cell(scores, "num wrap"));
    for (const SummaryRow& row : summary.rows) {
      std::vector<TableCell>& cells = table.rows.emplace_back(1, dictionary_cell(row.entry));
      for (const SummaryScore& score : row.scores) cells.push_back(score_cell(score));
    }
    return table;
  }
  table.head = {{"Metric"}};
  for (const SummaryRow& row : summary.rows) {
    TableCell cell = dictionary_cell(row.entry);
    cell.css = "num wrap";
    table.head.push_back(cell);
  }
  for (size_t i = 0; i < comparison.tables.size(); ++i) {
    std::vector<TableCell>& cells =
        table.rows.emplace_back(1, metric_cell(comparison.tables[i], "name"));
    for (const SummaryRow& row : summary.rows) cells.push_back(score_cell(row.scores[i]));
  }
  return table;
}

/// Verdicts shown as paragraphs; more than this become a table.
constexpr size_t kVerdictParagraphs = 3;

/// In words: does a simple baseline win?
void add_verdicts(Page& page, const Summary& summary) {
  std::vector<std::pair<const SummaryRow*, SummaryScore>> verdicts;
  for (const SummaryRow& row : summary.rows)
    for (const SummaryScore& score : row.scores)
      if (score.card && score.card->beside) verdicts.emplace_back(&row, score);
  Table table{{{"Dictionary"}, {"Task"}, {"Beside the best simple baseline"}}, {}};
  for (const auto& [row, score] : verdicts) {
    const std::string sentence = verdict_sentence(*score.table, *score.card);
    const bool lost = score.card->verdict == Verdict::baseline_wins;
    if (verdicts.size() <= kVerdictParagraphs)
      page.paragraph(fmt::format("{}, {} — {}", row->entry.name,
                                 with_chance(score.table->title, score.table->chance), sentence),
                     lost ? "verdict lost" : "verdict");
    const bool leads = score.card->verdict == Verdict::dictionary_leads;
    table.rows.push_back({{row->entry.name, "name"},
                          {score.table->title, "wrap", chance_text(score.table->chance)},
                          {sentence, leads  ? "wrap pass"
                                     : lost ? "wrap fail"
                                            : "wrap"}});
  }
  if (verdicts.size() > kVerdictParagraphs) page.table(table);
}

/// Which metrics passed on this run.
void add_panel(Page& page, const Comparison& comparison) {
  if (comparison.panel.empty()) return;
  const auto passed = std::count_if(comparison.panel.begin(), comparison.panel.end(),
                                    [](const MetricState& state) { return state.passed; });
  Table table{
      {{"Metric"}, {"Passed"}, {"Its task's checks"}, {"Controls"}, {"What it may be used for"}},
      {}};
  for (const MetricState& state : comparison.panel)
    table.rows.push_back(
        {{state.title, "name"},
         {state.passed ? "yes" : "no", state.passed ? "pass" : "fail"},
         {state.checks ? fmt::format("{} of {}", state.checks_passed, state.checks) : "has none"},
         {state.controls.empty() ? "–" : state.controls},
         {state.use, "wrap"}});
  page.heading(3, fmt::format("{} of {} metrics passed their own checks on this run", passed,
                              comparison.panel.size()));
  page.table(table);
}

std::string status_text(const TaskResult& task) {
  const auto passed = std::count_if(task.checks.begin(), task.checks.end(),
                                    [](const Check& c) { return c.passed; });
  return task.checks.empty() ? "has none"
                             : fmt::format("{} of {} passed", passed, task.checks.size());
}

/// At most this many points a curve: more than a plot has pixels.
constexpr int64_t kCurvePoints = 1000;

struct CurveKind {
  const char *key, *title;
};
constexpr CurveKind kCurves[] = {{"loss", "loss"},
                                 {"fvu", "FVU of training batches"},
                                 {"aux_loss", "AuxK loss"},
                                 {"l0", "L0"},
                                 {"dead", "dead latents"}};

/// The lines of one quantity; null where no run logs it.
nlohmann::json curve_values(const std::vector<Run>& runs, const std::string& key) {
  nlohmann::json values = nlohmann::json::array();
  for (const Run& run : runs) {
    if (!run.log || !run.log->columns.count(key)) continue;
    const auto &x = run.log->columns.at("tokens"), &y = run.log->columns.at(key);
    const size_t step = static_cast<size_t>((run.log->lines + kCurvePoints - 1) / kCurvePoints);
    for (size_t i = 0; i < x.size(); i += std::max<size_t>(1, step)) {
      values.push_back({{"x", x[i]}, {"y", y[i]}, {"series", run.name}});
    }
  }
  return values;
}

/// For the trained TopK loss: the squared error over the stored variance is the FVU, so one curve
/// says both.
bool loss_is_fvu(const std::vector<Run>& runs) {
  return std::all_of(runs.begin(), runs.end(), [](const Run& run) {
    if (!run.log) return true;
    const auto loss = run.log->columns.find("loss"), fvu = run.log->columns.find("fvu");
    return loss == run.log->columns.end() ||
           (fvu != run.log->columns.end() && loss->second == fvu->second);
  });
}

std::string seen_text(const std::optional<bool>& seen) {
  return !seen ? "–" : *seen ? "yes" : "no";
}

}  // namespace

void add_summary(Page& page, const Results& results, const Comparison& comparison) {
  const Summary summary = summarise(results, comparison);
  Table table;
  table.head = {{"Dictionary"}};
  for (const SummaryColumn& column : summary.columns)
    table.head.push_back({column.label, "num", with_chance(column.part_label, column.chance)});
  for (const SummaryRow& row : summary.rows) {
    auto& cells = table.rows.emplace_back(1, dictionary_cell(row.entry));
    for (const auto& value : row.values) cells.push_back(number_cell(value));
  }
  page.table(table);
  if (!comparison.tables.empty()) page.table(score_table(summary, comparison));
  add_verdicts(page, summary);
  for (const std::string& line : summary.withheld) page.paragraph(line, "notice");
  page.paragraph(
      "Brackets are 95 % intervals. A verdict sets the dictionary's best arm beside the best arm "
      "that needs no dictionary, each "
      "chosen on other "
      "units than it is scored on.",
      "small");
}

void add_checks(Page& page, const Results& results, const Comparison& comparison) {
  page.heading(2, "Checks");
  add_panel(page, comparison);
  page.paragraph("A task whose own check fails is withheld from the summary.", "lead");
  Table table{{{"Task"}, {"State"}, {"Its checks"}, {"Seconds", "num"}, {"What failed"}}, {}};
  for (const TaskResult& task : results.tasks) {
    std::string failed = task.status == "ok" ? "" : task.reason;
    for (const Check& check : task.checks) {
      if (!check.passed) failed += (failed.empty() ? "" : " · ") + check.name + ": " + check.detail;
    }
    table.rows.push_back({{task_label(task), "name"},
                          {task.status, task.status == "ok" ? "pass" : "fail"},
                          {status_text(task)},
                          {fmt::format("{:.1f}", task.seconds), "num"},
                          {failed.empty() ? "nothing" : failed, "wrap"}});
  }
  page.table(table);
  for (const TaskResult& task : results.tasks) {
    if (task.checks.empty()) continue;
    page.begin_fold(fmt::format("Every check of {}", task.name));
    Table all{{{"Check"}, {"Result"}, {"Detail"}}, {}};
    for (const Check& check : task.checks) {
      all.rows.push_back({{check.name, "wrap"},
                          {check.passed ? "✓ passed" : "✗ failed", check.passed ? "pass" : "fail"},
                          {check.detail, "wrap"}});
    }
    page.table(all);
    page.end_fold();
  }
}

void add_training(Page& page, const std::vector<Run>& runs) {
  std::vector<std::string> series;
  bool open_ended = false, thinned = false;
  for (const Run& run : runs) {
    if (!run.log || run.log->lines == 0) continue;
    series.push_back(run.name);
    open_ended = open_ended || run.log->open_ended;
    thinned = thinned || run.log->lines > kCurvePoints;
  }
  if (series.empty()) return;
  page.heading(2, "Training");
  const bool same = loss_is_fvu(runs);
  page.begin_grid();
  for (const CurveKind& kind : kCurves) {
    if (same && std::string(kind.key) == "loss") continue;
    const nlohmann::json values = curve_values(runs, kind.key);
    if (values.empty()) continue;
    const std::string title =
        same && std::string(kind.key) == "fvu" ? "loss = FVU of training batches" : kind.title;
    const vega::Chart chart = vega::curve(values, title, series);
    page.figure(chart.spec, title, title + " over training tokens", chart.least_width);
  }
  page.end_grid();
  std::string text = "Training curves over tokens seen.";
  if (same)
    text +=
        " The loss is the squared error over the stored variance: the FVU of the training batches.";
  if (thinned) text += fmt::format(" Curves are thinned to {} points.", kCurvePoints);
  if (open_ended) text += " A log ends in the middle of a line, which is left out.";
  page.caption(text);
}

void add_task(Page& page, const Results& results, const TaskResult& task) {
  page.heading(2, task_label(task));
  page.paragraph(task.question, "question");
  if (!task.caveat.empty()) page.paragraph("Caveat: " + task.caveat, "notice");
  if (task.status != "ok") {
    page.paragraph(
        fmt::format("This task is {}: {}. Its numbers are no evidence.", task.status, task.reason),
        "notice");
  }
  add_figures(page, results, task);
  add_details(page, task);
  page.paragraph(fmt::format("{} numbers · checks: {} · {:.1f} s", task.numbers.size(),
                             status_text(task), task.seconds),
                 "small");
}

void add_numbers(Page& page, const Results& results) {
  page.heading(2, "Every number");
  page.paragraph("With the units it averages, its seed, and how its 95 % interval was made.",
                 "lead");
  for (const TaskResult& task : results.tasks) {
    if (task.numbers.empty()) continue;
    page.begin_fold(fmt::format("{}: {} numbers", task_label(task), task.numbers.size()));
    Table table{{{"Metric"},
                 {"Arm"},
                 {"Dictionary"},
                 {"Part"},
                 {"Value", "num"},
                 {"95 % interval"},
                 {"Chance", "num"},
                 {"n", "num"},
                 {"Trained on test texts"},
                 {"Control"},
                 {"Interval made by"}},
                {}};
    for (const Number& n : task.numbers) {
      const std::optional<double> chance = chance_of(task, n.metric);
      table.rows.push_back({{metric_label(task, n.metric)},
                            {n.method.empty() ? "–" : n.method},
                            {n.dictionary.empty() ? "–" : n.dictionary},
                            {n.part},
                            {value_text(n.value) + (n.unit.empty() ? "" : " " + n.unit), "num"},
                            {n.interval ? interval_text(n) : "–"},
                            {chance ? value_text(*chance) : "–", "num"},
                            {count_text(n.n) + " " + n.n_unit, "num"},
                            {seen_text(n.test_seen_in_training)},
                            {n.control.empty() ? "–" : n.control},
                            {n.interval_kind, "wrap"}});
    }
    page.table(table);
    page.end_fold();
  }
}

void add_provenance(Page& page, const Results& results) {
  page.heading(2, "Provenance");
  Table about{{{"What"}, {"Value"}}, {}};
  const auto add = [&about](const char* what, const std::string& value) {
    about.rows.push_back({{what}, {value.empty() ? "–" : value, "wrap mono"}});
  };
  add("Model", results.model);
  add("Hook", results.hook);
  add("Data set", results.dataset);
  add("Data set's hash", results.dataset_hash);
  add("Split of documents", results.split_rule);
  add("Evaluation seed", std::to_string(results.seed));
  add("Assay", results.version);
  page.table(about);
  Table table{{{"Dictionary"},
               {"Variant"},
               {"d", "num"},
               {"n", "num"},
               {"k", "num"},
               {"Tokens", "num"},
               {"Seed", "num"},
               {"Control"},
               {"Trained on this data"},
               {"Hash"}},
              {}};
  for (const DictionaryEntry& d : results.dictionaries) {
    table.rows.push_back({{d.name, "name"},
                          {d.variant},
                          {count_text(d.d), "num"},
                          {count_text(d.n), "num"},
                          {count_text(d.k), "num"},
                          {count_text(d.tokens), "num"},
                          {std::to_string(d.seed), "num"},
                          {d.null_kind.empty() ? "–" : d.null_kind},
                          {d.same_data ? "yes" : "no"},
                          {d.hash.substr(0, 16), "mono"}});
  }
  page.table(table);
}

}  // namespace assay::eval::report
