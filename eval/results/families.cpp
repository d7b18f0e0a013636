#include "eval/results/families.h"

#include <fmt/format.h>

#include <set>

namespace assay::eval {

void set_estimate(Number& number, const Estimate& estimate, const std::string& noun) {
  number.value = estimate.value;
  number.interval = estimate.interval;
  number.interval_kind = estimate.interval ? fmt::format("Student's t over {} {}", estimate.n, noun)
                                           : fmt::format("none: it takes two {} or more", noun);
}

void set_estimate(Number& number, const Estimate& estimate, const std::string& noun, int64_t units,
                  int64_t runs) {
  set_estimate(number, estimate, noun);
  if (!estimate.interval) return;
  number.interval_kind = fmt::format("Student's t over {} {}", units, noun);
  number.interval_kind += runs >= 3   ? fmt::format(" and {} runs", runs)
                          : runs == 2 ? "; two runs do not tell how runs vary"
                                      : "; one run does not tell how runs vary";
}

void set_estimate(Number& number, const Estimate& estimate, const std::string& noun,
                  std::span<const Cell> cells) {
  std::set<int64_t> units, runs;
  for (const Cell& cell : cells) {
    units.insert(cell.unit);
    runs.insert(cell.run);
  }
  set_estimate(number, estimate, noun, std::ssize(units), std::ssize(runs));
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
