#include "eval/tasks/attention_probing/attention_probing.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/encoding/token_store.h"
#include "eval/learners/attention_probe.h"
#include "eval/results/families.h"
#include "eval/results/words.h"
#include "eval/tasks/attention_probing/settings.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "kernels/base/rng.h"

namespace assay::eval::attention_probing {
namespace {

using probing::ArmKey;
using probing::ArmScore;
using probing::ProbingCell;
using probing::ProbingPlan;

struct Plan {
  TextTable table;
  ProbingPlan probing;
};

std::vector<int64_t> texts_of(const ProbingCell& cell) {
  std::vector<int64_t> texts;
  for (const LabelledTexts* part : {&cell.train, &cell.id, &cell.ood})
    texts.insert(texts.end(), part->texts.begin(), part->texts.end());
  return texts;
}

/// A cell's tokens in one space.
struct CellTokens {
  TextTokens train, id, ood;
};

struct Scored {
  ArmKey key;
  ArmScore score;
};

/// Both poolings of one space, and the attention probe's label null.
void score_space(const ProbingCell& cell, const CellTokens& tokens, const std::string& mean,
                 const std::string& attention, int dictionary, uint64_t seed,
                 std::vector<Scored>& scored) {
  const std::vector<float> pooled = mean_pooled(tokens.train);
  const ConstMatrix train(pooled.data(), tokens.train.texts(), tokens.train.features);
  const auto add = [&](const std::string& method, bool permuted, const auto& score) {
    scored.push_back({{method, dictionary, permuted},
                      {method, auroc(score(tokens.id), cell.id.labels),
                       auroc(score(tokens.ood), cell.ood.labels)}});
  };
  const LinearProbe start = fit_logistic(train, cell.train.labels, {}, seed);
  add(mean, false, [&](const TextTokens& t) {
    const std::vector<float> means = mean_pooled(t);
    return start.score({means.data(), t.texts(), t.features});
  });
  const AttentionProbe probe = fit_attention(tokens.train, cell.train.labels, seed);
  add(attention, false, [&](const TextTokens& t) { return probe.score(t); });
  const std::vector<uint8_t> labels = permute_labels(cell, derive_seed(seed, {1})).train.labels;
  const AttentionProbe null = fit_attention(tokens.train, labels, seed);
  add(attention, true, [&](const TextTokens& t) { return null.score(t); });
}

std::vector<Scored> score_cell(const Session& session, const TokenStore& store,
                               const ProbingCell& cell) {
  const uint64_t seed = derive_seed(
      session.seed, {'t', static_cast<uint64_t>(cell.category), static_cast<uint64_t>(cell.run)});
  std::vector<Scored> scored;
  score_space(
      cell,
      {store.dense(cell.train.texts), store.dense(cell.id.texts), store.dense(cell.ood.texts)},
      "dense_lr", "dense_attention", -1, seed, scored);
  for (size_t k = 0; k < session.dictionaries.size(); ++k) {
    std::vector<int32_t> chosen = store.active(k, cell.train.texts);
    if (chosen.empty()) chosen.push_back(0);  // silent on all: one constant column, which scores .5
    score_space(cell,
                {store.latents(k, cell.train.texts, chosen),
                 store.latents(k, cell.id.texts, chosen), store.latents(k, cell.ood.texts, chosen)},
                "latents_all", "latents_attention", static_cast<int>(k), seed, scored);
  }
  return scored;
}

/// The words and figures of the results.
void declare(TaskResult& result) {
  result.metrics = {{"auroc", "AUROC", "higher", 0.5},
                    {"auroc_difference", "difference of AUROC", "higher"},
                    {"auroc_permuted_labels", "AUROC, permuted labels", "", 0.5}};
  result.parts = {{"id", "in distribution"}, {"ood", "out of distribution"}};
  result.arms = {
      {"dense_lr", "logistic regression, mean", "baseline", "activations", "logistic_regression"},
      {"dense_attention", "attention probe", "baseline", "activations", "attention_probe"},
      {"latents_all", "all latents, mean", "", "latents", "logistic_regression"},
      {"latents_attention", "all latents, attention probe", "headline", "latents",
       "attention_probe"}};
  result.figures = {
      {.kind = "dots",
       .caption = "Probes on the mean over tokens and with attention, the best out of distribution "
                  "first; lines are 95 % intervals. All panels share one axis.",
       .metrics = {"auroc"},
       .parts = {"id", "ood"},
       .panels = "dictionary",
       .order = "best_first"},
      {.kind = "dots",
       .caption = "Paired differences out of distribution. Right of the dashed line the first arm "
                  "is ahead; an interval that includes 0 ranks nothing.",
       .metrics = {"auroc_difference"},
       .parts = {"ood"},
       .references = {{0, "no difference"}},
       .x_title = "difference of AUROC, paired",
       .panels = "dictionary"}};
}

/// What dictionaries are compared by; arms without one stand in the table already.
void add_scores(const Session& session, const probing::ScoreTable& table, TaskResult& result) {
  for (const probing::ArmCells& arm : table.arms()) {
    if (arm.key.permuted || arm.key.dictionary < 0) continue;
    Score score{
        .metric = "auroc",
        .part = "ood",
        .method = arm.key.method,
        .dictionary = session.dictionaries[static_cast<size_t>(arm.key.dictionary)].entry.name,
        .headline = arm.key.method == "latents_attention",
        .cells = {}};
    for (const Cell& cell : arm.ood) score.cells.push_back({cell.task, cell.seed, cell.value});
    result.scores.push_back(std::move(score));
  }
}

/// The comparisons, fixed beforehand, whatever comes out.
class Differences {
 public:
  Differences(const Session& session, const Plan& plan, const probing::ScoreTable& table,
              const std::vector<std::optional<bool>>& seen, TaskResult& result)
      : session_(session), plan_(plan), table_(table), seen_(seen), result_(result) {}

