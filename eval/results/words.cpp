#include "eval/results/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <tuple>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr std::array kRoles = {"", "headline", "baseline", "control", "ceiling", "difference"};
constexpr std::array kBetter = {"", "higher", "lower"};
constexpr std::array kKinds = {"dots", "curve", "frontier", "matrix", "histogram", "table"};
constexpr std::array kPanels = {"", "dictionary"};
constexpr std::array kOrders = {"", "best_first"};

template <class Entry>
const Entry* find(const std::vector<Entry>& entries, const std::string& name) {
  const auto at = std::find_if(entries.begin(), entries.end(),
                               [&](const Entry& entry) { return entry.name == name; });
  return at == entries.end() ? nullptr : &*at;
}

template <class Entry>
std::string label_of(const Entry* entry, const std::string& name) {
  return entry ? entry->label : name;
}

template <size_t N>
void check_one_of(const std::array<const char*, N>& known, const std::string& where,
                  const std::string& found) {
  if (std::find(known.begin(), known.end(), found) != known.end()) return;
  throw Error(
      fmt::format("{}: expected one of '{}', found '{}'", where, fmt::join(known, "', '"), found));
}

template <class Entry>
void check_unique(const std::vector<Entry>& entries, const std::string& where) {
  std::set<std::string> names;
  for (const Entry& entry : entries)
    if (!names.insert(entry.name).second)
      throw Error(fmt::format("{}: two named '{}'", where, entry.name));
}

void check_figure(const TaskResult& task, const Figure& figure, const std::string& where) {
  check_one_of(kKinds, where + ".kind", figure.kind);
  check_one_of(kPanels, where + ".panels", figure.panels);
  check_one_of(kOrders, where + ".order", figure.order);
  for (const std::string& metric : figure.metrics)
    if (!find_metric(task, metric))
      throw Error(fmt::format("{}: metric '{}' is not declared", where, metric));
  size_t metrics = 1, fields = 0;
  if (figure.kind == "frontier") metrics = 2;
  if (figure.kind == "histogram") metrics = 0, fields = 3;
  if (figure.kind == "matrix") fields = 2;
  if (figure.metrics.size() < metrics || figure.fields.size() != fields)
    throw Error(fmt::format("{}: a {} needs {} metrics and {} fields, found {} and {}", where,
                            figure.kind, metrics, fields, figure.metrics.size(),
                            figure.fields.size()));
  if (figure.kind == "curve" && figure.x != "k" && figure.x != "part")
    throw Error(fmt::format("{}.x: expected 'k' or 'part', found '{}'", where, figure.x));
}

/// Arms with scores may be chosen as the best; what knows nothing, or what none may, cannot be.
void check_score(const TaskResult& task, const Score& score, const std::string& where) {
  const ArmEntry* arm = find_arm(task, score.method);
  if (!arm) return;
  if (score.headline != (arm->role == "headline"))
    throw Error(fmt::format("{}: '{}' is {}a headline here, its arm's role is '{}'", where,
                            score.method, score.headline ? "" : "not ", arm->role));
  if (arm->role == "control" || arm->role == "ceiling" || arm->role == "difference")
    throw Error(fmt::format("{}: '{}' is a {}, which is never a candidate for the best arm", where,
                            score.method, arm->role));
  if (score.dictionary.empty() && arm->role != "baseline")
    throw Error(fmt::format("{}: '{}' needs no dictionary here, its arm's role is '{}'", where,
                            score.method, arm->role));
}

/// An arm has one score in a table: any two are paired, and one is the headline.
void check_unique_scores(const TaskResult& task, const std::string& where) {
  std::set<std::tuple<std::string, std::string, std::string, std::string>> found;
  for (const Score& s : task.scores)
    if (!found.emplace(s.metric, s.part, s.dictionary, s.method).second)
      throw Error(fmt::format("{}: two of '{}' {} {}, dictionary '{}'", where, s.method, s.metric,
                              s.part, s.dictionary));
}

}  // namespace

const ArmEntry* find_arm(const TaskResult& task, const std::string& name) {
  return find(task.arms, name);
}
const MetricEntry* find_metric(const TaskResult& task, const std::string& name) {
  return find(task.metrics, name);
}
std::optional<double> chance_of(const TaskResult& task, const std::string& metric) {
  const MetricEntry* entry = find_metric(task, metric);
  return entry ? entry->chance : std::nullopt;
}
const PartEntry* find_part(const TaskResult& task, const std::string& name) {
  return find(task.parts, name);
}

std::string arm_label(const TaskResult& task, const std::string& name) {
  return label_of(find_arm(task, name), name);
}
std::string arm_with_cost(const TaskResult& task, const std::string& name) {
  const ArmEntry* arm = find_arm(task, name);
  const bool costs = arm && !arm->reads.empty();
  return arm_label(task, name) + (costs ? fmt::format(" (reads {})", arm->reads) : "");
}
std::string metric_label(const TaskResult& task, const std::string& name) {
  return label_of(find_metric(task, name), name);
}
std::string part_label(const TaskResult& task, const std::string& name) {
  return label_of(find_part(task, name), name);
}
std::string task_label(const TaskResult& task) {
  return task.title.empty() ? task.name : task.title;
}

void declare_difference(TaskResult& task, const std::string& name, const std::string& a,
                        const std::string& b_label) {
  if (find_arm(task, name)) return;
  const ArmEntry* own = find_arm(task, a);
  task.arms.push_back({.name = name,
                       .label = arm_label(task, a) + " − " + b_label,
                       .role = "difference",
                       .space = own ? own->space : "",
                       .method = "paired_difference",
                       .k = std::nullopt});
}

void check_words(const TaskResult& task) {
  const std::string where = fmt::format("tasks.{}.", task.name);
  check_unique(task.arms, where + "arms");
  check_unique(task.metrics, where + "metrics");
  check_unique(task.parts, where + "parts");
  for (const ArmEntry& arm : task.arms)
    check_one_of(kRoles, fmt::format("{}arms.{}.role", where, arm.name), arm.role);
  for (const MetricEntry& metric : task.metrics)
    check_one_of(kBetter, fmt::format("{}metrics.{}.better", where, metric.name), metric.better);
  for (size_t i = 0; i < task.figures.size(); ++i)
    check_figure(task, task.figures[i], fmt::format("{}figures[{}]", where, i));
  for (const Score& score : task.scores) check_score(task, score, where + "scores");
  check_unique_scores(task, where + "scores");
}

}  // namespace assay::eval
