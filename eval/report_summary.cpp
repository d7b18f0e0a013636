#include "eval/report_summary.h"

#include <algorithm>

#include "eval/report.h"
#include "eval/report_format.h"
#include "fmt/format.h"

namespace assay::eval {
namespace report {
namespace {

using Arm = std::optional<Number>;

Arm find(const TaskResult* task, const std::string& metric, const std::string& method, const std::string& dictionary,
         const std::string& part) {
  if (!task || task->status != "ok") return std::nullopt;
  for (const Number& n : task->numbers) {
    if (n.metric == metric && n.method == method && n.dictionary == dictionary && n.part == part) return n;
  }
  return std::nullopt;
}

/// The first difference whose method begins with `prefix`.
Arm find_difference(const TaskResult& task, const std::string& dictionary, const std::string& prefix,
                    bool (*accept)(const Number&)) {
  for (const Number& n : task.numbers) {
    if (n.metric == "auroc_difference" && n.dictionary == dictionary && n.method.rfind(prefix, 0) == 0 && accept(n)) {
      return n;
    }
  }
  return std::nullopt;
}

/// Highest OOD AUROC of the arms of `dictionary` ("" = the baselines, which need none). A tie keeps the first.
Arm best_arm(const TaskResult& task, const std::string& dictionary) {
  Arm best;
  for (const Number& n : task.numbers) {
    if (n.metric == "auroc" && n.part == "ood" && n.dictionary == dictionary && (!best || n.value > best->value)) {
      best = n;
    }
  }
  return best;
}

std::string sentence(const Verdict& v) {
  std::string text = fmt::format("{} {} against {} {} out of distribution", method_name(v.baseline.method),
                                 value_text(v.baseline.value), method_name(v.arm.method), value_text(v.arm.value));
  text = v.baseline_wins ? "A simple baseline wins here: " + text + "." : "The dictionary leads: " + text + ".";
  if (!v.difference) return text + " The results hold no paired difference of these two.";
  const Number& d = *v.difference;
  const bool exact = d.method == v.arm.method + " - " + v.baseline.method;
  text += fmt::format(" Paired difference{} {} {}", exact ? "" : fmt::format(" ({})", method_name(d.method)),
                      signed_text(d.value), interval_text(d, true));
  const bool open = d.interval && (*d.interval)[0] <= 0 && (*d.interval)[1] >= 0;
  return text + (open ? ", an interval that includes 0." : ".");
}

std::optional<Verdict> judge(const TaskResult& task, const std::string& dictionary, const std::string& headline) {
  const Arm arm = best_arm(task, dictionary), baseline = best_arm(task, "");
  if (!arm || !baseline) return std::nullopt;
  Verdict v{*arm, *baseline, baseline->value >= arm->value, std::nullopt, ""};
  v.difference = find(&task, "auroc_difference", arm->method + " - " + baseline->method, dictionary, "ood");
  if (!v.difference) {
    v.difference = find(&task, "auroc_difference", headline + " - " + baseline->method, dictionary, "ood");
  }
  v.sentence = sentence(v);
  return v;
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

Summary summarise(const Results& results) {
  Summary summary;
  const TaskResult *core = find_task(results, "core"), *probing = find_task(results, "ood_probing");
  const bool probed = probing && probing->status == "ok";
  if (probed) summary.headline = headline_arm(*probing);
  for (const DictionaryEntry& entry : results.dictionaries) {
    SummaryRow row;
    row.entry = entry;
    row.fvu = find(core, "fvu", "", entry.name, "validation");
    row.l0 = find(core, "l0", "", entry.name, "validation");
    row.dead = find(core, "dead_share", "", entry.name, "validation");
    row.auroc = find(probing, "auroc", summary.headline, entry.name, "ood");
    if (probed && entry.null_kind.empty()) {
      const std::string prefix = summary.headline + " - ";
      const auto is_neurons = [](const Number& n) { return n.method.find(" - neurons_top") != std::string::npos; };
      const auto is_null = [](const Number& n) {
        return n.method.find(" - neurons_top") == std::string::npos && n.method.rfind("_top") > n.method.find(" - ");
      };
      row.minus_null = find_difference(*probing, entry.name, prefix, is_null);
      row.minus_neurons = find_difference(*probing, entry.name, prefix, is_neurons);
      row.verdict = judge(*probing, entry.name, summary.headline);
    }
    summary.rows.push_back(std::move(row));
  }
  for (const TaskResult& task : results.tasks) {
    if (task.status == "ok") continue;
    summary.withheld.push_back(fmt::format("{} is {}: {}", task.title.empty() ? task.name : task.title, task.status,
                                           task.reason.empty() ? "no reason given" : task.reason));
  }
  return summary;
}

}  // namespace report

namespace {

using Row = std::vector<std::string>;

size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

std::string cell(const std::optional<Number>& number, bool with_interval = false, bool with_sign = false) {
  if (!number) return "-";
  const std::string value = with_sign ? report::signed_text(number->value) : report::value_text(number->value);
  return with_interval && number->interval ? value + " " + report::interval_text(*number, with_sign) : value;
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

}  // namespace

std::string summary_table(const Results& results) {
  const report::Summary summary = report::summarise(results);
  const std::string arm = summary.headline.empty() ? "probe" : report::method_name(summary.headline);
  std::vector<Row> rows = {{"dictionary", "FVU", "L0", "dead", "OOD AUROC, " + arm, "minus control", "best baseline"}};
  std::string notes;
  for (const report::SummaryRow& row : summary.rows) {
    const std::string kind = row.entry.null_kind.empty() ? "" : " (control)";
    const std::string baseline =
        row.verdict ? report::method_name(row.verdict->baseline.method) + " " + cell(row.verdict->baseline) : "-";
    rows.push_back({report::printable(row.entry.name) + kind, cell(row.fvu), cell(row.l0), cell(row.dead),
                    cell(row.auroc, true), cell(row.minus_null, true, true), report::printable(baseline)});
    if (row.verdict) notes += report::printable(row.entry.name + ": " + row.verdict->sentence) + "\n";
  }
  for (const std::string& line : summary.withheld) notes += report::printable(line) + "\n";
  return aligned(rows) + notes;
}

}  // namespace assay::eval