  void report() {
    add({"dense_attention"}, {"dense_lr"});
    for (size_t i = 0; i < session_.dictionaries.size(); ++i) {
      if (!session_.dictionaries[i].entry.null_kind.empty()) continue;
      const ArmKey own{"latents_attention", static_cast<int>(i)};
      for (size_t j = 0; j < session_.dictionaries.size(); ++j)
        if (session_.dictionaries[j].entry.parent == session_.dictionaries[i].entry.name)
          add(own, {"latents_attention", static_cast<int>(j)});
      add(own, {"latents_all", static_cast<int>(i)});
      for (const char* dense : {"dense_lr", "dense_attention"}) add(own, {dense});
    }
    family_.finish(result_);
  }

 private:
  void add(const ArmKey& a, const ArmKey& b) {
    const bool null = b.dictionary >= 0 && b.dictionary != a.dictionary;
    Number number;
    number.metric = "auroc_difference";
    number.method =
        fmt::format("{} - {}{}", a.method, null ? entry(b).null_kind + "_" : "", b.method);
    number.part = "ood";
    number.seed = derive_seed(session_.seed, {'d'});
    number.interval_kind = probing::kIntervalKind;
    number.n = std::ssize(plan_.probing.classes);
    number.n_unit = "classes";
    number.control = null ? entry(b).name : b.method;
    if (a.dictionary >= 0) {
      number.dictionary = entry(a).name;
      number.test_seen_in_training = seen_[static_cast<size_t>(a.dictionary)];
    }
    declare_difference(result_, number.method, a.method,
                       arm_label(result_, b.method) +
                           (null ? fmt::format(", {} control", entry(b).null_kind) : ""));
    family_.add(number,
                paired_difference(table_.at(a).ood, table_.at(b).ood, number.seed,
                                  session_.config.resamples),
                result_);
  }
  const DictionaryEntry& entry(const ArmKey& arm) const {
    return session_.dictionaries[static_cast<size_t>(arm.dictionary)].entry;
  }

  const Session& session_;
  const Plan& plan_;
  const probing::ScoreTable& table_;
  const std::vector<std::optional<bool>>& seen_;
  TaskResult& result_;
  DifferenceFamily family_;
};

class AttentionProbingTask : public PlannedTask<Plan> {
 public:
  std::string missing(const Session& session) const override {
    return probing::lacks_probing_labels(session.dataset, session.config.of<probing::OodConfig>());
  }

 private:
  Plan make_plan(const Session& session, EncodeRequest&) const override {
    const auto& own = session.config.of<AttentionConfig>();
    auto config = session.config.of<probing::OodConfig>();
    lower(config.classes, own.classes);
    lower(config.train_per_class, own.train_per_class);
    lower(config.test_positives, own.test_positives);
    lower(config.test_negatives, own.test_negatives);
    Plan plan{text_table(session.dataset), {}};
    plan.probing = plan_probing(session.dataset, plan.table, config, session.config.seeds,
                                derive_seed(session.seed, {'p'}));
    return plan;
  }

  void run_plan(const Session& session, const EncodeCache&, const Plan& plan,
                TaskResult& result) const override {
    const std::vector<ProbingCell>& cells = plan.probing.cells;
    std::vector<std::vector<Scored>> scored(cells.size());
    std::vector<const sae::Dictionary*> dictionaries;
    for (const EvalDictionary& d : session.dictionaries) dictionaries.push_back(&d.dictionary);
    for (int64_t run = 0; run < plan.probing.runs; ++run) {
      std::vector<size_t> own;
      std::vector<int64_t> texts;
      for (size_t i = 0; i < cells.size(); ++i) {
        if (cells[i].run != run) continue;
        own.push_back(i);
        const std::vector<int64_t> more = texts_of(cells[i]);
        texts.insert(texts.end(), more.begin(), more.end());
      }
      const TokenStore store(session.context, session.dataset, plan.table, dictionaries, texts,
                             session.config.of<AttentionConfig>().longest);
      session.context.pool().run(std::ssize(own), [&](int64_t i, int) {
        scored[own[i]] = score_cell(session, store, cells[own[i]]);
      });
    }
    probing::ScoreTable table;
    for (size_t i = 0; i < cells.size(); ++i)
      for (const Scored& s : scored[i]) table.add(s.key, cells[i], s.score);
    std::vector<int64_t> tested;
    for (const ProbingCell& cell : cells)
      for (const LabelledTexts* part : {&cell.id, &cell.ood})
        for (const int64_t t : part->texts) tested.push_back(plan.table.document[t]);
    const auto seen = seen_by_dictionary(session, tested);
    declare(result);
    report_scores(session, plan.probing, table, seen, result);
    add_scores(session, table, result);
    Differences(session, plan, table, seen, result).report();
  }
};

}  // namespace

const TaskEntry kAttentionProbing{
    .name = "attention_probing",
    .title = "Probing with attention over a text's tokens",
    .question =
        "For whoever runs probes on a model in production: does a probe that learns where in a "
        "text to look beat one that reads the mean over its tokens, and does a dictionary help it?",
    .by_default = false,
    .make = make_task<AttentionProbingTask>,
};

}  // namespace assay::eval::attention_probing
