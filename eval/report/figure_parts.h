// What the files that draw figures share.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "eval/report/figures.h"
#include "eval/report/vega.h"

namespace assay::eval::report {

/// A chart with its title; several are the panels of one figure.
struct Panel {
  std::string title;
  vega::Chart chart;
};

/// What a figure is drawn from.
struct FigureInput {
  const Results& results;
  const TaskResult& task;
  const Figure& figure;
};

inline bool holds(const std::vector<std::string>& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}
/// An empty list asks for all.
inline bool asked(const std::vector<std::string>& list, const std::string& name) {
  return list.empty() || holds(list, name);
}
inline void note(std::vector<std::string>& list, const std::string& name) {
  if (!holds(list, name)) list.push_back(name);
}

/// Numbers of the figure's metrics, parts and arms, in the order of the results.
std::vector<const Number*> numbers_of(const TaskResult& task, const Figure& figure);
/// Dashed lines at the chance levels of the metrics, each level once, and at the figure's
/// references.
std::vector<ReferenceLine> reference_lines(const FigureInput& in,
                                           const std::vector<std::string>& metrics);
std::vector<double> values_of(const std::vector<ReferenceLine>& lines);
/// Is this a dictionary that never learnt, or an arm that knows nothing?
bool is_control(const FigureInput& in, const std::string& dictionary, const std::string& method);

std::vector<Panel> dot_panels(const FigureInput& in);
std::vector<Panel> curve_panels(const FigureInput& in);
std::vector<Panel> frontier_panels(const FigureInput& in);
std::vector<Panel> matrix_panels(const FigureInput& in);
std::vector<Panel> histogram_panels(const FigureInput& in);

/// The best value of an arm that needs no dictionary, at the figure's last part; for dots in
/// panels.
std::optional<double> best_baseline(const FigureInput& in);

/// Arms down (and parts, where they would not fit across), metrics across.
void add_number_table(Page& page, const TaskResult& task, const std::vector<const Number*>& numbers,
                      const std::string& caption);

}  // namespace assay::eval::report
