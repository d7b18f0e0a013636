#include "eval/report/figures.h"

#include <cstdint>

#include "eval/report/figure_parts.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

/// A task without figures shows its numbers as a table where they are no more than this.
constexpr size_t kPlainNumbers = 300;

std::vector<Panel> panels_of(const FigureInput& in) {
  const std::string& kind = in.figure.kind;
  if (kind == "dots") return dot_panels(in);
  if (kind == "curve") return curve_panels(in);
  if (kind == "frontier") return frontier_panels(in);
  if (kind == "matrix") return matrix_panels(in);
  return histogram_panels(in);
}

/// The metrics whose chance levels the panels of a figure draw.
std::vector<std::string> drawn_metrics(const Figure& figure) {
  const size_t most = figure.kind == "curve" ? 1 : figure.kind == "frontier" ? 2 : SIZE_MAX;
  const auto count = static_cast<std::ptrdiff_t>(std::min(most, figure.metrics.size()));
  return {figure.metrics.begin(), figure.metrics.begin() + count};
}

/// Each level once. Of several levels each says whose it is.
std::vector<ReferenceLine> chance_lines(const TaskResult& task,
                                        const std::vector<std::string>& metrics) {
  std::vector<ReferenceLine> lines;
  for (const std::string& metric : metrics) {
    const std::optional<double> chance = chance_of(task, metric);
    if (!chance) continue;
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const ReferenceLine& line) {
      return line.value == *chance;
    });
    if (same == lines.end())
      lines.push_back({*chance, "chance of " + metric_label(task, metric)});
    else
      same->label += ", " + metric_label(task, metric);
  }
  if (lines.size() == 1) lines[0].label = "chance";
  return lines;
}

/// "Dashed: chance 0.500; hides all 1.000." Of a matrix chance is the white.
std::string dashed_sentence(const FigureInput& in) {
  const std::string& kind = in.figure.kind;
  if (kind == "histogram") return "";
  if (kind == "matrix") {
    const std::string chance = chance_text(chance_of(in.task, in.figure.metrics.front()));
    return chance.empty() ? "" : " White: " + chance + ".";
  }
  std::vector<ReferenceLine> lines = reference_lines(in, drawn_metrics(in.figure));
  if (const auto best = best_baseline(in)) lines.push_back({*best, "the best baseline"});
  std::string text;
  for (const ReferenceLine& line : lines)
    text += fmt::format("{}{} {}", text.empty() ? " Dashed: " : "; ", line.label,
                        value_text(line.value));
  return text.empty() ? "" : text + ".";
}

/// May it stand beside others?
bool is_small(const Figure& figure) {
  return figure.panels.empty() && figure.kind != "matrix" && figure.kind != "table";
}

void add_panels(Page& page, const FigureInput& in, const std::vector<Panel>& panels) {
  for (const Panel& panel : panels)
    page.figure(panel.chart.spec, panel.title,
                panel.title.empty() ? in.figure.caption : panel.title, panel.chart.least_width);
}

void add_wide(Page& page, const FigureInput& in) {
  if (in.figure.kind == "table") {
    add_number_table(page, in.task, numbers_of(in.task, in.figure), in.figure.caption);
    return;
  }
  const std::vector<Panel> panels = panels_of(in);
  if (panels.empty()) return;
  if (!in.figure.title.empty()) page.heading(3, in.figure.title);
  page.begin_grid();
  add_panels(page, in, panels);
  page.end_grid();
  page.caption(in.figure.caption + dashed_sentence(in));
}

/// Neighbours in one grid, each with its caption below it.
void add_small(Page& page, const std::vector<FigureInput>& figures) {
  std::vector<std::pair<const FigureInput*, std::vector<Panel>>> drawn;
  for (const FigureInput& in : figures)
    if (std::vector<Panel> panels = panels_of(in); !panels.empty())
      drawn.emplace_back(&in, std::move(panels));
  if (drawn.empty()) return;
  page.begin_grid();
  for (const auto& [in, panels] : drawn) {
    page.begin_cell();
    add_panels(page, *in, panels);
    page.caption(in->figure.caption + dashed_sentence(*in));
    page.end_cell();
  }
  page.end_grid();
}

}  // namespace

std::vector<const Number*> numbers_of(const TaskResult& task, const Figure& figure) {
  std::vector<const Number*> found;
  for (const Number& n : task.numbers)
    if (holds(figure.metrics, n.metric) && asked(figure.parts, n.part) &&
        asked(figure.arms, n.method))
      found.push_back(&n);
  return found;
}

std::vector<ReferenceLine> reference_lines(const FigureInput& in,
                                           const std::vector<std::string>& metrics) {
  std::vector<ReferenceLine> lines = chance_lines(in.task, metrics);
  for (const ReferenceLine& own : in.figure.references) {
    const auto same = std::find_if(lines.begin(), lines.end(), [&](const ReferenceLine& line) {
      return line.value == own.value;
    });
    if (same == lines.end())
      lines.push_back(own);
    else
      same->label += ", " + own.label;
  }
  return lines;
}

std::vector<double> values_of(const std::vector<ReferenceLine>& lines) {
  std::vector<double> values;
  for (const ReferenceLine& line : lines) values.push_back(line.value);
  return values;
}

const DictionaryEntry* find_dictionary(const Results& results, const std::string& name) {
  for (const DictionaryEntry& entry : results.dictionaries)
    if (entry.name == name) return &entry;
  return nullptr;
}

bool is_control(const FigureInput& in, const std::string& dictionary, const std::string& method) {
  const DictionaryEntry* entry = find_dictionary(in.results, dictionary);
  const ArmEntry* arm = find_arm(in.task, method);
  return (entry && !entry->null_kind.empty()) || (arm && arm->role == "control");
}

std::string row_name(const TaskResult& task, const std::string& dictionary,
                     const std::string& method) {
  if (method.empty()) return dictionary;
  const std::string label = arm_label(task, method);
  return dictionary.empty() ? label : dictionary + ": " + label;
}

std::string series_of(const DictionaryEntry& entry) {
  if (!entry.null_kind.empty()) return "control: " + entry.null_kind;
  return fmt::format("{} n {}", entry.variant, entry.n);
}

void add_figures(Page& page, const Results& results, const TaskResult& task) {
  if (task.figures.empty() && task.numbers.size() <= kPlainNumbers) {
    std::vector<const Number*> all;
    for (const Number& n : task.numbers) all.push_back(&n);
    add_number_table(page, task, all, "");
  }
  std::vector<FigureInput> small;
  for (const Figure& figure : task.figures) {
    if (is_small(figure)) {
      small.push_back({results, task, figure});
      continue;
    }
    add_small(page, small);
    small.clear();
    add_wide(page, {results, task, figure});
  }
  add_small(page, small);
}

}  // namespace assay::eval::report
