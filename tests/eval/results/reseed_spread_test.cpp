// How far two single dictionaries must lie apart where the spread between training seeds is known.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "eval/results/compare.h"

namespace assay::eval {
namespace {

using testing::HasSubstr;

struct Builder {
  Results results;

  Builder() {
    TaskResult core, task;
    core.name = "core";
    task.name = "proxy";
    core.status = task.status = "ok";
    results.tasks = {core, task};
  }
  /// A dictionary that is `mean` in every unit, but for a ripple of its own that makes every
  /// difference vary a little.
  void add(const std::string& name, const std::string& setting, double mean,
           const std::string& parent = "", int64_t runs = 3) {
    DictionaryEntry entry;
    entry.name = entry.hash = name;
    entry.setting = setting;
    entry.seed = results.dictionaries.size();
    entry.parent = parent;
    if (!parent.empty()) entry.null_kind = "random";
    Number l0;
    l0.metric = "l0";
    l0.part = "validation";
    l0.dictionary = name;
    l0.value = 32;
    results.tasks[0].numbers.push_back(l0);
    std::vector<Cell> cells;
    const auto place = static_cast<int64_t>(results.dictionaries.size());
    for (int64_t unit = 0; unit < 12; ++unit)
      for (int64_t run = 0; run < runs; ++run)
        cells.push_back({unit, run, mean + (unit % (place + 2) == 0 ? 1e-4 : 0)});
    results.tasks[1].scores.push_back({"auroc", "ood", "m", name, true, true, cells});
    results.dictionaries.push_back(entry);
  }
};

/// Why "other" is not ranked above "b" of three seeds .1 apart.
std::string reason(double ahead) {
  Builder builder;
  for (const auto& [name, mean] : {std::pair("a", 0.0), {"b", 0.1}, {"c", 0.2}}) {
    builder.add(name, "reseeded", mean);
    builder.add(std::string(name) + ":random", "", -5, name);
  }
  builder.add("other", "alone", 0.1 + ahead);
  builder.add("other:random", "", -5, "other");
  const Comparison comparison = compare(builder.results);
  for (const RankedPair& pair : comparison.tables.at(0).pairs)
    if (pair.a == "b" && pair.b == "other") {
      EXPECT_NEAR(pair.difference.value, -ahead, 1e-3);
      EXPECT_EQ(pair.ranked, pair.reason.empty());
      return pair.reason;
    }
  return "no such pair";
}

TEST(ReseedSpread, TwoDictionariesMustDifferByMoreThanTwoSeedsDo) {
  // t(.975, 2) · .1 · √(1/1 + 1/1) = 4.302653 · .1 · 1.414214 = .608487
  EXPECT_THAT(reason(0.45), HasSubstr("within the reseed spread, 0.60"));
  EXPECT_THAT(reason(0.60), HasSubstr("within the reseed spread, 0.60"));
  EXPECT_EQ(reason(0.62), "");
}

TEST(ReseedSpread, HowFarEvaluationsVaryIsWrittenFromThreeRunsOn) {
  for (const int64_t runs : {1, 3}) {
    Builder builder;
    builder.add("a", "alone", 0.1, "", runs);
    builder.add("a:random", "", -5, "a", runs);
    const TaskResult written = comparison_task(compare(builder.results));
    const auto& row = written.details.at("reliability").at(0);
    EXPECT_EQ(row.at("runs"), runs);
    for (const char* key : {"between_runs_sd", "detectable_between_evaluations"})
      EXPECT_EQ(row.contains(key), runs == 3) << key << " of " << runs;
  }
}

}  // namespace
}  // namespace assay::eval
