// The charts of the tasks that the report knows, and the tables of all.
#include <algorithm>
#include <array>
#include <cmath>
#include <tuple>

#include "eval/report/format.h"
#include "eval/report/sections.h"
#include "eval/report/vega.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// A table shows at most this many rows; results.json has them all.
constexpr size_t kTableRows = 2000;
constexpr size_t kMostText = 100000;  // bytes of one preformatted detail

/// A task without charts of its own shows its numbers as a table where they are no more than this.
constexpr size_t kPlainNumbers = 300;

std::vector<std::string> metrics_of(const TaskResult& task) {
  std::vector<std::string> out;
  for (const Number& n : task.numbers) {
    if (std::find(out.begin(), out.end(), n.metric) == out.end()) out.push_back(n.metric);
  }
  return out;
}

/// One row a dictionary, arm and part, one column a metric, in the order of the numbers.
Table pivot(const TaskResult& task) {
  const std::vector<std::string> metrics = metrics_of(task);
  const bool arms = std::any_of(task.numbers.begin(), task.numbers.end(),
                                [](const Number& n) { return !n.method.empty(); });
  Table table{{{"Dictionary"}}, {}};
  if (arms) table.head.push_back({"Arm"});
  table.head.push_back({"Part"});
  const size_t first = table.head.size();
  for (const std::string& metric : metrics) table.head.push_back({metric_name(metric), "num"});
  std::vector<std::array<std::string, 3>> keys;
  for (const Number& n : task.numbers) {
    const std::array key = {n.dictionary, n.method, n.part};
    auto at = std::find(keys.begin(), keys.end(), key);
    if (at == keys.end()) {
      at = keys.insert(at, key);
      std::vector<TableCell> row = {{n.dictionary.empty() ? "–" : n.dictionary, "name"}};
      if (arms) row.push_back({n.method.empty() ? "–" : method_name(n.method), "wrap"});
      row.push_back({n.part.empty() ? "–" : n.part});
      row.resize(first + metrics.size(), {"–", "num"});
      table.rows.push_back(std::move(row));
    }
    const auto column =
        static_cast<size_t>(std::find(metrics.begin(), metrics.end(), n.metric) - metrics.begin());
    table.rows[static_cast<size_t>(at - keys.begin())][first + column] = {
        value_text(n.value) + (n.unit.empty() ? "" : " " + n.unit), "num", interval_text(n)};
  }
  return table;
}

bool is_bin(const json& bin) {
  const auto number = [&bin](const char* key) { return bin.contains(key) && bin[key].is_number(); };
  return bin.is_object() && number("log10_low") && number("log10_high") && number("count");
}

void add_density(Page& page, const Results& results, const TaskResult& task) {
  const auto histograms = task.details.find("density_histogram");
  if (histograms == task.details.end() || !histograms->is_object()) return;
  json values = json::array();
  std::vector<std::string> series;
  for (const DictionaryEntry& entry : results.dictionaries) {
    const auto bins = histograms->find(entry.name);
    if (bins == histograms->end() || !bins->is_array() ||
        !std::all_of(bins->begin(), bins->end(), is_bin))
      continue;
    series.push_back(entry.name);
    for (const json& bin : *bins) {
      values.push_back({{"low", bin["log10_low"]},
                        {"high", bin["log10_high"]},
                        {"count", bin["count"]},
                        {"series", entry.name}});
    }
  }
  if (values.empty()) return;
  page.figure(
      vega::histogram(values, "log₁₀ of the share of tokens a latent fires on", "latents", series),
      "", "Histogram of firing densities of the latents of each dictionary");
  page.caption(
      "Firing density: how many latents fire on which share of validation tokens. Latents that "
      "never fire have no "
      "logarithm and are left out; the dead share counts them.");
}

