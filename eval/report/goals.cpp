// The report's parts of the hidden-goal and the spurious-correlation task, and a table of arms.
#include <algorithm>

#include "eval/report/format.h"
#include "eval/report/sections.h"
#include "eval/report/vega.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

std::string arm_name(const Number& n) {
  return n.dictionary.empty() ? method_name(n.method) : n.dictionary + ": " + method_name(n.method);
}

/// The part that detection was measured at; "" without one.
std::string headline_part(const TaskResult& task) {
  for (const Number& n : task.numbers)
    if (n.metric == "detection_auroc") return n.part;
  return "";
}

json interval_row(const std::string& row, const std::string& part, const Number& n) {
  json out = {{"row", row}, {"part", part},   {"value", n.value},
              {"n", n.n},   {"low", nullptr}, {"high", nullptr}};
  if (n.interval) {
    out["low"] = (*n.interval)[0];
    out["high"] = (*n.interval)[1];
  }
  return out;
}

double chance_of(const TaskResult& task, const char* metric) {
  const auto chance = task.details.find("chance");
  if (chance == task.details.end() || !chance->is_object() || !chance->contains(metric)) return 0;
  const json& value = (*chance)[metric];
  return value.is_number() ? value.get<double>() : 0;
}

/// One metric of every calibrated arm at the headline strength, the best first.
void add_metric(Page& page, const TaskResult& task, const std::string& metric,
                const std::string& title) {
  const std::string part = headline_part(task);
  std::vector<const Number*> found;
  for (const Number& n : task.numbers)
    if (n.metric == metric && n.part == part && n.method.find("_uncalibrated") == std::string::npos)
      found.push_back(&n);
  if (found.empty()) return;
  std::stable_sort(found.begin(), found.end(),
                   [](const Number* a, const Number* b) { return a->value > b->value; });
  vega::DotOptions options;
  options.x_title = title;
  options.parts = {"dictionary", "no dictionary"};
  options.label_room = 260;
  options.references = {chance_of(task, metric.c_str())};
  json values = json::array();
  for (const Number* n : found) {
    options.rows.push_back(arm_name(*n));
    values.push_back(interval_row(options.rows.back(),
                                  n->dictionary.empty() ? "no dictionary" : "dictionary", *n));
  }
  page.figure(vega::dots(std::move(values), options), title, title + " of every arm, " + part,
              true);
}

}  // namespace

void add_arm_table(Page& page, const TaskResult& task, const std::vector<std::string>& metrics,
                   const std::string& caption) {
  std::vector<std::pair<std::string, std::string>> columns;
  std::vector<std::string> rows;
  for (const Number& n : task.numbers) {
    if (std::find(metrics.begin(), metrics.end(), n.metric) == metrics.end()) continue;
    const std::pair column(n.metric, n.part);
    if (std::find(columns.begin(), columns.end(), column) == columns.end())
      columns.push_back(column);
    if (std::find(rows.begin(), rows.end(), arm_name(n)) == rows.end()) rows.push_back(arm_name(n));
  }
  if (rows.empty()) return;
  Table table{{{"Arm"}}, {}};
  for (const auto& [metric, part] : columns)
    table.head.push_back({metric_name(metric), "num", part});
  for (const std::string& row : rows) {
    table.rows.push_back({{row, "name"}});
    table.rows.back().resize(1 + columns.size(), {"–", "num"});
  }
  for (const Number& n : task.numbers) {
    const auto column = std::find(columns.begin(), columns.end(), std::pair(n.metric, n.part));
    const auto row = std::find(rows.begin(), rows.end(), arm_name(n));
    if (column == columns.end() || row == rows.end()) continue;
    table.rows[static_cast<size_t>(row - rows.begin())][static_cast<size_t>(
        1 + (column - columns.begin()))] = {value_text(n.value), "num", interval_text(n)};
  }
  page.table(table, caption);
}

void add_spurious_charts(Page& page, const TaskResult& task) {
  const Score* first = task.scores.empty() ? nullptr : &task.scores.front();
  vega::DotOptions options;
  options.parts = {"correlation reversed", "within a format"};
  options.x_title = "AUROC";
  options.references = {0.5};
  options.label_room = 260;
  json values = json::array();
  for (const Number& n : task.numbers) {
    const bool anti = n.metric == "anti_auroc";
    if (!first || (!anti && n.metric != "within_auroc") || n.part != first->part) continue;
    const bool none = n.method == "dense" || n.method == "latents";
    const bool chosen = std::any_of(task.scores.begin(), task.scores.end(), [&](const Score& s) {
      return s.method == n.method && s.dictionary == n.dictionary;
    });
    if (!none && !chosen) continue;
    if (anti) options.rows.push_back(arm_name(n));
    values.push_back(interval_row(arm_name(n), options.parts[anti ? 0 : 1], n));
  }
  if (values.empty()) return;
  page.figure(vega::dots(std::move(values), options), "",
              "AUROC with the correlation reversed and within a format, a fix a row", true);
  page.caption("A fix a row, at the strength chosen on other classes, " + first->part +
               "; lines are 95 % intervals. A fix that lowers the value within a format destroys "
               "what it should keep.");
  page.begin_fold("Table: every fix at every strength");
  add_arm_table(page, task, {"anti_auroc", "within_auroc"}, "");
  page.end_fold();
}

void add_goal_charts(Page& page, const TaskResult& task) {
  page.begin_grid(true);
  add_metric(page, task, "mrr", "mean reciprocal rank of the hidden goal");
  add_metric(page, task, "detection_auroc", "AUROC of noticing that something is hidden");
  page.end_grid();
  page.caption("Naming and noticing hidden goals, " + headline_part(task) +
               ", an arm a row, the best first; lines are 95 % intervals. Dashed: chance. The "
               "direct query is a ceiling: it "
               "asks the organism about the goal's own texts.");
  add_arm_table(
      page, task,
      {"top1", "mrr", "detection_auroc", "detection_auroc_plain", "detection_auroc_decoys"}, "");
}

}  // namespace assay::eval::report
