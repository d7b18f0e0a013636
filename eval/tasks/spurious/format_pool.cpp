#include "eval/tasks/spurious/format_pool.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "data/split.h"
#include "eval/tasks/needed_labels.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {

std::string lacks_formats(const data::Dataset& dataset, const SpuriousConfig& config) {
  return lacks_labels(dataset, {{config.class_label, "spurious.class_label"},
                                {config.format_label, "spurious.format_label"},
                                {config.filter_label, "spurious.filter_label"}});
}

FormatPool format_pool(const data::Dataset& dataset, const TextTable& table,
                       const SpuriousConfig& config) {
  FormatPool pool;
  pool.category = text_labels(dataset, table, config.class_label);
  pool.names = dataset.label(config.class_label).classes;
  pool.format = text_labels(dataset, table, config.format_label);
  pool.formats[kUsual] = class_index(dataset.label(config.format_label), config.usual);
  pool.formats[kOther] = class_index(dataset.label(config.format_label), config.other);
  pool.filter = text_labels(dataset, table, config.filter_label);
  pool.kept = class_index(dataset.label(config.filter_label), config.filter_class);
  pool.reference = class_index(dataset.label(config.filter_label), config.reference_class);
  for (int64_t t = 0; t < table.size(); ++t)
    if (pool.category[t] >= std::ssize(pool.names))
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), table.number[t], config.class_label,
                              pool.category[t], pool.names.size()));
  return pool;
}

std::array<FormatFold, 2> cut_folds(const FormatPool& pool, const TextTable& table, uint64_t seed) {
  std::vector<std::pair<uint64_t, int64_t>> keyed;
  for (int64_t t = 0; t < table.size(); ++t)
    if (table.ordinary[t] > 0)
      keyed.emplace_back(derive_seed(seed, {1, static_cast<uint64_t>(table.number[t])}), t);
  std::sort(keyed.begin(), keyed.end());
  std::array<FormatFold, 2> folds;
  for (FormatFold& fold : folds) fold.by_class.resize(pool.names.size());
  for (const auto& [key, t] : keyed) {
    const bool usual = pool.format[t] == pool.formats[kUsual];
    if (!usual && pool.format[t] != pool.formats[kOther]) continue;
    FormatFold& fold =
        folds[data::split_of(table.document[t], {0.5, 0, seed}) == data::Split::validation];
    const Format format = usual ? kUsual : kOther;
    if (pool.filter[t] == pool.reference) fold.reference[format].push_back(t);
    if (pool.filter[t] != pool.kept || pool.category[t] < 0) continue;
    fold.all[format].push_back(t);
    fold.by_class[pool.category[t]][format].push_back(t);
  }
  return folds;
}

FormatFold for_tests(const FormatFold& fold, const TextTable& table) {
  FormatFold kept = fold;
  const auto drop = [&](std::vector<int64_t>& texts) {
    std::erase_if(texts, [&](int64_t t) { return !table.for_tests(t); });
  };
  for (const size_t format : {kUsual, kOther}) {
    drop(kept.all[format]);
    drop(kept.reference[format]);
    for (auto& own : kept.by_class) drop(own[format]);
  }
  return kept;
}

std::vector<int32_t> choose_format_classes(const FormatPool& pool,
                                           const std::vector<std::array<FormatFold, 2>>& cuts,
                                           const TextTable& table, const SpuriousConfig& config) {
  const auto tests = [&](const std::vector<int64_t>& texts) {
    return std::count_if(texts.begin(), texts.end(), [&](int64_t t) { return table.for_tests(t); });
  };
  std::vector<int32_t> chosen;
  std::vector<int64_t> others(pool.names.size());
  for (int32_t c = 0; c < std::ssize(pool.names); ++c) {
    bool enough = true;
    for (const auto& folds : cuts)
      for (const FormatFold& fold : folds) {
        for (const auto& texts : fold.by_class[c]) enough &= tests(texts) >= config.min_texts;
        others[c] += std::ssize(fold.by_class[c][kOther]);
      }
    if (enough) chosen.push_back(c);
  }
  std::stable_sort(chosen.begin(), chosen.end(),
                   [&](int32_t a, int32_t b) { return others[a] > others[b]; });
  if (std::ssize(chosen) > config.classes) chosen.resize(static_cast<size_t>(config.classes));
  if (chosen.size() < 2)
    throw Error(fmt::format(
        "{} of {} classes of '{}' have {} texts of '{}' and of '{}' in every half of the "
        "documents, and 2 are needed: harvest more texts or lower min_texts",
        chosen.size(), pool.names.size(), config.class_label, config.min_texts, config.usual,
        config.other));
  return chosen;
}

}  // namespace assay::eval::spurious
