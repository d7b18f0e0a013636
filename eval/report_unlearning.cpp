// The charts of the unlearning task.
#include <algorithm>
#include <cstdlib>

#include "eval/report_format.h"
#include "eval/report_sections.h"
#include "eval/vega.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

std::string arm_name(const Number& n) {
  return n.dictionary.empty() ? method_name(n.method) : n.dictionary + ": " + method_name(n.method);
}

std::string part_text(std::string part) {
  std::replace(part.begin(), part.end(), '_', ' ');
  return part;
}

/// "few_shot_8" with prefix "few_shot_" is 8; −1 where the part is another.
long number_in(const std::string& part, const std::string& prefix) {
  if (part.rfind(prefix, 0) != 0) return -1;
  char* end = nullptr;
  const long value = std::strtol(part.c_str() + prefix.size(), &end, 10);
  return *end == '\0' && end != part.c_str() + prefix.size() ? value : -1;
}

/// What a method hides from each kind of probe, a method a row, in the order of the results.
void add_drops(Page& page, const TaskResult& task) {
  vega::DotOptions options;
  options.x_title = "forget drop";
  options.references = {0, 1};
  options.label_room = 260;
  json values = json::array();
  for (const Number& n : task.numbers) {
    if (n.metric != "forget_drop") continue;
    const std::string part = part_text(n.part);
    for (const auto& [list, name] : {std::pair(&options.rows, arm_name(n)), {&options.parts, part}})
      if (std::find(list->begin(), list->end(), name) == list->end()) list->push_back(name);
    values.push_back(
        {{"row", arm_name(n)}, {"part", part}, {"value", n.value}, {"n", n.n}, {"low", nullptr}, {"high", nullptr}});
    options.low = std::min(options.low, n.value);
    if (!n.interval) continue;
    values.back()["low"] = (*n.interval)[0];
    values.back()["high"] = (*n.interval)[1];
    options.low = std::min(options.low, (*n.interval)[0]);
  }
  if (values.empty()) return;
  options.low = std::max(options.low, -1.0) - 0.02;
  options.high = 1.05;
  page.figure(vega::dots(values, options), "What each method hides", "Forget drop by method and kind of probe", true);
  page.caption(
      "Forget drop: 0 hides nothing, 1 hides all. Frozen probes never saw an edited text; few-shot probes were trained "
      "on that many edited texts a class; the oracle exchanges forget texts for retained ones. Lines are 95 % "
      "intervals.");
}

/// Curves over a number that stands in the part's name.
void add_curve(Page& page, const TaskResult& task, const std::string& metric, const std::string& prefix,
               const std::string& x_title, const std::string& title) {
  json values = json::array();
  std::vector<std::string> series;
  for (const Number& n : task.numbers) {
    const long x = n.metric == metric ? number_in(n.part, prefix) : -1;
    if (x < 0) continue;
    json row = {{"x", x},          {"y", n.value},          {"low", nullptr},
                {"high", nullptr}, {"series", arm_name(n)}, {"name", n.part}};
    if (n.interval) {
      row["low"] = (*n.interval)[0];
      row["high"] = (*n.interval)[1];
    }
    values.push_back(std::move(row));
    if (std::find(series.begin(), series.end(), arm_name(n)) == series.end()) series.push_back(arm_name(n));
  }
  if (values.empty()) return;
  page.figure(vega::frontier(values, x_title, "forget drop", series, std::nullopt), title, title + ", a line a method");
}

}  // namespace

void add_unlearning_charts(Page& page, const TaskResult& task) {
  add_drops(page, task);
  page.begin_grid(true);
  add_curve(page, task, "forget_drop", "few_shot_", "labels of the hidden class an attacker has", "Relearning");
  add_curve(page, task, "frontier_drop", "budget_", "damage allowed on tuning texts, points of accuracy", "Frontier");
  page.end_grid();
  page.caption("Left: the more labels, the less stays hidden. Right: settings are chosen anew for each budget.");
}

}  // namespace assay::eval::report
