#include "eval/tasks/probing/probe_regimes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/tasks/probing/declare.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

/// The `positives` first positives and the `negatives` first negatives; never more than there are.
LabelledTexts take(const LabelledTexts& part, int64_t positives, int64_t negatives) {
  LabelledTexts taken;
  for (const auto& [wanted, label] : {std::pair(positives, 1), std::pair(negatives, 0)}) {
    int64_t left = wanted;
    for (size_t i = 0; i < part.texts.size() && left > 0; ++i) {
      if (part.labels[i] != label) continue;
      taken.texts.push_back(part.texts[i]);
      taken.labels.push_back(part.labels[i]);
      --left;
    }
  }
  return taken;
}

void flip(LabelledTexts& part, int64_t percent, uint64_t seed) {
  const std::vector<uint8_t> before = part.labels;
  for (const uint8_t label : {uint8_t{1}, uint8_t{0}}) {
    std::vector<size_t> rows;
    for (size_t i = 0; i < before.size(); ++i)
      if (before[i] == label) rows.push_back(i);
    Rng rng(derive_seed(seed, {label}));
    rng.shuffle(std::span(rows));
    const auto count =
        static_cast<size_t>(std::llround(static_cast<double>(rows.size() * percent) / 100));
    for (size_t i = 0; i < count; ++i) part.labels[rows[i]] = 1 - label;
  }
}

struct Scored {
  size_t regime;
  ArmKey key;
  ArmScore score;
};

/// One cell under every regime, on features gathered once: a damaged training part is a choice of
/// their rows.
class CellScorer {
 public:
  CellScorer(const Session& session, const EncodeCache& cache, const std::vector<Regime>& regimes)
      : session_(session), cache_(cache), regimes_(regimes) {}

  std::vector<Scored> score(const ProbingCell& cell) const {
    std::vector<Scored> scored;
    const uint64_t seed = derive_seed(session_.seed, {'r', static_cast<uint64_t>(cell.category),
                                                      static_cast<uint64_t>(cell.run)});
    for (size_t r = 0; r < regimes_.size(); ++r) {
      const ProbingCell damaged = damage(cell, regimes_[r], derive_seed(seed, {r}));
      const CellFeatures dense = dense_features(cache_, cache_.dense, damaged);
      const bool first = r == 0 || regimes_[r].family != regimes_[r - 1].family;
      score_dense(damaged, dense, r, first, seed, scored);
      for (size_t i = 0; i < cache_.dictionaries.size(); ++i)
        score_dictionary(damaged, r, i, seed, scored);
    }
    return scored;
  }

 private:
  void score_dense(const ProbingCell& cell, const CellFeatures& dense, size_t regime,
                   bool with_null, uint64_t seed, std::vector<Scored>& scored) const {
    const auto add = [&](const ArmScore& score, bool permuted) {
      scored.push_back({regime, ArmKey{score.method, std::nullopt, permuted}, score});
    };
    add(logistic_arm("dense_lr", cell, dense, seed), false);
    add(diff_means_arm(cell, dense), false);
    for (const ArmScore& arm : neuron_arms(cell, dense, session_.config.of<OodConfig>(), seed))
      add(arm, false);
    if (with_null)
      add(logistic_arm("dense_lr", permute_labels(cell, derive_seed(seed, {1})), dense, seed),
          true);
  }

  void score_dictionary(const ProbingCell& cell, size_t regime, size_t index, uint64_t seed,
                        std::vector<Scored>& scored) const {
    const EncodedDictionary& encoded = cache_.dictionaries[index];
    const SparseCell latents = latent_features(cache_, encoded.pooled, cell);
    const auto add = [&](const ArmScore& score) {
      scored.push_back({regime, ArmKey{score.method, index, false}, score});
    };
    for (const ArmScore& arm :
         sparse_latent_arms(cell, latents, session_.config.of<OodConfig>(), seed))
      add(arm);
    add(reconstruction_arm(cell, dense_features(cache_, encoded.reconstruction, cell), seed));
  }

  const Session& session_;
  const EncodeCache& cache_;
  const std::vector<Regime>& regimes_;
};

struct RegimesPlan {
  std::vector<Regime> regimes;
  ProbingPlan probing;
  std::vector<int64_t> tested;  // documents
};

class ProbeRegimesTask : public PlannedTask<RegimesPlan> {
 public:
  std::string missing(const Session& session) const override {
    return lacks_probing_labels(session.dataset, session.config.of<OodConfig>());
  }

 private:
  RegimesPlan make_plan(const Session& session, EncodeRequest& request) const override {
    const TextTable table = text_table(session);
    RegimesPlan plan;
    plan.regimes = regimes_of(session.config.of<RegimesConfig>());
    if (plan.regimes.empty())
      throw Error("probe_regimes: no levels of scarcity, positive_percent or flipped_percent");
    plan.probing = plan_probing(session.dataset, table, session.config.of<OodConfig>(),
                                session.config.seeds, derive_seed(session.seed, {'p'}));
    for (const ProbingCell& cell : plan.probing.cells) request.add_texts(texts_of(cell));
    plan.tested = tested_documents(plan.probing, table);
    return plan;
  }

  Tested tested_by(const Session&, const RegimesPlan& plan) const override {
    Tested tested{plan.probing.classes, {}};
    for (const Regime& regime : plan.regimes)
      if (tested.tables.empty() || tested.tables.back().part != regime.family)
        tested.tables.push_back({"auroc", regime.family, "classes",
                                 std::ssize(plan.probing.classes), plan.probing.runs});
    return tested;
  }

