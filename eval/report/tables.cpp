#include "eval/report/tables.h"

#include <algorithm>
#include <array>

#include "eval/report/figure_parts.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// A table shows at most this many rows; results.json has them all.
constexpr size_t kTableRows = 2000;
constexpr size_t kMostText = 100000;  // bytes of one preformatted detail
/// Columns of numbers that fit the page: with more, parts go down instead of across.
constexpr size_t kColumns = 6;
/// Longer tables of numbers open on a click.
constexpr size_t kOpenRows = 40;

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

bool is_drawn(const TaskResult& task, const std::string& key) {
  return std::any_of(task.figures.begin(), task.figures.end(), [&](const Figure& figure) {
    return figure.kind == "histogram" && figure.details == key;
  });
}

TableCell number_cell(const Number& n) {
  return {value_text(n.value) + (n.unit.empty() ? "" : " " + n.unit), "num", interval_text(n)};
}

/// What an arm costs, "" where it does not say.
std::string reads_of(const TaskResult& task, const std::string& method) {
  const ArmEntry* arm = find_arm(task, method);
  return arm ? arm->reads : "";
}

/// A table of numbers under construction: rows and columns in the order they come.
struct Grid {
  Table table;
  std::vector<std::array<std::string, 3>> rows;     ///< dictionary, method, part (or "")
  std::vector<std::array<std::string, 2>> columns;  ///< metric, part (or "")

  template <class Key>
  static size_t place(std::vector<Key>& keys, const Key& key) {
    const auto at = std::find(keys.begin(), keys.end(), key);
    if (at != keys.end()) return static_cast<size_t>(at - keys.begin());
    keys.push_back(key);
    return keys.size() - 1;
  }
};

/// "Knowing nothing gives: AUROC 0.500; MRR 0.157.", for tables whose columns have names of their
/// own; "" where no metric has a chance level.
std::string chance_levels(const TaskResult& task) {
  std::string text;
  for (const MetricEntry& metric : task.metrics)
    if (metric.chance)
      text += fmt::format("{}{} {}", text.empty() ? "Knowing nothing gives: " : "; ", metric.label,
                          value_text(*metric.chance));
  return text.empty() ? "" : text + ".";
}

}  // namespace

void add_number_table(Page& page, const TaskResult& task, const std::vector<const Number*>& numbers,
                      const std::string& caption) {
  if (numbers.empty()) return;
  Grid grid;
  for (const Number* n : numbers) Grid::place(grid.columns, {n->metric, n->part});
  const bool across = grid.columns.size() <= kColumns;
  if (!across) grid.columns.clear();
  for (const Number* n : numbers) {
    Grid::place(grid.columns, {n->metric, across ? n->part : ""});
    Grid::place(grid.rows, {n->dictionary, n->method, across ? "" : n->part});
  }
  const bool arms = std::any_of(numbers.begin(), numbers.end(),
                                [](const Number* n) { return !n->method.empty(); });
  const bool costs = std::any_of(numbers.begin(), numbers.end(), [&](const Number* n) {
    return !reads_of(task, n->method).empty();
  });
  grid.table.head = {{arms ? "Arm" : "Dictionary"}};
  if (costs) grid.table.head.push_back({"Reads"});
  if (!across) grid.table.head.push_back({"Part"});
  const size_t first = grid.table.head.size();
  for (const auto& [metric, part] : grid.columns)
    grid.table.head.push_back({metric_label(task, metric), "num wrap",
                               with_chance(part_label(task, part), chance_of(task, metric))});
  for (const auto& [dictionary, method, part] : grid.rows) {
    auto& row = grid.table.rows.emplace_back();
    row.push_back({row_name(task, dictionary, method), "name"});
    if (costs) row.push_back({reads_of(task, method)});
    if (!across) row.push_back({part_label(task, part)});
    row.resize(first + grid.columns.size(), {"–", "num"});
  }
  for (const Number* n : numbers) {
    const size_t row = Grid::place(grid.rows, {n->dictionary, n->method, across ? "" : n->part}),
                 column = Grid::place(grid.columns, {n->metric, across ? n->part : ""});
    grid.table.rows[row][first + column] = number_cell(*n);
  }
  const bool folded = grid.rows.size() > kOpenRows;
  if (folded) page.begin_fold(fmt::format("Table: {} rows", grid.rows.size()));
  page.table(grid.table, caption);
  if (folded) page.end_fold();
}

void add_details(Page& page, const TaskResult& task) {
  const std::string levels = chance_levels(task);
  if (!levels.empty() && !task.details.empty()) page.paragraph(levels, "small");
  for (const auto& [key, value] : task.details.items()) {
    if (value.empty() || is_drawn(task, key)) continue;
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
