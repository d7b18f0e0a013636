#include "eval/ood_probing_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_set>

#include "data/split.h"
#include "eval/rng.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

constexpr int64_t kMinTrain = 10;

/// The texts that take part, by domain, and the class of each text.
struct Pool {
  std::vector<int32_t> category;  // [texts of the table]
  int64_t classes = 0;
  std::vector<int64_t> source, target;
};

Pool make_pool(const data::Dataset& dataset, const TextTable& texts, const OodConfig& config) {
  Pool pool;
  pool.category = text_labels(dataset, texts, config.class_label);
  pool.classes = static_cast<int64_t>(dataset.label(config.class_label).classes.size());
  const auto domain = text_labels(dataset, texts, config.domain_label);
  const int32_t source = class_index(dataset.label(config.domain_label), config.source);
  const int32_t target = class_index(dataset.label(config.domain_label), config.target);
  std::vector<int32_t> filter(domain.size(), 0);
  int32_t kept = 0;
  if (!config.filter_label.empty()) {
    filter = text_labels(dataset, texts, config.filter_label);
    kept = class_index(dataset.label(config.filter_label), config.filter_class);
  }
  for (int64_t t = 0; t < texts.size(); ++t) {
    if (filter[t] != kept || pool.category[t] < 0 || texts.ordinary[t] == 0) continue;
    if (pool.category[t] >= pool.classes)
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes", dataset.info().path.string(),
                              texts.number[t], config.class_label, pool.category[t], pool.classes));
    if (domain[t] == source) pool.source.push_back(t);
    if (domain[t] == target) pool.target.push_back(t);
  }
  return pool;
}

/// One run's texts: the training half's sources, the test half's sources and targets, each in the run's random order.
struct RunTexts {
  std::vector<int64_t> train, id, ood;
};

RunTexts cut(const Pool& pool, const TextTable& texts, uint64_t seed, int64_t run) {
  const uint64_t half_seed = derive_seed(seed, {0, static_cast<uint64_t>(run / 2)});
  const data::SplitRule halves{0.5, 0, half_seed};
  const data::Split test_half = run % 2 ? data::Split::train : data::Split::validation;
  RunTexts result;
  for (const int64_t t : pool.source)
    (data::split_of(texts.document[t], halves) == test_half ? result.id : result.train).push_back(t);
  for (const int64_t t : pool.target)
    if (data::split_of(texts.document[t], halves) == test_half) result.ood.push_back(t);
  for (auto* part : {&result.train, &result.id, &result.ood}) {
    std::vector<std::pair<uint64_t, int64_t>> keyed;
    for (const int64_t t : *part)
      keyed.emplace_back(derive_seed(half_seed, {1, static_cast<uint64_t>(texts.number[t])}), t);
    std::sort(keyed.begin(), keyed.end());
    std::transform(keyed.begin(), keyed.end(), part->begin(), [](const auto& k) { return k.second; });
  }
  return result;
}

ProbingPart sample(const std::vector<int64_t>& order, const std::vector<int32_t>& category, int32_t label,
                   int64_t positives, int64_t negatives) {
  ProbingPart part;
  for (const int64_t t : order)
    if (category[t] == label && static_cast<int64_t>(part.texts.size()) < positives) part.texts.push_back(t);
  const auto found = static_cast<int64_t>(part.texts.size());
  if (negatives < 0) negatives = found;
  part.labels.assign(part.texts.size(), 1);
  for (const int64_t t : order) {
    if (category[t] == label || static_cast<int64_t>(part.texts.size()) == found + negatives) continue;
    part.texts.push_back(t);
    part.labels.push_back(0);
  }
  return part;
}

std::vector<int64_t> count_classes(const std::vector<int64_t>& order, const Pool& pool) {
  std::vector<int64_t> counts(static_cast<size_t>(pool.classes));
  for (const int64_t t : order) ++counts[pool.category[t]];
  return counts;
}

std::vector<int32_t> choose_classes(const Pool& pool, const std::vector<RunTexts>& runs, const OodConfig& config) {
  std::vector<uint8_t> enough(static_cast<size_t>(pool.classes), 1);
  for (const RunTexts& run : runs) {
    const auto train = count_classes(run.train, pool), id = count_classes(run.id, pool),
               ood = count_classes(run.ood, pool);
    for (int64_t c = 0; c < pool.classes; ++c)
      enough[c] &= train[c] >= kMinTrain && id[c] >= 1 && ood[c] >= config.min_target;
  }
  const auto targets = count_classes(pool.target, pool);
  std::vector<int32_t> chosen;
  for (int32_t c = 0; c < pool.classes; ++c)
    if (enough[c]) chosen.push_back(c);
  std::stable_sort(chosen.begin(), chosen.end(), [&](int32_t a, int32_t b) { return targets[a] > targets[b]; });
  if (static_cast<int64_t>(chosen.size()) > config.classes) chosen.resize(static_cast<size_t>(config.classes));
  if (chosen.size() < 2)
    throw Error(fmt::format(
        "ood_probing: {} of {} classes of '{}' have {} '{}' texts in every half of the documents ({} such "
        "texts in all), and 2 are needed: harvest more texts or lower min_target",
        chosen.size(), pool.classes, config.class_label, config.min_target, config.target, pool.target.size()));
  return chosen;
}

}  // namespace

ProbingPlan plan_probing(const data::Dataset& dataset, const TextTable& texts, const OodConfig& config, int64_t seeds,
                         uint64_t seed) {
  const Pool pool = make_pool(dataset, texts, config);
  ProbingPlan plan;
  plan.runs = 2 * seeds;
  std::vector<RunTexts> runs;
  for (int64_t run = 0; run < plan.runs; ++run) runs.push_back(cut(pool, texts, seed, run));
  const std::vector<int32_t> chosen = choose_classes(pool, runs, config);
  for (size_t c = 0; c < chosen.size(); ++c) {
    plan.classes.push_back(dataset.label(config.class_label).classes[chosen[c]]);
    for (int64_t run = 0; run < plan.runs; ++run) {
      ProbingCell cell{static_cast<int64_t>(c), run, {}, {}, {}};
      cell.train = sample(runs[run].train, pool.category, chosen[c], config.train_per_class, -1);
      cell.id = sample(runs[run].id, pool.category, chosen[c], config.test_positives, config.test_negatives);
      cell.ood = sample(runs[run].ood, pool.category, chosen[c], config.test_positives, config.test_negatives);
      check_disjoint(cell, texts);
      plan.cells.push_back(std::move(cell));
    }
  }
  return plan;
}

void check_disjoint(const ProbingCell& cell, const TextTable& texts) {
  std::unordered_set<int64_t> documents;
  for (const int64_t t : cell.train.texts) documents.insert(texts.document[t]);
  for (const ProbingPart* part : {&cell.id, &cell.ood})
    for (const int64_t t : part->texts)
      if (documents.count(texts.document[t]))
        throw Error(fmt::format("ood_probing: document {} is in the training and in the test part of a probe",
                                texts.document[t]));
}

}  // namespace assay::eval
