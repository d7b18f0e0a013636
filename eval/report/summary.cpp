#include "eval/report/summary.h"

#include <algorithm>

#include "eval/report/format.h"
#include "eval/report/report.h"
#include "fmt/format.h"

namespace assay::eval {
namespace report {
namespace {

std::optional<Number> find_core(const TaskResult* core, const std::string& metric,
                                const std::string& dictionary) {
  if (!core || core->status != "ok") return std::nullopt;
  for (const Number& n : core->numbers) {
    if (n.metric == metric && n.dictionary == dictionary && n.part == "validation") return n;
  }
  return std::nullopt;
}

}  // namespace

const TaskResult* find_task(const Results& results, const std::string& name) {
  for (const TaskResult& task : results.tasks) {
    if (task.name == name) return &task;
  }
  return nullptr;
}

std::string headline_arm(const TaskResult& task) {
  std::string first;
  for (const Number& n : task.numbers) {
    if (n.metric != "auroc" || n.method.rfind("latents_top", 0) != 0) continue;
    if (n.method == "latents_top4") return n.method;
    if (first.empty()) first = n.method;
  }
  return first;
}

std::string score_name(const std::string& task, const std::string& metric,
                       const std::string& part) {
  return fmt::format("{}: {}{}", task, metric_name(metric), part.empty() ? "" : ", " + part);
}

std::string table_name(const ScoreTable& table) {
  return score_name(table.title.empty() ? table.task : table.title, table.metric, table.part);
}

Summary summarise(const Results& results, const Comparison& comparison) {
  Summary summary;
  const TaskResult* core = find_task(results, "core");
  for (const DictionaryEntry& entry : results.dictionaries) {
    SummaryRow row;
    row.entry = entry;
    row.fvu = find_core(core, "fvu", entry.name);
    row.l0 = find_core(core, "l0", entry.name);
    row.dead = find_core(core, "dead_share", entry.name);
    for (const ScoreTable& table : comparison.tables) {
      const auto card = std::find_if(table.cards.begin(), table.cards.end(),
                                     [&](const Card& c) { return c.dictionary == entry.name; });
      row.scores.push_back({&table, card == table.cards.end() ? nullptr : &*card});
    }
    summary.rows.push_back(std::move(row));
  }
  for (const TaskResult& task : results.tasks) {
    if (task.status == "ok") continue;
    summary.withheld.push_back(fmt::format("{} is {}: {}",
                                           task.title.empty() ? task.name : task.title, task.status,
                                           task.reason.empty() ? "no reason given" : task.reason));
  }
  for (const LeftOut& left : results.left_out)
    summary.withheld.push_back(
        fmt::format("Dictionary '{}' was left out: {}", left.name, left.reason));
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
  return number ? report::value_text(number->value) : "-";
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
  return report::printable(entry.name) + (entry.null_kind.empty() ? "" : " (control)");
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
    rows.push_back({shown_name(row.entry), report::printable(report::method_name(card->method)),
                    report::estimate_text(card->value),
                    control ? report::estimate_text(card->minus_nulls[0].difference, true) : "-",
                    card->beside ? report::estimate_text(card->beside->difference, true) : "-"});
    if (card->beside)
      verdicts += report::printable(
                      fmt::format("{}: {}", card->dictionary, verdict_sentence(table, *card))) +
                  "\n";
  }
  return "\n" + report::printable(report::table_name(table)) + "\n" + aligned(rows) + verdicts;
}

/// Which metrics did not pass their own checks, and how many did.
std::string panel_lines(const Comparison& comparison) {
  if (comparison.panel.empty()) return "";
  std::string lines;
  int64_t passed = 0;
  for (const MetricState& state : comparison.panel) {
    passed += state.passed;
    if (state.passed || state.controls.empty()) continue;  // withheld ones are told above
    lines += report::printable(
                 fmt::format("{}: {}",
                             report::score_name(state.title.empty() ? state.task : state.title,
                                                state.metric, state.part),
                             state.use)) +
             "\n";
  }
  return fmt::format("\n{} of {} metrics passed their own checks on this run\n", passed,
                     comparison.panel.size()) +
         lines;
}

}  // namespace

std::string summary_table(const Results& results) {
  const Comparison comparison = compare(results);
  const report::Summary summary = report::summarise(results, comparison);
  std::vector<Row> rows = {{"dictionary", "FVU", "L0", "dead"}};
  for (const report::SummaryRow& row : summary.rows)
    rows.push_back({shown_name(row.entry), cell(row.fvu), cell(row.l0), cell(row.dead)});
  std::string text = aligned(rows);
  for (size_t i = 0; i < comparison.tables.size(); ++i)
    text += score_block(summary, i, comparison.tables[i]);
  for (const std::string& line : summary.withheld) text += report::printable(line) + "\n";
  return text + panel_lines(comparison);
}

}  // namespace assay::eval
