// Dots with intervals: an arm a row.
#include <cmath>
#include <tuple>

#include "eval/report/figure_parts.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// What a dot's colour says.
std::string colour_of(const FigureInput& in, const Number& n) {
  if (in.figure.metrics.size() > 1) return metric_label(in.task, n.metric);
  if (in.figure.parts.size() != 1) return part_label(in.task, n.part);
  if (is_control(in, n.dictionary, n.method)) return "control";
  return n.dictionary.empty() ? "no dictionary" : "dictionary";
}

double value_or(const std::optional<std::array<double, 2>>& interval, size_t side, double value) {
  return interval ? (*interval)[side] : value;
}

/// Holds all values and dashed lines, and of the intervals what lies within as much again: one wild
/// interval does not flatten all others.
std::pair<double, double> domain_of(const std::vector<const Number*>& numbers,
                                    const std::vector<ReferenceLine>& lines) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  const auto hold = [&](double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  };
  for (const Number* n : numbers) hold(n->value);
  for (const ReferenceLine& line : lines) hold(line.value);
  double widest_low = low, widest_high = high;
  for (const Number* n : numbers) {
    widest_low = std::min(widest_low, value_or(n->interval, 0, n->value));
    widest_high = std::max(widest_high, value_or(n->interval, 1, n->value));
  }
  const double span = std::max(high - low, 1e-6);
  low = std::max(widest_low, low - span);
  high = std::min(widest_high, high + span);
  const double margin = std::max(1e-6, 0.03 * (high - low));
  return {low - margin, high + margin};
}

/// Rows in the order of the results, or the best first by the last part.
std::vector<std::string> rows_of(const FigureInput& in, const std::vector<const Number*>& numbers,
                                 const std::vector<std::string>& names) {
  std::vector<std::string> rows;
  for (const std::string& name : names) note(rows, name);
  if (in.figure.order != "best_first") return rows;
  const std::string metric = in.figure.metrics.front();
  const MetricEntry* entry = find_metric(in.task, metric);
  const double sign = entry && entry->better == "lower" ? 1 : -1;
  std::vector<std::pair<double, std::string>> ranked;
  for (const std::string& row : rows) {
    double key = HUGE_VAL;
    for (size_t i = 0; i < numbers.size(); ++i) {
      const bool last = in.figure.parts.empty() || numbers[i]->part == in.figure.parts.back();
      if (names[i] == row && numbers[i]->metric == metric && last) key = sign * numbers[i]->value;
    }
    ranked.emplace_back(key, row);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = ranked[i].second;
  return rows;
}

json dot(const std::string& row, const std::string& part, const Number& n) {
  json out = {{"row", row}, {"part", part},   {"value", n.value},
              {"n", n.n},   {"low", nullptr}, {"high", nullptr}};
  if (n.interval) {
    out["low"] = (*n.interval)[0];
    out["high"] = (*n.interval)[1];
  }
  return out;
}

/// Colours in the figure's order of metrics and parts, others as they come.
std::vector<std::string> colours_of(const FigureInput& in,
                                    const std::vector<const Number*>& numbers) {
  std::vector<std::string> colours;
  if (in.figure.metrics.size() > 1)
    for (const std::string& metric : in.figure.metrics)
      note(colours, metric_label(in.task, metric));
  else if (in.figure.parts.size() > 1)
    for (const std::string& part : in.figure.parts) note(colours, part_label(in.task, part));
  else if (in.figure.parts.size() == 1)
    colours = {"dictionary", "no dictionary"};
  std::vector<std::string> used;
  for (const Number* n : numbers) note(used, colour_of(in, *n));
  std::erase_if(colours, [&](const std::string& colour) { return !holds(used, colour); });
  for (const std::string& colour : used) note(colours, colour);
  return colours;
}

struct Group {
  std::string title;
  std::vector<const Number*> numbers;
  std::vector<std::string> names;  ///< of each number's row
};

std::vector<Group> groups_of(const FigureInput& in, const std::vector<const Number*>& numbers) {
  if (in.figure.panels != "dictionary") {
    Group all{in.figure.title, numbers, {}};
    for (const Number* n : numbers)
      all.names.push_back(row_name(in.task, n->dictionary, n->method));
    return {all};
  }
  std::vector<Group> groups;
  const auto add = [&](const std::string& dictionary, const std::string& title) {
    Group group{title, {}, {}};
    for (const Number* n : numbers) {
      if (n->dictionary != dictionary) continue;
      group.numbers.push_back(n);
      group.names.push_back(arm_label(in.task, n->method));
    }
    if (!group.numbers.empty()) groups.push_back(std::move(group));
  };
  add("", "No dictionary");
  for (const DictionaryEntry& d : in.results.dictionaries)
    add(d.name,
        d.null_kind.empty() ? d.name : fmt::format("{} (control: {})", d.name, d.null_kind));
  return groups;
}

}  // namespace

std::optional<double> best_baseline(const FigureInput& in) {
  if (in.figure.kind != "dots" || in.figure.panels != "dictionary") return std::nullopt;
  const MetricEntry* entry = find_metric(in.task, in.figure.metrics.front());
  const double sign = entry && entry->better == "lower" ? -1 : 1;
  std::optional<double> best;
  for (const Number* n : numbers_of(in.task, in.figure)) {
    const ArmEntry* arm = find_arm(in.task, n->method);
    if (!arm || arm->role != "baseline" || !n->dictionary.empty()) continue;
    if (!in.figure.parts.empty() && n->part != in.figure.parts.back()) continue;
    if (!best || sign * n->value > sign * *best) best = n->value;
  }
  return best;
}

std::vector<Panel> dot_panels(const FigureInput& in) {
  const std::vector<const Number*> numbers = numbers_of(in.task, in.figure);
  if (numbers.empty()) return {};
  std::vector<ReferenceLine> lines = reference_lines(in, in.figure.metrics);
  if (const auto best = best_baseline(in)) lines.push_back({*best, ""});
  const std::vector<Group> groups = groups_of(in, numbers);
  vega::DotOptions options;
  options.x_title = in.figure.x_title.empty() ? metric_label(in.task, in.figure.metrics.front())
                                              : in.figure.x_title;
  options.references = values_of(lines);
  options.parts = colours_of(in, numbers);
  std::tie(options.low, options.high) = domain_of(numbers, lines);
  for (const Group& group : groups)
    for (const std::string& name : group.names) note(options.other_rows, name);
  std::vector<Panel> panels;
  for (const Group& group : groups) {
    json values = json::array();
    for (size_t i = 0; i < group.numbers.size(); ++i)
      values.push_back(dot(group.names[i], colour_of(in, *group.numbers[i]), *group.numbers[i]));
    options.rows = rows_of(in, group.numbers, group.names);
    panels.push_back({group.title, vega::dots(std::move(values), options)});
  }
  return panels;
}

}  // namespace assay::eval::report