/// Numbers "auroc" of one dictionary ("" = baselines), best OOD value first.
std::vector<std::string> arms_of(const TaskResult& task, const std::string& dictionary) {
  std::vector<std::pair<double, std::string>> ranked;
  for (const Number& n : task.numbers) {
    if (n.metric == "auroc" && n.part == "ood" && n.dictionary == dictionary)
      ranked.emplace_back(-n.value, n.method);
  }
  std::stable_sort(ranked.begin(), ranked.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (const auto& [value, method] : ranked) out.push_back(method_name(method));
  return out;
}

/// For legends; a chart's parts and its rows must name them alike.
std::string part_name(const std::string& part) {
  return part == "id" ? "in distribution" : part == "ood" ? "out of distribution" : part;
}

json dot_values(const TaskResult& task, const std::string& metric, const std::string& dictionary) {
  json values = json::array();
  for (const Number& n : task.numbers) {
    if (n.metric != metric || n.dictionary != dictionary) continue;
    json row = {{"row", method_name(n.method)},
                {"part", part_name(n.part)},
                {"value", n.value},
                {"n", n.n},
                {"low", nullptr},
                {"high", nullptr}};
    if (n.interval) {
      row["low"] = (*n.interval)[0];
      row["high"] = (*n.interval)[1];
    }
    values.push_back(std::move(row));
  }
  return values;
}

/// A domain that holds all values and intervals of a metric, and `always`.
std::pair<double, double> domain_of(const TaskResult& task, const std::string& metric,
                                    double always) {
  double low = always, high = always;
  for (const Number& n : task.numbers) {
    if (n.metric != metric) continue;
    low = std::min({low, n.value, n.interval ? (*n.interval)[0] : n.value});
    high = std::max({high, n.value, n.interval ? (*n.interval)[1] : n.value});
  }
  const double margin = std::max(0.01, 0.03 * (high - low));
  return {low - margin, high + margin};
}

void add_arms(Page& page, const Results& results, const TaskResult& task) {
  vega::DotOptions options;
  options.x_title = "AUROC";
  options.parts = {part_name("id"), part_name("ood")};
  std::tie(options.low, options.high) = domain_of(task, "auroc", 0.5);
  options.high = 1;
  options.references = {0.5};
  double best = 0;
  for (const Number& n : task.numbers) {
    if (n.metric == "auroc" && n.part == "ood" && n.dictionary.empty())
      best = std::max(best, n.value);
  }
  if (best > 0) options.references.push_back(best);
  page.begin_grid(true);
  std::vector<std::pair<std::string, std::string>> groups = {{"", "Baselines, no dictionary"}};
  for (const DictionaryEntry& d : results.dictionaries) {
    groups.emplace_back(d.name, d.null_kind.empty()
                                    ? d.name
                                    : fmt::format("{} (control: {})", d.name, d.null_kind));
  }
  for (const auto& [dictionary, title] : groups) {
    options.rows = arms_of(task, dictionary);
    if (options.rows.empty()) continue;
    page.figure(vega::dots(dot_values(task, "auroc", dictionary), options), title,
                "AUROC in and out of distribution, an arm a row: " + title);
  }
  page.end_grid();
  page.caption(
      "Probing in and out of distribution, an arm a row, the best out of distribution first; lines "
      "are 95 % intervals. "
      "Dashed: chance (0.5) and the best baseline's OOD value. All panels share the x axis.");
}

void add_differences(Page& page, const Results& results, const TaskResult& task) {
  vega::DotOptions options;
  options.x_title = "difference of AUROC, paired";
  options.references = {0};
  std::tie(options.low, options.high) = domain_of(task, "auroc_difference", 0);
  bool any = false;
  page.begin_grid(true);
  for (const DictionaryEntry& d : results.dictionaries) {
    options.rows.clear();
    options.parts.clear();
    for (const Number& n : task.numbers) {
      if (n.metric != "auroc_difference" || n.dictionary != d.name) continue;
      options.rows.push_back(method_name(n.method));
      if (std::find(options.parts.begin(), options.parts.end(), part_name(n.part)) ==
          options.parts.end()) {
        options.parts.push_back(part_name(n.part));
      }
    }
    if (options.rows.empty()) continue;
    any = true;
    options.label_room = 300;
    page.figure(vega::dots(dot_values(task, "auroc_difference", d.name), options), d.name,
                "Paired differences of AUROC with intervals: " + d.name, true);
  }
  page.end_grid();
  if (any) {
    page.caption(
        "Paired differences out of distribution; right of the dashed line the dictionary's arm is "
        "ahead. An interval "
        "that includes 0 ranks nothing.");
  }
}

bool is_class_row(const json& row) {
  return row.is_object() && row.contains("class") && row["class"].is_string() &&
         row.contains("method") && row["method"].is_string() && row.contains("dictionary") &&
         row["dictionary"].is_string() && row.contains("ood") && row["ood"].is_number();
}

/// The OOD value of every class: baselines, and of each dictionary its headline arm and all
/// latents.
void add_classes(Page& page, const TaskResult& task) {
  const auto rows = task.details.find("per_class");
  if (rows == task.details.end() || !rows->is_array() ||
      !std::all_of(rows->begin(), rows->end(), is_class_row))
    return;
  const std::string headline = headline_arm(task);
  json values = json::array();
  std::vector<std::string> classes, columns;
  const auto note = [](std::vector<std::string>& list, const std::string& name) {
    if (std::find(list.begin(), list.end(), name) == list.end()) list.push_back(name);
  };
  for (const json& row : *rows) {
    const std::string method = row["method"], dictionary = row["dictionary"], name = row["class"];
    const bool chosen = dictionary.empty()
                            ? method.rfind("neurons_", 0) != 0 || method == "neurons_top4"
                            : method == headline || method == "latents_all";
    if (!chosen) continue;
    const std::string column =
        dictionary.empty() ? method_name(method) : dictionary + ": " + method_name(method);
    note(classes, name);
    note(columns, column);
    values.push_back({{"row", name}, {"column", column}, {"value", row["ood"]}});
  }
  if (values.empty()) return;
  page.figure(vega::heat(values, "OOD AUROC", classes, columns), "",
              "OOD AUROC of each class and arm", true);
  page.caption(
      "OOD AUROC by class. Blue is above chance, red below, white is 0.5. The table below has all "
      "arms.");
}

bool is_flat(const json& row) {
  return row.is_object() &&
         std::none_of(row.begin(), row.end(), [](const json& v) { return v.is_structured(); });
}

TableCell json_cell(const json& value) {
  if (value.is_string()) return {value.get<std::string>(), "wrap"};
  if (value.is_number_integer()) return {value.dump(), "num"};
  if (value.is_number()) return {value_text(value.get<double>()), "num"};
  if (value.is_null()) return {"–"};
  return {value.dump(-1, ' ', true, json::error_handler_t::replace)};
}

Table rows_table(const json& rows) {
  Table table;
  std::vector<std::string> keys;
  for (const json& row : rows) {
    for (const auto& [key, value] : row.items()) {
      if (std::find(keys.begin(), keys.end(), key) != keys.end() || keys.size() >= 30) continue;
      keys.push_back(key);
      table.head.push_back({key, value.is_number() ? "num" : ""});
    }
  }
  for (const json& row : rows) {
    if (table.rows.size() >= kTableRows) break;
    std::vector<TableCell> cells;
    for (const std::string& key : keys)
      cells.push_back(row.contains(key) ? json_cell(row[key]) : TableCell{"–"});
    table.rows.push_back(std::move(cells));
  }
  return table;
}

}  // namespace

