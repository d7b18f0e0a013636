#include "eval/tasks/spurious/sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_set>

#include "eval/statistics/folds.h"
#include "eval/tasks/spurious/format_pool.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

/// Appends the first `count` texts that `accept` takes; fewer where there are no more.
template <class Accept>
void append(LabelledTexts& part, const std::vector<int64_t>& texts, int64_t count, uint8_t label,
            const Accept& accept) {
  for (const int64_t t : texts) {
    if (count == 0) return;
    if (!accept(t)) continue;
    part.texts.push_back(t);
    part.labels.push_back(label);
    --count;
  }
}

struct Sampler {
  const FormatPool& pool;
  const SpuriousConfig& config;
  int32_t label;

  bool own(int64_t t) const { return pool.category[t] == label; }
  void positives(LabelledTexts& part, const FormatFold& fold, Format format, int64_t count) const {
    append(part, fold.by_class[label][format], count, 1, [](int64_t) { return true; });
  }
  void negatives(LabelledTexts& part, const FormatFold& fold, Format format, int64_t count) const {
    append(part, fold.all[format], count, 0, [this](int64_t t) { return !own(t); });
  }

  LabelledTexts train(const FormatFold& fold, double share) const {
    // As many positives as every share allows, so that shares differ in nothing else.
    double most = static_cast<double>(config.train_per_class);
    for (const int64_t percent : config.shares) {
      const double rho = static_cast<double>(percent) / 100;
      if (rho > 0)
        most = std::min(most, static_cast<double>(fold.by_class[label][kUsual].size()) / rho);
      if (rho < 1)
        most = std::min(most, static_cast<double>(fold.by_class[label][kOther].size()) / (1 - rho));
    }
    const auto count = static_cast<int64_t>(most),
               mixed = static_cast<int64_t>(std::floor(share * most));
    LabelledTexts part;
    positives(part, fold, kUsual, mixed);
    positives(part, fold, kOther, count - mixed);
    negatives(part, fold, kOther, mixed);
    negatives(part, fold, kUsual, count - mixed);
    return part;
  }
  LabelledTexts test(const FormatFold& fold, Format positive, Format negative) const {
    LabelledTexts part;
    positives(part, fold, positive, config.test_positives);
    negatives(part, fold, negative, config.test_negatives);
    return part;
  }
};

LabelledTexts format_part(const FormatFold& fold, const SpuriousConfig& config) {
  LabelledTexts part;
  const auto any = [](int64_t) { return true; };
  append(part, fold.reference[kUsual], config.format_texts, 1, any);
  append(part, fold.reference[kOther], config.format_texts, 0, any);
  const int64_t usual = std::count(part.labels.begin(), part.labels.end(), 1);
  if (usual < config.min_texts || std::ssize(part.labels) - usual < config.min_texts)
    throw Error(
        fmt::format("spurious: {} texts of '{}' and {} of '{}' have {} '{}', and {} of each are "
                    "needed to learn "
                    "the formats from",
                    usual, config.usual, std::ssize(part.labels) - usual, config.other,
                    config.filter_label, config.reference_class, config.min_texts));
  return part;
}

}  // namespace

SpuriousPlan plan_spurious(const data::Dataset& dataset, const TextTable& table,
                           const SpuriousConfig& config, int64_t seeds, uint64_t seed) {
  const FormatPool pool = format_pool(dataset, table, config);
  std::vector<std::array<FormatFold, 2>> cuts;
  for (int64_t s = 0; s < seeds; ++s)
    cuts.push_back(cut_folds(pool, table, derive_seed(seed, {static_cast<uint64_t>(s)})));
  const std::vector<int32_t> chosen = choose_format_classes(pool, cuts, table, config);
  SpuriousPlan plan;
  plan.runs = 2 * seeds;
  for (int64_t run = 0; run < plan.runs; ++run)
    plan.formats.push_back(format_part(cuts[run / 2][static_cast<size_t>(run % 2)], config));
  plan.fold = tuning_folds(std::ssize(chosen), seed);
  for (size_t c = 0; c < chosen.size(); ++c) {
    plan.classes.push_back(pool.names[chosen[c]]);
    const Sampler sampler{pool, config, chosen[c]};
    for (int64_t run = 0; run < plan.runs; ++run) {
      const auto& folds = cuts[run / 2];
      const FormatFold& train = folds[run % 2];
      const FormatFold test = for_tests(folds[1 - run % 2], table);
      SpuriousCell cell{static_cast<int64_t>(c), run, {}, sampler.test(test, kOther, kUsual), {}};
      for (const int64_t percent : config.shares)
        cell.train.push_back(sampler.train(train, static_cast<double>(percent) / 100));
      for (const Format format : {kUsual, kOther})
        cell.within[format] = sampler.test(test, format, format);
      check_disjoint(cell, plan.formats[run], table);
      plan.cells.push_back(std::move(cell));
    }
  }
  return plan;
}

void check_disjoint(const SpuriousCell& cell, const LabelledTexts& formats,
                    const TextTable& table) {
  std::unordered_set<int64_t> documents;
  for (const LabelledTexts& part : cell.train)
    for (const int64_t t : part.texts) documents.insert(table.document[t]);
  for (const int64_t t : formats.texts) documents.insert(table.document[t]);
  for (const LabelledTexts* part : {&cell.anti, &cell.within[0], &cell.within[1]})
    for (const int64_t t : part->texts)
      if (documents.count(table.document[t]))
        throw Error(fmt::format("spurious: document {} is in the training and in the test part",
                                table.document[t]));
}

}  // namespace assay::eval::spurious
