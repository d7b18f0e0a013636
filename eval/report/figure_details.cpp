// Figures of a task's details: a matrix of arms, histograms of dictionaries.
#include "eval/report/figure_parts.h"
#include "eval/results/words.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

bool has_texts(const json& row, const std::vector<std::string>& keys) {
  return row.is_object() && std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
           return row.contains(key) && row[key].is_string();
         });
}

bool has_numbers(const json& row, const std::vector<std::string>& keys) {
  return row.is_object() && std::all_of(keys.begin(), keys.end(), [&](const std::string& key) {
           return row.contains(key) && row[key].is_number();
         });
}

}  // namespace

std::vector<Panel> matrix_panels(const FigureInput& in) {
  const std::string &row_key = in.figure.fields[0], &value_key = in.figure.fields[1];
  const auto rows = in.task.details.find(in.figure.details);
  if (rows == in.task.details.end() || !rows->is_array()) return {};
  vega::HeatOptions options;
  const MetricEntry* metric = find_metric(in.task, in.figure.metrics.front());
  options.value_title = metric->label;
  options.middle = metric->chance.value_or(0.5);
  json values = json::array();
  for (const json& row : *rows) {
    if (!has_texts(row, {row_key, "method", "dictionary"}) || !has_numbers(row, {value_key}))
      return {};
    const std::string method = row["method"], name = row[row_key];
    if (!asked(in.figure.arms, method)) continue;
    const std::string column = row_name(in.task, row["dictionary"], method);
    note(options.rows, name);
    note(options.columns, column);
    values.push_back({{"row", name}, {"column", column}, {"value", row[value_key]}});
    options.low = std::min(options.low, row[value_key].get<double>());
    options.high = std::max(options.high, row[value_key].get<double>());
  }
  if (values.empty()) return {};
  return {{"", vega::heat(std::move(values), options)}};
}

std::vector<Panel> histogram_panels(const FigureInput& in) {
  const auto all = in.task.details.find(in.figure.details);
  if (all == in.task.details.end() || !all->is_object()) return {};
  json values = json::array();
  std::vector<std::string> series;
  for (const DictionaryEntry& entry : in.results.dictionaries) {
    const auto bins = all->find(entry.name);
    if (bins == all->end() || !bins->is_array()) continue;
    for (const json& bin : *bins) {
      if (!has_numbers(bin, in.figure.fields)) return {};
      note(series, entry.name);
      values.push_back({{"low", bin[in.figure.fields[0]]},
                        {"high", bin[in.figure.fields[1]]},
                        {"count", bin[in.figure.fields[2]]},
                        {"series", entry.name}});
    }
  }
  if (values.empty()) return {};
  return {{in.figure.title,
           vega::histogram(std::move(values), in.figure.x_title, in.figure.fields[2], series)}};
}

}  // namespace assay::eval::report