void add_core_charts(Page& page, const Results& results, const TaskResult& task) {
  if (!task.numbers.empty()) page.table(pivot(task));
  add_density(page, results, task);
}

void add_plain_numbers(Page& page, const TaskResult& task) {
  if (!task.numbers.empty() && task.numbers.size() <= kPlainNumbers) page.table(pivot(task));
}

void add_probing_charts(Page& page, const Results& results, const TaskResult& task) {
  add_arms(page, results, task);
  add_differences(page, results, task);
  add_classes(page, task);
}

void add_details(Page& page, const TaskResult& task) {
  for (const auto& [key, value] : task.details.items()) {
    if (key == "density_histogram" || value.empty()) continue;
    const bool rows = value.is_array() && std::all_of(value.begin(), value.end(), is_flat);
    if (rows) {
      const bool cut = value.size() > kTableRows;
      page.begin_fold(fmt::format("Table: {} ({} rows{})", key, value.size(),
                                  cut ? fmt::format(", the first {} shown", kTableRows) : ""));
      page.table(rows_table(value));
      page.end_fold();
    } else if (is_flat(value)) {
      page.begin_fold("Table: " + key);
      Table table{{{"Name"}, {"Value", "num"}}, {}};
      for (const auto& [name, member] : value.items())
        table.rows.push_back({{name}, json_cell(member)});
      page.table(table);
      page.end_fold();
    } else if (value.is_string() &&
               value.get_ref<const std::string&>().find('\n') != std::string::npos) {
      page.begin_fold("Details: " + key);
      page.preformatted(value.get<std::string>().substr(0, kMostText));
      page.end_fold();
    } else if (!value.is_structured()) {
      page.paragraph(key + ": " + json_cell(value).text, "small");
    } else {
      page.begin_fold("Details: " + key);
      page.preformatted(
          value.dump(1, ' ', true, json::error_handler_t::replace).substr(0, kMostText));
      page.end_fold();
    }
  }
}

}  // namespace assay::eval::report
