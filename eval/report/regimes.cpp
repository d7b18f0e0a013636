// Curves of the probing regimes: OOD AUROC over texts a class, share of positives, share of flipped
// labels.
#include <algorithm>

#include "eval/report/format.h"
#include "eval/report/sections.h"
#include "eval/report/vega.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

struct Family {
  const char *key, *title, *x_title;
};
constexpr Family kFamilies[] = {{"scarcity", "Few labels", "training texts of each class"},
                                {"imbalance", "Rare positives", "% positive"},
                                {"noise", "Flipped labels", "% of labels flipped"}};

bool is_point(const json& row) {
  const auto text = [&row](const char* key) { return row.contains(key) && row[key].is_string(); };
  const auto number = [&row](const char* key) { return row.contains(key) && row[key].is_number(); };
  return row.is_object() && text("family") && text("method") && text("dictionary") &&
         number("level") && number("ood") && number("low") && number("high");
}

/// Shown: logistic regression, mean difference, and each trained dictionary's headline arm.
bool is_shown(const Results& results, const json& row, const std::string& headline) {
  const std::string dictionary = row["dictionary"], method = row["method"];
  if (dictionary.empty()) return method == "dense_lr" || method == "diff_means";
  return method == headline && std::any_of(results.dictionaries.begin(), results.dictionaries.end(),
                                           [&](const DictionaryEntry& d) {
                                             return d.name == dictionary && d.null_kind.empty();
                                           });
}

}  // namespace

void add_regime_charts(Page& page, const Results& results, const TaskResult& task) {
  const auto rows = task.details.find("curves");
  if (rows == task.details.end() || !rows->is_array() ||
      !std::all_of(rows->begin(), rows->end(), is_point))
    return;
  const std::string headline = headline_arm(task);
  page.begin_grid();
  for (const Family& family : kFamilies) {
    json values = json::array();
    std::vector<std::string> series;
    for (const json& row : *rows) {
      if (row["family"] != family.key || !is_shown(results, row, headline)) continue;
      const std::string dictionary = row["dictionary"], method = method_name(row["method"]);
      const std::string name = dictionary.empty() ? method : dictionary + ", " + method;
      if (std::find(series.begin(), series.end(), name) == series.end()) series.push_back(name);
      values.push_back({{"x", row["level"]},
                        {"y", row["ood"]},
                        {"low", row["low"]},
                        {"high", row["high"]},
                        {"series", name},
                        {"name", name}});
    }
    if (values.empty()) continue;
    page.figure(vega::frontier(values, family.x_title, "OOD AUROC", series, 0.5), family.title,
                std::string(family.title) +
                    ": OOD AUROC of plain probes and of each dictionary's headline arm");
  }
  page.end_grid();
  page.caption(
      "OOD AUROC where labels are few, skewed or wrong, with 95 % intervals. Dashed: chance.");
}

}  // namespace assay::eval::report
