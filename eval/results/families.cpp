#include "eval/results/families.h"

#include <fmt/format.h>

#include <set>

#include "eval/results/compare.h"

namespace assay::eval {

void set_estimate(Number& number, const Estimate& estimate, const std::string& units) {
  number.value = estimate.value;
  number.interval = estimate.interval;
  number.interval_kind =
      estimate.interval ? "Student's t over " + units : "none: it takes two " + units + " or more";
}

void set_estimate(Number& number, const Estimate& estimate, const std::string& units,
                  std::span<const Cell> cells) {
  set_estimate(number, estimate, units);
  if (!estimate.interval) return;
  std::set<int64_t> runs;
  for (const Cell& cell : cells) runs.insert(cell.run);
  number.interval_kind += runs.size() >= 3   ? fmt::format(" and {} runs", runs.size())
                          : runs.size() == 2 ? "; two runs do not tell how runs vary"
                                             : "; one run does not tell how runs vary";
}

void add_interval(nlohmann::json& row, const Estimate& estimate) {
  if (!estimate.interval) return;
  row["low"] = (*estimate.interval)[0];
  row["high"] = (*estimate.interval)[1];
}

void add_holm(nlohmann::json& rows) {
  std::vector<double> p;
  for (const nlohmann::json& row : rows) p.push_back(row.at("p").get<double>());
  const std::vector<double> adjusted = holm(p);
  for (size_t i = 0; i < adjusted.size(); ++i) rows[i]["p_holm"] = adjusted[i];
}

void DifferenceFamily::add(Number number, const Estimate& estimate, TaskResult& result) {
  rows_.push_back({{"dictionary", number.dictionary},
                   {"method", number.method},
                   {"value", number.value},
                   {"p", estimate.p}});
  result.numbers.push_back(std::move(number));
}

void DifferenceFamily::finish(TaskResult& result) {
  add_holm(rows_);
  result.details["differences"] = std::move(rows_);
}

void add_null_checks(const std::vector<NullTest>& tests, TaskResult& result) {
  std::vector<double> p;
  for (const NullTest& test : tests) p.push_back(test.p);
  const std::vector<double> adjusted = holm(p);
  for (size_t i = 0; i < tests.size(); ++i)
    result.checks.push_back(
        {"label null: " + tests[i].name, adjusted[i] >= kCheckAlpha,
         fmt::format("{} {:.3f} (Holm {:.3f})", tests[i].detail, p[i], adjusted[i])});
}

}  // namespace assay::eval
