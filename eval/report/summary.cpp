#include "eval/report/summary.h"

#include <algorithm>

#include "eval/report/report.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval {
namespace report {
namespace {

std::vector<SummaryColumn> columns_of(const Results& results) {
  std::vector<SummaryColumn> columns;
  for (const TaskResult& task : results.tasks)
    for (const MetricEntry& metric : task.metrics)
      if (!metric.summary_part.empty())
        columns.push_back({&task, metric.name, metric.summary_part, metric.label,
                           part_label(task, metric.summary_part), metric.chance});
  return columns;
}

/// Withheld and failed tasks give none.
std::optional<Number> value_of(const SummaryColumn& column, const std::string& dictionary) {
  if (column.task->status != "ok") return std::nullopt;
  for (const Number& n : column.task->numbers)
    if (n.metric == column.metric && n.part == column.part && n.method.empty() &&
        n.dictionary == dictionary)
      return n;
  return std::nullopt;
}

}  // namespace

Summary summarise(const Results& results, const Comparison& comparison) {
  Summary summary;
  summary.columns = columns_of(results);
  for (const DictionaryEntry& entry : results.dictionaries) {
    SummaryRow row;
    row.entry = entry;
    for (const SummaryColumn& column : summary.columns)
      row.values.push_back(value_of(column, entry.name));
    for (const ScoreTable& table : comparison.tables) {
      const auto card = std::find_if(table.cards.begin(), table.cards.end(),
                                     [&](const Card& c) { return c.dictionary == entry.name; });
      row.scores.push_back({&table, card == table.cards.end() ? nullptr : &*card});
    }
    summary.rows.push_back(std::move(row));
  }
  for (const TaskResult& task : results.tasks) {
    if (task.status == "ok") continue;
    summary.withheld.push_back(fmt::format("{} is {}: {}", task_label(task), task.status,
                                           task.reason.empty() ? "no reason given" : task.reason));
  }
  for (const LeftOut& left : results.left_out)
    summary.withheld.push_back(
        fmt::format("Dictionary '{}' was left out: {}", left.name, left.reason));
  for (const DictionaryEntry& entry : results.dictionaries) {
    for (const std::string& warning : entry.warnings)
      summary.withheld.push_back(
          fmt::format("The training of '{}' warned: {}", entry.name, warning));
  }
  return summary;
}

}  // namespace report

namespace {

using Row = std::vector<std::string>;

size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

std::string cell(const std::optional<Number>& number) {
  return number ? value_text(number->value) : "-";
}

std::string aligned(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows[0].size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  std::string out;
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i] + std::string(widths[i] - width_of(row[i]) + 2, ' ');
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string shown_name(const DictionaryEntry& entry) {
  return printable(entry.name) + (entry.null_kind.empty() ? "" : " (control)");
}

/// One table of scores, a line a dictionary, then the verdicts.
std::string score_block(const report::Summary& summary, size_t index, const ScoreTable& table) {
  std::vector<Row> rows = {
      {"dictionary", "arm", "value", "minus control", "best arm minus best baseline"}};
  std::string verdicts;
  for (const report::SummaryRow& row : summary.rows) {
    const Card* card = row.scores[index].card;
    if (!card) continue;
    const bool control = !card->minus_nulls.empty();
    rows.push_back({shown_name(row.entry), printable(card->label), estimate_text(card->value),
                    control ? estimate_text(card->minus_nulls[0].difference, true) : "-",
                    card->beside ? estimate_text(card->beside->difference, true) : "-"});
    if (card->beside)
      verdicts +=
          printable(fmt::format("{}: {}", card->dictionary, verdict_sentence(table, *card))) + "\n";
  }
  return "\n" + printable(with_chance(table.title, table.chance)) + "\n" + aligned(rows) + verdicts;
}

/// Which metrics did not pass their own checks, and how many did.
std::string panel_lines(const Comparison& comparison) {
  if (comparison.panel.empty()) return "";
  std::string lines;
  int64_t passed = 0;
  for (const MetricState& state : comparison.panel) {
    passed += state.passed;
    if (state.passed || state.controls.empty()) continue;  // withheld ones are told above
    lines += printable(fmt::format("{}: {}", state.title, state.use)) + "\n";
  }
  return fmt::format("\n{} of {} metrics passed their own checks on this run\n", passed,
                     comparison.panel.size()) +
         lines;
}

}  // namespace

std::string summary_table(const Results& results) {
  const Comparison comparison = compare(results);
  const report::Summary summary = report::summarise(results, comparison);
  std::vector<Row> rows = {{"dictionary"}};
  for (const report::SummaryColumn& column : summary.columns)
    rows[0].push_back(printable(with_chance(column.label, column.chance)));
  for (const report::SummaryRow& row : summary.rows) {
    rows.push_back({shown_name(row.entry)});
    for (const auto& value : row.values) rows.back().push_back(cell(value));
  }
  std::string text = aligned(rows);
  for (size_t i = 0; i < comparison.tables.size(); ++i)
    text += score_block(summary, i, comparison.tables[i]);
  for (const std::string& line : summary.withheld) text += printable(line) + "\n";
  return text + panel_lines(comparison);
}

}  // namespace assay::eval
