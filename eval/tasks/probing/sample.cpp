#include "eval/tasks/probing/sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <unordered_set>

#include "data/split.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

constexpr int64_t kMinTrain = 10;

/// The texts that take part, by domain, and the class of each text.
struct Pool {
  std::vector<int32_t> category;  // [texts of the table]
  int64_t classes = 0;
  std::vector<int64_t> source, target;
};

/// Where a pool's two sides come from: a class of the domain label and one of the filter label
/// each.
struct Sides {
  std::string source, source_filter, target, target_filter;
};

Pool make_pool(const data::Dataset& dataset, const TextTable& texts, const OodConfig& config,
               const Sides& sides) {
  Pool pool;
  pool.category = text_labels(dataset, texts, config.class_label);
  pool.classes = static_cast<int64_t>(dataset.label(config.class_label).classes.size());
  const auto domain = text_labels(dataset, texts, config.domain_label);
  const int32_t source = class_index(dataset.label(config.domain_label), sides.source);
  const int32_t target = class_index(dataset.label(config.domain_label), sides.target);
  std::vector<int32_t> filter(domain.size(), 0);
  int32_t source_kept = 0, target_kept = 0;
  if (!config.filter_label.empty()) {
    filter = text_labels(dataset, texts, config.filter_label);
    source_kept = class_index(dataset.label(config.filter_label), sides.source_filter);
    target_kept = class_index(dataset.label(config.filter_label), sides.target_filter);
  }
  for (int64_t t = 0; t < texts.size(); ++t) {
    if (pool.category[t] < 0 || texts.ordinary[t] == 0) continue;
    if (pool.category[t] >= pool.classes)
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), texts.number[t], config.class_label,
                              pool.category[t], pool.classes));
    if (domain[t] == source && filter[t] == source_kept) pool.source.push_back(t);
    if (domain[t] == target && filter[t] == target_kept) pool.target.push_back(t);
  }
  return pool;
}

/// A class by its label on either side.
struct ClassPair {
  std::string name;
  int32_t source, target;
};

/// One run's texts: the training fold's sources, the test fold's sources and targets, each in the
/// run's random order.
struct RunTexts {
  std::vector<int64_t> train, id, ood;
};

RunTexts cut(const Pool& pool, const TextTable& texts, uint64_t seed, int64_t run) {
  const uint64_t cut_seed = derive_seed(seed, {0, static_cast<uint64_t>(run / 2)});
  const data::SplitRule folds{0.5, 0, cut_seed};
  const data::Split test_fold = run % 2 ? data::Split::train : data::Split::validation;
  RunTexts result;
  const auto tests = [&](int64_t t) {
    return data::split_of(texts.document[t], folds) == test_fold;
  };
  for (const int64_t t : pool.source) {
    if (!tests(t)) result.train.push_back(t);
    if (tests(t) && texts.for_tests(t)) result.id.push_back(t);
  }
  for (const int64_t t : pool.target)
    if (tests(t) && texts.for_tests(t)) result.ood.push_back(t);
  for (auto* part : {&result.train, &result.id, &result.ood}) {
    std::vector<std::pair<uint64_t, int64_t>> keyed;
    for (const int64_t t : *part)
      keyed.emplace_back(derive_seed(cut_seed, {1, static_cast<uint64_t>(texts.number[t])}), t);
    std::sort(keyed.begin(), keyed.end());
    std::transform(keyed.begin(), keyed.end(), part->begin(),
                   [](const auto& k) { return k.second; });
  }
  return result;
}

