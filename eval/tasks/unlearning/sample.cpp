#include "eval/tasks/unlearning/sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>

#include "eval/tasks/unlearning/held_back.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

using Counts = std::array<int64_t, kUnlearningParts>;

Counts wanted_counts(const UnlearningConfig& config) {
  Counts counts{};
  counts[kEstimate] = config.estimate;
  counts[kTuneTrain] = config.tune_train;
  counts[kTuneTest] = config.tune_test;
  counts[kTrain] = config.train;
  counts[kTest] = config.test;
  return counts;
}

UnlearningPart part_of(int64_t document, const Counts& counts, uint64_t seed) {
  int64_t total = 0;
  for (const int64_t count : counts) total += count;
  double place = Rng(derive_seed(seed, {static_cast<uint64_t>(document)})).uniform() *
                 static_cast<double>(total);
  for (size_t part = 0; part + 1 < kUnlearningParts; ++part) {
    place -= static_cast<double>(counts[part]);
    if (place < 0) return static_cast<UnlearningPart>(part);
  }
  return kTest;
}

/// True for texts whose label is the wanted class; all where the label's name is empty.
std::vector<uint8_t> matching(const data::Dataset& dataset, const TextTable& texts,
                              const std::string& label, const std::string& name) {
  std::vector<uint8_t> keep(static_cast<size_t>(texts.size()), 1);
  if (label.empty()) return keep;
  const auto values = text_labels(dataset, texts, label);
  const int32_t wanted = class_index(dataset.label(label), name);
  for (size_t t = 0; t < keep.size(); ++t) keep[t] = values[t] == wanted;
  return keep;
}

using ClassTexts = std::array<std::vector<int64_t>, kUnlearningParts>;

std::vector<ClassTexts> gather(const data::Dataset& dataset, const TextTable& texts,
                               const UnlearningConfig& config, uint64_t seed) {
  const auto category = text_labels(dataset, texts, config.class_label);
  const auto domain = matching(dataset, texts, config.domain_label, config.domain_class);
  const auto filter = matching(dataset, texts, config.filter_label, config.filter_class);
  const int64_t classes = std::ssize(dataset.label(config.class_label).classes);
  std::vector<std::pair<uint64_t, int64_t>> order;
  for (int64_t t = 0; t < texts.size(); ++t) {
    const bool fits = texts.ordinary[t] > 0 && texts.ordinary[t] <= config.longest;
    if (!fits || !domain[t] || !filter[t] || category[t] < 0) continue;
    if (category[t] >= classes)
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), texts.number[t], config.class_label,
                              category[t], classes));
    order.emplace_back(derive_seed(seed, {1, static_cast<uint64_t>(texts.number[t])}), t);
  }
  std::sort(order.begin(), order.end());
  const Counts counts = wanted_counts(config);
  std::vector<ClassTexts> result(static_cast<size_t>(classes));
  for (const auto& [key, t] : order)
    result[category[t]]
          [part_of(texts.document[t], counts_for(texts, t, counts), derive_seed(seed, {0}))]
              .push_back(t);
  return result;
}

int64_t total(const ClassTexts& texts) {
  int64_t sum = 0;
  for (const auto& part : texts) sum += std::ssize(part);
  return sum;
}

/// Empty where the class has enough; else what it lacks.
std::string shortage(const ClassTexts& texts, const Counts& counts) {
  static constexpr const char* kNames[] = {"estimate", "tune_train", "tune_test", "train", "test"};
  for (size_t part = 0; part < kUnlearningParts; ++part)
    if (std::ssize(texts[part]) < counts[part])
      return fmt::format("{} texts in part '{}', {} are needed", texts[part].size(), kNames[part],
                         counts[part]);
  return {};
}

}  // namespace

UnlearningPlan plan_unlearning(const data::Dataset& dataset, const TextTable& texts,
                               const UnlearningConfig& config, uint64_t seed) {
  std::vector<ClassTexts> all = gather(dataset, texts, config, seed);
  const Counts counts = wanted_counts(config);
  const auto& names = dataset.label(config.class_label).classes;
  UnlearningPlan plan;
  std::vector<std::pair<int64_t, size_t>> enough;
  for (size_t c = 0; c < all.size(); ++c) {
    const std::string lacks = shortage(all[c], counts);
    if (lacks.empty())
      enough.emplace_back(-total(all[c]), c);
    else if (total(all[c]) > 0)
      plan.left_out.push_back(fmt::format("class '{}' has {}", names[c], lacks));
  }
  if (enough.size() < 3)
    throw Error(
        fmt::format("{}: unlearning: {} of {} classes of '{}' have enough texts of at most {} "
                    "tokens, expected at least 3 (e.g. "
                    "{}): lower unlearning.estimate, .train or .test, or raise .longest",
                    dataset.info().path.string(), enough.size(), all.size(), config.class_label,
                    config.longest, plan.left_out.empty() ? "no class has any" : plan.left_out[0]));
  std::sort(enough.begin(), enough.end());
  if (std::ssize(enough) > config.classes) enough.resize(static_cast<size_t>(config.classes));
  for (const auto& [size, c] : enough) {
    for (size_t part = 0; part < kUnlearningParts; ++part)
      all[c][part].resize(static_cast<size_t>(counts[part]));
    plan.classes.push_back(names[c]);
    plan.texts.push_back(std::move(all[c]));
  }
  return plan;
}

std::vector<UnlearningPart> damage_parts(const TextTable& texts) {
  if (texts.holds_back()) return {kTest};
  return {kTrain, kTest};
}

void check_disjoint(const UnlearningPlan& plan, const TextTable& texts) {
  std::unordered_map<int64_t, size_t> part_of_document;
  for (const auto& parts : plan.texts)
    for (size_t part = 0; part < parts.size(); ++part)
      for (const int64_t t : parts[part])
        if (part_of_document.emplace(texts.document[t], part).first->second != part)
          throw Error(fmt::format(
              "unlearning: document {} is in two parts: what is chosen or trained on it would be "
              "tested on it",
              texts.document[t]));
}

}  // namespace assay::eval::unlearning
