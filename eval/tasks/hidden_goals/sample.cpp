#include "eval/tasks/hidden_goals/sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>

#include "data/split.h"
#include "eval/statistics/folds.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

struct Pool {
  std::vector<int32_t> category;  // [texts of the table]
  std::vector<std::string> names;
  std::vector<int64_t> texts;  // those that take part
};

Pool make_pool(const data::Dataset& dataset, const TextTable& table,
               const HiddenGoalsConfig& config) {
  Pool pool{text_labels(dataset, table, config.class_label),
            dataset.label(config.class_label).classes,
            {}};
  std::vector<int32_t> filter(pool.category.size(), 0);
  int32_t kept = 0;
  if (!config.filter_label.empty()) {
    filter = text_labels(dataset, table, config.filter_label);
    kept = class_index(dataset.label(config.filter_label), config.filter_class);
  }
  for (int64_t t = 0; t < table.size(); ++t) {
    if (filter[t] != kept || pool.category[t] < 0 || table.ordinary[t] == 0 ||
        table.ordinary[t] > config.longest)
      continue;
    if (pool.category[t] >= std::ssize(pool.names))
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), table.number[t], config.class_label,
                              pool.category[t], pool.names.size()));
    pool.texts.push_back(t);
  }
  return pool;
}

/// Shares of a text's document: validation = audit, test = concepts. Where texts are held back from
/// tests, organisms train on those and auditors read the others.
data::SplitRule part_rule(const TextTable& table, int64_t text, uint64_t seed) {
  if (!table.holds_back()) return {0.2, 0.4, seed};
  return table.for_tests(text) ? data::SplitRule{1.0 / 3, 2.0 / 3, seed}
                               : data::SplitRule{0, 0, seed};
}

/// The parts' texts, [part][class], in the run's random order.
using Cut = std::array<std::vector<std::vector<int64_t>>, 3>;

Cut cut(const Pool& pool, const TextTable& table, uint64_t seed) {
  std::vector<std::pair<uint64_t, int64_t>> keyed;
  for (const int64_t t : pool.texts)
    keyed.emplace_back(derive_seed(seed, {1, static_cast<uint64_t>(table.number[t])}), t);
  std::sort(keyed.begin(), keyed.end());
  Cut parts;
  for (auto& part : parts) part.resize(pool.names.size());
  for (const auto& [key, t] : keyed) {
    const data::Split split = data::split_of(table.document[t], part_rule(table, t, seed));
    const size_t part = split == data::Split::train ? 0 : split == data::Split::validation ? 1 : 2;
    parts[part][pool.category[t]].push_back(t);
  }
  return parts;
}

std::vector<int32_t> choose_classes(const Pool& pool, const std::vector<Cut>& cuts,
                                    const HiddenGoalsConfig& config) {
  std::vector<int32_t> chosen;
  std::vector<int64_t> count(pool.names.size());
  for (const int64_t t : pool.texts) ++count[pool.category[t]];
  for (int32_t c = 0; c < std::ssize(pool.names); ++c) {
    const bool enough = std::all_of(cuts.begin(), cuts.end(), [&](const Cut& parts) {
      return std::all_of(parts.begin(), parts.end(),
                         [&](const auto& part) { return std::ssize(part[c]) >= config.min_texts; });
    });
    if (enough) chosen.push_back(c);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [&](int32_t a, int32_t b) { return count[a] > count[b]; });
  if (std::ssize(chosen) > config.classes) chosen.resize(static_cast<size_t>(config.classes));
  if (chosen.size() < 4)
    throw Error(
        fmt::format("{} of {} classes of '{}' have {} texts in every part of the documents, and 4 "
                    "are needed: harvest more texts or lower min_texts",
                    chosen.size(), pool.names.size(), config.class_label, config.min_texts));
  return chosen;
}

GoalTexts take(const std::vector<std::vector<int64_t>>& part, const std::vector<int32_t>& chosen,
               int64_t limit) {
  GoalTexts result;
  for (size_t c = 0; c < chosen.size(); ++c) {
    const auto& texts = part[chosen[c]];
    const int64_t count = std::min(limit, std::ssize(texts));
    result.texts.insert(result.texts.end(), texts.begin(), texts.begin() + count);
    result.classes.insert(result.classes.end(), static_cast<size_t>(count),
                          static_cast<int32_t>(c));
  }
  return result;
}

}  // namespace

GoalPlan plan_goals(const data::Dataset& dataset, const TextTable& table,
                    const HiddenGoalsConfig& config, int64_t seeds, uint64_t seed) {
  const Pool pool = make_pool(dataset, table, config);
  std::vector<Cut> cuts;
  for (int64_t run = 0; run < seeds; ++run)
    cuts.push_back(cut(pool, table, derive_seed(seed, {static_cast<uint64_t>(run)})));
  const std::vector<int32_t> chosen = choose_classes(pool, cuts, config);
  GoalPlan plan;
  for (const int32_t c : chosen) plan.classes.push_back(pool.names[c]);
  plan.fold = tuning_folds(std::ssize(chosen), seed);
  for (const Cut& parts : cuts) {
    plan.runs.push_back(
        {take(parts[0], chosen, config.train_per_class),
         take(parts[1], chosen, config.audit_per_class),
         take(parts[2], chosen, config.concepts_per_class),
         take(parts[2], chosen, std::min(config.concepts_per_class, config.query_per_class))});
    check_disjoint(plan.runs.back(), table);
  }
  return plan;
}

void check_disjoint(const GoalRun& run, const TextTable& table) {
  std::unordered_map<int64_t, int> owner;
  int part = 0;
  for (const GoalTexts* texts : {&run.train, &run.audit, &run.concepts}) {
    for (const int64_t t : texts->texts)
      if (owner.emplace(table.document[t], part).first->second != part)
        throw Error(fmt::format("document {} is in two of the parts train, audit and concepts",
                                table.document[t]));
    ++part;
  }
}

}  // namespace assay::eval::hidden_goals