  void run_plan(const Session& session, const EncodeCache& cache, const RegimesPlan& plan,
                TaskResult& result) const override {
    const CellScorer scorer(session, cache, plan.regimes);
    std::vector<std::vector<Scored>> scored(plan.probing.cells.size());
    session.context.pool().run(std::ssize(plan.probing.cells), [&](int64_t i, int) {
      scored[static_cast<size_t>(i)] = scorer.score(plan.probing.cells[static_cast<size_t>(i)]);
    });
    std::vector<ScoreTable> tables(plan.regimes.size());
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i]) tables[s.regime].add(s.key, plan.probing.cells[i], s.score);
    const auto seen = seen_by_dictionary(session, plan.tested);
    declare_regimes(session.config.of<OodConfig>(), cache, all_texts(plan.probing), plan.regimes,
                    result);
    std::vector<NullTest> nulls;
    for (size_t r = 0; r < plan.regimes.size(); ++r)
      for (NullTest& null : report_regime(session, plan, r, tables[r], seen, result))
        nulls.push_back(std::move(null));
    add_null_checks(nulls, result);
    add_scores(session, plan, tables, result);
  }

  /// Returns the regime's label nulls, for one family of all.
  static std::vector<NullTest> report_regime(const Session& session, const RegimesPlan& plan,
                                             size_t r, const ScoreTable& table,
                                             const std::vector<std::optional<bool>>& seen,
                                             TaskResult& result) {
    TaskResult own;
    own.arms = result.arms;
    std::vector<NullTest> nulls = report_numbers(session, plan.probing, table, seen, own);
    nlohmann::json& curves = result.details["curves"];
    for (Number& number : own.numbers) {
      if (number.part == "ood" && number.metric == "auroc")
        curves.push_back({{"family", plan.regimes[r].family},
                          {"level", plan.regimes[r].level},
                          {"method", number.method},
                          {"dictionary", number.dictionary},
                          {"ood", number.value},
                          {"low", (*number.interval)[0]},
                          {"high", (*number.interval)[1]}});
      number.part = regime_part(plan.regimes[r], number.part);
      result.numbers.push_back(std::move(number));
    }
    for (NullTest& null : nulls) null.name += ", " + regime_part(plan.regimes[r], "train");
    return nulls;
  }

  static double levels_of(const RegimesPlan& plan, const std::string& family) {
    return static_cast<double>(
        std::count_if(plan.regimes.begin(), plan.regimes.end(),
                      [&](const Regime& regime) { return regime.family == family; }));
  }

  static void add_to(std::vector<Cell>& cells, const Cell& more) {
    const auto at = std::find_if(cells.begin(), cells.end(), [&](const Cell& cell) {
      return cell.unit == more.unit && cell.run == more.run;
    });
    if (at == cells.end())
      cells.push_back(more);
    else
      at->value += more.value;
  }

  /// One table a family, of the mean over its levels.
  static void add_scores(const Session& session, const RegimesPlan& plan,
                         const std::vector<ScoreTable>& tables, TaskResult& result) {
    const std::string headline =
        fmt::format("latents_top{}", session.config.of<OodConfig>().headline_k);
    for (size_t r = 0; r < plan.regimes.size(); ++r)
      for (const ArmCells& arm : tables[r].arms()) {
        if (arm.key.permuted) continue;
        const std::string dictionary = dictionary_name(session, arm.key.dictionary);
        auto at = std::find_if(result.scores.begin(), result.scores.end(), [&](const Score& s) {
          return s.part == plan.regimes[r].family && s.method == arm.key.method &&
                 s.dictionary == dictionary;
        });
        if (at == result.scores.end())
          at = result.scores.insert(at, Score{"auroc",
                                              plan.regimes[r].family,
                                              arm.key.method,
                                              dictionary,
                                              arm.key.method == headline,
                                              true,
                                              {}});
        const double share = 1.0 / levels_of(plan, plan.regimes[r].family);
        for (const Cell& cell : arm.ood)
          add_to(at->cells, {cell.unit, cell.run, share * cell.value});
      }
  }
};

}  // namespace

std::vector<Regime> regimes_of(const RegimesConfig& config) {
  std::vector<Regime> regimes;
  for (const int64_t level : config.scarcity) regimes.push_back({"scarcity", level});
  for (const int64_t level : config.positive_percent) regimes.push_back({"imbalance", level});
  for (const int64_t level : config.flipped_percent) regimes.push_back({"noise", level});
  return regimes;
}

ProbingCell damage(const ProbingCell& cell, const Regime& regime, uint64_t seed) {
  ProbingCell damaged = cell;
  const int64_t positives = std::count(cell.train.labels.begin(), cell.train.labels.end(), 1);
  if (regime.family == "scarcity") {
    damaged.train = take(cell.train, regime.level, regime.level);
  } else if (regime.family == "imbalance") {
    const int64_t kept =
        std::max<int64_t>(2, std::llround(static_cast<double>(positives * regime.level) / 100));
    damaged.train = take(cell.train, kept, positives - kept);
  } else {
    flip(damaged.train, regime.level, seed);
  }
  return damaged;
}

const TaskEntry kProbeRegimes{
    .name = "probe_regimes",
    .title = "Probing with few, skewed or noisy labels",
    .question =
        "For whoever has a handful of labels, rare positives or unreliable annotators: does a "
        "dictionary help where a probe on plain activations has too little to learn from?",
    .make = make_task<ProbeRegimesTask>,
};

}  // namespace assay::eval::probing
