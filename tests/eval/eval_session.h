// A session over planted data, as `assay eval` makes one.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "eval/encoding/dictionaries.h"
#include "eval/tasks/probing/settings.h"
#include "eval/tasks/task.h"
#include "tests/eval/planted_data.h"

namespace assay::eval::test {

/// Of one table of scores: units, runs.
using TableSize = std::pair<int64_t, int64_t>;
using TableSizes = std::map<std::array<std::string, 3>, TableSize>;

inline TableSizes scored_sizes(const std::vector<TaskResult>& results) {
  TableSizes sizes;
  for (const TaskResult& task : results)
    for (const Score& score : task.scores) {
      std::set<int64_t> units, runs;
      for (const Cell& cell : score.cells) {
        units.insert(cell.unit);
        runs.insert(cell.run);
      }
      sizes[{task.name, score.metric, score.part}] = {std::ssize(units), std::ssize(runs)};
    }
  return sizes;
}

/// Runs them, and holds the tables of scores to what was planned. A task that failed has none.
inline std::vector<TaskResult> run_as_planned(const Session& session,
                                              const std::vector<ChosenTask>& tasks) {
  std::vector<TaskResult> results = run_tasks(session, tasks);
  TableSizes planned;
  for (const PlannedTable& table : plan_tasks(session, tasks).tables)
    for (const TaskResult& result : results)
      if (result.name == table.task && result.status != "failed")
        planned[{table.task, table.metric, table.part}] = {table.units, table.runs};
  EXPECT_EQ(scored_sizes(results), planned);
  return results;
}

struct SessionFixture {
  SessionFixture(const std::string& name, const PlantedOptions& options, int threads = 2)
      : folder(name), planted(make_planted(options)), context({Device::cpu, threads}) {
    write_planted(planted, folder.path());
    dataset = std::make_unique<data::Dataset>(data::Dataset::open(folder.path()));
    config.seeds = 1;
    config.documents = "all";
    auto& ood = config.of<probing::OodConfig>();
    ood.min_target = 5;
    ood.top_k = {1, 4};
    ood.pca = 8;
    ood.neighbours = 8;
  }

  /// A trained dictionary of this data set, named `name`.
  void add(sae::Dictionary dictionary, const std::string& name) {
    dictionary.info.data_hash = dataset->info().content_hash;
    dictionary.info.split_rule = "validation=0.2,test=0.05,seed=0";
    EvalDictionary d;
    d.entry.name = name;
    d.dictionary = std::move(dictionary);
    dictionaries.push_back(std::move(d));
  }

  Session session() {
    return {.context = context,
            .dataset = *dataset,
            .config = config,
            .dictionaries = dictionaries,
            .rule = common_split_rule(*dataset, dictionaries, {0.2, 0.05, 0}),
            .seed = 11,
            .model = {},
            .log = [this](const std::string& line) { log.push_back(line); }};
  }

  std::vector<TaskResult> run(const std::vector<std::string>& names) {
    const Session s = session();
    auto tasks = choose_tasks(names, s);
    return run_as_planned(s, tasks);
  }

  support::TemporaryFolder folder;
  Planted planted;
  Context context;
  std::unique_ptr<data::Dataset> dataset;
  EvalConfig config;
  std::vector<EvalDictionary> dictionaries;
  std::vector<std::string> log;
};

/// The one number of this kind; null where there is none.
inline const Number* find(const TaskResult& result, const std::string& metric,
                          const std::string& method, const std::string& dictionary,
                          const std::string& part) {
  for (const Number& n : result.numbers)
    if (n.metric == metric && n.method == method && n.dictionary == dictionary && n.part == part)
      return &n;
  return nullptr;
}

}  // namespace assay::eval::test
