#include "eval/tasks/debugging/data.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/statistics/folds.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/spurious/format_pool.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::debugging {
namespace {

using spurious::format_pool;
using spurious::FormatFold;
using spurious::FormatPool;

/// More of either format would only make names of features sharper than they need be.
constexpr int64_t kReferenceTexts = 400;

/// Artefacts of every text of the table, [texts, artefacts].
struct Bank {
  std::vector<std::string> names;
  std::vector<uint8_t> has;

  bool of(int64_t text, size_t artefact) const {
    return has[static_cast<size_t>(text) * names.size() + artefact] != 0;
  }
};

Bank make_bank(const data::Dataset& dataset, const TextTable& table, const FormatPool& pool,
               const SpuriousConfig& config) {
  const auto texts = data::read_texts(dataset.info().path);
  const std::vector<double> lengths(table.ordinary.begin(), table.ordinary.end());
  const double quartile = quantile(lengths, 0.25), median = quantile(lengths, 0.5);
  Bank bank;
  if (texts)
    for (const auto& [name, holds] : surface_of("")) bank.names.push_back(name);
  bank.names.emplace_back("short");
  bank.names.emplace_back("long");
  bank.names.push_back(config.usual);
  for (int64_t t = 0; t < table.size(); ++t) {
    if (texts) {
      if (table.number[t] < 0 || table.number[t] >= std::ssize(*texts))
        throw Error(fmt::format("text number {} is not among the data set's {} texts",
                                table.number[t], texts->size()));
      for (const auto& [name, holds] : surface_of((*texts)[table.number[t]]))
        bank.has.push_back(holds);
    }
    const auto length = static_cast<double>(table.ordinary[t]);
    bank.has.push_back(length < quartile);
    bank.has.push_back(length > median);
    bank.has.push_back(pool.format[t] == pool.formats[spurious::kUsual]);
  }
  return bank;
}

std::vector<int64_t> reference_of(const FormatFold& fold, const SpuriousConfig& config) {
  std::vector<int64_t> texts;
  for (const auto& list : fold.reference)
    texts.insert(texts.end(), list.begin(),
                 list.begin() + std::min({config.format_texts, kReferenceTexts, std::ssize(list)}));
  return texts;
}

/// Artefacts that enough reference texts of every run have and lack.
std::vector<size_t> usable(const Bank& bank, const std::vector<std::array<FormatFold, 2>>& cuts,
                           const SpuriousConfig& config) {
  std::vector<size_t> kept;
  for (size_t a = 0; a < bank.names.size(); ++a) {
    bool enough = true;
    for (const auto& folds : cuts) {
      const std::vector<int64_t> texts = reference_of(folds[0], config);
      const int64_t with =
          std::count_if(texts.begin(), texts.end(), [&](int64_t t) { return bank.of(t, a); });
      enough &= std::min(with, std::ssize(texts) - with) >= config.min_texts / 2;
    }
    if (enough) kept.push_back(a);
  }
  if (kept.size() < 3)
    throw Error(fmt::format(
        "debugging: {} of {} artefacts are had and lacked by {} texts of '{}' each, and 3 are "
        "needed: harvest more texts or lower min_texts",
        kept.size(), bank.names.size(), config.min_texts / 2, config.reference_class));
  return kept;
}

/// Positives and negatives of one data set; `artefact` < 0 = clean. Empty where there are not
/// `count` of both.
LabelledTexts make_set(const FormatFold& fold, const FormatPool& pool, const Bank& bank,
                       int32_t label, int artefact, int64_t count, uint64_t seed) {
  LabelledTexts part;
  std::vector<int64_t> order = fold.all[spurious::kUsual];
  order.insert(order.end(), fold.all[spurious::kOther].begin(), fold.all[spurious::kOther].end());
  Rng(seed).shuffle(std::span(order));
  for (const uint8_t positive : {1, 0}) {
    int64_t left = count;
    for (const int64_t t : order) {
      if (left == 0 || (pool.category[t] == label) != (positive == 1)) continue;
      if (artefact >= 0 && bank.of(t, static_cast<size_t>(artefact)) != (positive == 1)) continue;
      part.texts.push_back(t);
      part.labels.push_back(positive);
      --left;
    }
    if (left > 0) return {};
  }
  return part;
}

std::vector<uint8_t> rows_of(const Bank& bank, const std::vector<size_t>& kept,
                             const std::vector<int64_t>& texts) {
  std::vector<uint8_t> has;
  for (const int64_t t : texts)
    for (const size_t a : kept) has.push_back(bank.of(t, a));
  return has;
}

}  // namespace

std::vector<std::pair<std::string, bool>> surface_of(std::string_view text) {
  const auto any = [text](const char* of) {
    return text.find_first_of(of) != std::string_view::npos;
  };
  return {{"question mark", any("?")},
          {"digit", any("0123456789")},
          {"parenthesis", any("()")},
          {"quotation mark", any("\"`")},
          {"comma", any(",")},
          {"semicolon", any(";")},
          {"capital", !text.empty() && text[0] >= 'A' && text[0] <= 'Z'}};
}

DebuggingPlan plan_debugging(const data::Dataset& dataset, const TextTable& table,
                             const SpuriousConfig& config, int64_t seeds, uint64_t seed) {
  const FormatPool pool = format_pool(dataset, table, config);
  const Bank bank = make_bank(dataset, table, pool, config);
  std::vector<std::array<FormatFold, 2>> cuts;
  for (int64_t s = 0; s < seeds; ++s)
    cuts.push_back(cut_folds(pool, table, derive_seed(seed, {static_cast<uint64_t>(s)})));
  const std::vector<int32_t> classes = choose_format_classes(pool, cuts, table, config);
  for (auto& folds : cuts) folds[0] = for_tests(folds[0], table);
  const std::vector<size_t> kept = usable(bank, cuts, config);
  DebuggingPlan plan;
  for (const size_t a : kept) plan.artefacts.push_back(bank.names[a]);
  plan.fold = tuning_folds(std::ssize(kept), seed);
  for (int64_t s = 0; s < seeds; ++s) {
    DebuggingRun run;
    run.reference = reference_of(cuts[s][0], config);
    run.has = rows_of(bank, kept, run.reference);
    Rng rng(derive_seed(seed, {'a', static_cast<uint64_t>(s)}));
    const auto add = [&](GoalKind kind, int32_t goal, int32_t absent, size_t c) {
      const int artefact = goal < 0 ? -1 : static_cast<int>(kept[goal]);
      LabelledTexts part = make_set(cuts[s][0], pool, bank, classes[c], artefact,
                                    config.train_per_class / 2, rng.next());
      if (part.texts.empty()) return;
      run.set_has.push_back(rows_of(bank, kept, part.texts));
      run.sets.push_back(std::move(part));
      run.cases.push_back({kind, s, goal < 0 ? 0 : 100, goal, absent,
                           static_cast<int64_t>(c) + s * std::ssize(classes)});
    };
    for (size_t c = 0; c < classes.size(); ++c) {
      for (int32_t a = 0; a < std::ssize(kept); ++a) add(GoalKind::planted, a, a, c);
      const auto drawn = static_cast<int32_t>(rng.below(kept.size()));
      add(GoalKind::benign, -1, drawn, c);
      add(GoalKind::calibration, -1, drawn, c);
    }
    plan.runs.push_back(std::move(run));
  }
  return plan;
}

}  // namespace assay::eval::debugging