LabelledTexts sample(const std::vector<int64_t>& order, const std::vector<int32_t>& category,
                     int32_t label, int64_t positives, int64_t negatives) {
  LabelledTexts part;
  for (const int64_t t : order)
    if (category[t] == label && static_cast<int64_t>(part.texts.size()) < positives)
      part.texts.push_back(t);
  const auto found = static_cast<int64_t>(part.texts.size());
  if (negatives < 0) negatives = found;
  part.labels.assign(part.texts.size(), 1);
  for (const int64_t t : order) {
    if (category[t] == label || static_cast<int64_t>(part.texts.size()) == found + negatives)
      continue;
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

LabelledTexts train_part(const RunTexts& run, const Pool& pool, const OodConfig& config,
                         const ClassPair& pair) {
  return sample(run.train, pool.category, pair.source, config.train_per_class, -1);
}

/// Has each class texts of two documents? Every choice is made on other documents.
bool in_two_documents(const LabelledTexts& part, const TextTable& texts) {
  std::unordered_set<int64_t> documents[2];
  for (size_t i = 0; i < part.texts.size(); ++i)
    documents[part.labels[i]].insert(texts.document[part.texts[i]]);
  return documents[0].size() >= 2 && documents[1].size() >= 2;
}

/// What has_enough asks of a class, but for the number of test texts.
std::string enough_to_train(const OodConfig& config) {
  return fmt::format(
      "{} texts to train on (two documents of the class and two of others among {} "
      "of each)",
      kMinTrain, config.train_per_class);
}

/// Has every fold of the documents enough texts of this class?
bool has_enough(const Pool& pool, const TextTable& texts, const std::vector<RunTexts>& runs,
                const OodConfig& config, const ClassPair& pair) {
  return std::all_of(runs.begin(), runs.end(), [&](const RunTexts& run) {
    return count_classes(run.train, pool)[pair.source] >= kMinTrain &&
           in_two_documents(train_part(run, pool, config, pair), texts) &&
           count_classes(run.id, pool)[pair.source] >= config.min_target &&
           count_classes(run.ood, pool)[pair.target] >= config.min_target;
  });
}

std::vector<ClassPair> choose_classes(const Pool& pool, const TextTable& texts,
                                      const std::vector<RunTexts>& runs, const OodConfig& config,
                                      const data::LabelInfo& label) {
  const auto targets = count_classes(pool.target, pool);
  std::vector<ClassPair> chosen;
  for (int32_t c = 0; c < pool.classes; ++c) {
    ClassPair pair{label.classes[c], c, c};
    if (has_enough(pool, texts, runs, config, pair)) chosen.push_back(std::move(pair));
  }
  std::stable_sort(chosen.begin(), chosen.end(), [&](const ClassPair& a, const ClassPair& b) {
    return targets[a.target] > targets[b.target];
  });
  if (static_cast<int64_t>(chosen.size()) > config.classes)
    chosen.resize(static_cast<size_t>(config.classes));
  if (chosen.size() < 2)
    throw Error(fmt::format(
        "probing: {} of {} classes of '{}' have enough texts in every half of the "
        "documents, and 2 are needed: {}, and {} of '{}' and {} of '{}' to test on. "
        "There are {} and {} in all: harvest more texts or lower "
        "ood_probing.min_target",
        chosen.size(), pool.classes, config.class_label, enough_to_train(config), config.min_target,
        config.source, config.min_target, config.target, pool.source.size(), pool.target.size()));
  return chosen;
}

ProbingPlan make_plan(const Pool& pool, const TextTable& texts, const std::vector<RunTexts>& runs,
                      const std::vector<ClassPair>& chosen, const OodConfig& config) {
  ProbingPlan plan;
  plan.runs = std::ssize(runs);
  for (size_t c = 0; c < chosen.size(); ++c) {
    plan.classes.push_back(chosen[c].name);
    for (int64_t run = 0; run < plan.runs; ++run) {
      ProbingCell cell{static_cast<int64_t>(c), run, {}, {}, {}};
      cell.train = train_part(runs[run], pool, config, chosen[c]);
      cell.id = sample(runs[run].id, pool.category, chosen[c].source, config.test_positives,
                       config.test_negatives);
      cell.ood = sample(runs[run].ood, pool.category, chosen[c].target, config.test_positives,
                        config.test_negatives);
      check_disjoint(cell, texts);
      plan.cells.push_back(std::move(cell));
    }
  }
  return plan;
}

std::vector<RunTexts> cut_runs(const Pool& pool, const TextTable& texts, int64_t seeds,
                               uint64_t seed) {
  std::vector<RunTexts> runs;
  for (int64_t run = 0; run < 2 * seeds; ++run) runs.push_back(cut(pool, texts, seed, run));
  return runs;
}

}  // namespace

ProbingPlan plan_probing(const data::Dataset& dataset, const TextTable& texts,
                         const OodConfig& config, int64_t seeds, uint64_t seed) {
  const Sides sides{config.source, config.filter_class, config.target, config.filter_class};
  const Pool pool = make_pool(dataset, texts, config, sides);
  const std::vector<RunTexts> runs = cut_runs(pool, texts, seeds, seed);
  return make_plan(pool, texts, runs,
                   choose_classes(pool, texts, runs, config, dataset.label(config.class_label)),
                   config);
}

ProbingPlan plan_themes(const data::Dataset& dataset, const TextTable& texts,
                        const OodConfig& config, const ThemesConfig& themes, int64_t seeds,
                        uint64_t seed) {
  if (config.filter_label.empty())
    throw Error("probe_themes: needs ood_probing.filter_label, which tells the kinds apart");
  const Sides sides{config.source, themes.source, config.source, themes.target};
  const Pool pool = make_pool(dataset, texts, config, sides);
  const std::vector<RunTexts> runs = cut_runs(pool, texts, seeds, seed);
  const data::LabelInfo& label = dataset.label(config.class_label);
  std::vector<ClassPair> chosen;
  std::vector<std::string> left_out;
  for (const std::string& text : themes.pairs) {
    const size_t equals = text.find('=');
    if (equals == std::string::npos)
      throw Error(fmt::format("probe_themes: pair '{}' is not SOURCE=TARGET, two classes of '{}'",
                              text, label.name));
    const ClassPair pair{text, class_index(label, text.substr(0, equals)),
                         class_index(label, text.substr(equals + 1))};
    if (has_enough(pool, texts, runs, config, pair))
      chosen.push_back(pair);
    else
      left_out.push_back(
          fmt::format("{}: a half of the documents lacks {}, or {} texts on either side to test on",
                      text, enough_to_train(config), config.min_target));
  }
  if (chosen.size() < 2)
    throw Error(fmt::format(
        "probe_themes: {} of {} themes have enough texts, and 2 are needed: harvest more texts, "
        "lower ood_probing.min_target or name other pairs",
        chosen.size(), themes.pairs.size()));
  ProbingPlan plan = make_plan(pool, texts, runs, chosen, config);
  plan.left_out = left_out;
  return plan;
}

std::vector<int64_t> texts_of(const ProbingCell& cell) {
  std::vector<int64_t> texts;
  for (const LabelledTexts* part : {&cell.train, &cell.id, &cell.ood})
    texts.insert(texts.end(), part->texts.begin(), part->texts.end());
  return texts;
}

std::vector<int64_t> all_texts(const ProbingPlan& plan) {
  std::set<int64_t> texts;
  for (const ProbingCell& cell : plan.cells)
    for (const LabelledTexts* part : {&cell.train, &cell.id, &cell.ood})
      texts.insert(part->texts.begin(), part->texts.end());
  return {texts.begin(), texts.end()};
}

std::vector<int64_t> tested_documents(const ProbingPlan& plan, const TextTable& texts) {
  std::vector<int64_t> documents;
  for (const ProbingCell& cell : plan.cells)
    for (const LabelledTexts* part : {&cell.id, &cell.ood})
      for (const int64_t t : part->texts) documents.push_back(texts.document[t]);
  return documents;
}

void check_disjoint(const ProbingCell& cell, const TextTable& texts) {
  std::unordered_set<int64_t> documents;
  for (const int64_t t : cell.train.texts) documents.insert(texts.document[t]);
  for (const LabelledTexts* part : {&cell.id, &cell.ood})
    for (const int64_t t : part->texts)
      if (documents.count(texts.document[t]))
        throw Error(
            fmt::format("probing: document {} is in the training and in the test part of a probe",
                        texts.document[t]));
}

}  // namespace assay::eval::probing
