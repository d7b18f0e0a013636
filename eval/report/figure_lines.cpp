// Curves over k or a part, and frontiers of one metric over another.
#include <map>
#include <tuple>

#include "eval/report/figure_parts.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// Values under way to vega::lines.
struct LineData {
  json values = json::array();
  std::vector<std::string> series, controls;

  void add(double x, const Number& y, const std::string& line, const std::string& name,
           bool control) {
    note(control ? controls : series, line);
    values.push_back({{"x", x},
                      {"y", y.value},
                      {"low", nullptr},
                      {"high", nullptr},
                      {"series", line},
                      {"name", name}});
    if (!y.interval) return;
    values.back()["low"] = (*y.interval)[0];
    values.back()["high"] = (*y.interval)[1];
  }

  std::vector<Panel> panels(const FigureInput& in, const std::string& metric,
                            vega::LineOptions options) const {
    if (values.empty()) return {};
    options.y_title = metric_label(in.task, metric);
    options.series = series;
    for (const std::string& line : controls)
      if (!holds(options.series, line)) options.series.push_back(line);
    options.controls = options.series.size() - series.size();
    options.references = values_of(reference_lines(in, {metric}));
    return {{in.figure.title, vega::lines(values, options)}};
  }
};

/// Where a number stands on a curve's axis.
std::optional<double> place_of(const FigureInput& in, const Number& n) {
  if (in.figure.x == "part") {
    const PartEntry* part = find_part(in.task, n.part);
    return part ? part->at : std::nullopt;
  }
  const ArmEntry* arm = find_arm(in.task, n.method);
  return arm && arm->k ? std::optional(static_cast<double>(*arm->k)) : std::nullopt;
}

/// Over k, the arms of one space are one line.
std::string line_of(const FigureInput& in, const Number& n) {
  if (in.figure.x == "part") return row_name(in.task, n.dictionary, n.method);
  const std::string space = find_arm(in.task, n.method)->space;
  return n.dictionary.empty() ? space : n.dictionary + ": " + space;
}

}  // namespace

std::vector<Panel> curve_panels(const FigureInput& in) {
  LineData data;
  for (const Number* n : numbers_of(in.task, in.figure))
    if (const auto x = place_of(in, *n))
      data.add(*x, *n, line_of(in, *n), row_name(in.task, n->dictionary, n->method),
               is_control(in, n->dictionary, n->method));
  vega::LineOptions options;
  options.x_title = in.figure.x_title;
  return data.panels(in, in.figure.metrics.front(), std::move(options));
}

std::vector<Panel> frontier_panels(const FigureInput& in) {
  const std::string &across = in.figure.metrics[0], &up = in.figure.metrics[1];
  using Key = std::tuple<std::string, std::string, std::string>;
  std::map<Key, const Number*> x;
  const std::vector<const Number*> numbers = numbers_of(in.task, in.figure);
  for (const Number* n : numbers)
    if (n->metric == across) x[{n->dictionary, n->method, n->part}] = n;
  LineData data;
  for (const Number* n : numbers) {
    const auto at = x.find({n->dictionary, n->method, n->part});
    if (n->metric != up || at == x.end()) continue;
    const DictionaryEntry* entry = find_dictionary(in.results, n->dictionary);
    const std::string name = row_name(in.task, n->dictionary, n->method);
    const std::string line = n->method.empty() && entry ? series_of(*entry) : name;
    data.add(at->second->value, *n, line, name, is_control(in, n->dictionary, n->method));
  }
  vega::LineOptions options;
  options.x_title = metric_label(in.task, across);
  if (const auto chance = chance_of(in.task, across)) options.x_references = {*chance};
  return data.panels(in, up, std::move(options));
}

}  // namespace assay::eval::report
