#include "eval/tasks/attention_probing/attention_probing.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "eval/encoding/token_store.h"
#include "eval/learners/attention_probe.h"
#include "eval/results/families.h"
#include "eval/results/words.h"
#include "eval/tasks/attention_probing/settings.h"
#include "eval/tasks/probing/declare.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "kernels/base/random.h"

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

/// A cell's tokens in one space.
struct CellTokens {
  TextTokens train, id, ood;
};

struct Scored {
  ArmKey key;
  ArmScore score;
};

/// Both poolings of one space, and the attention probe's label null.
void score_space(const ProbingCell& cell, const CellTokens& tokens,
                 std::span<const int64_t> documents, const std::string& mean,
                 const std::string& attention, std::optional<size_t> dictionary, uint64_t seed,
                 std::vector<Scored>& scored) {
  const std::vector<float> pooled = mean_pooled(tokens.train);
  const ConstMatrix train(pooled.data(), tokens.train.texts(), tokens.train.features);
  const auto add = [&](const std::string& method, bool permuted, const auto& score) {
    scored.push_back({{method, dictionary, permuted},
                      {method, auroc(score(tokens.id), cell.id.labels),
                       auroc(score(tokens.ood), cell.ood.labels)}});
  };
  const LinearProbe start = fit_logistic(train, cell.train.labels, by_document(documents), seed);
  add(mean, false, [&](const TextTokens& t) {
    const std::vector<float> means = mean_pooled(t);
    return start.score({means.data(), t.texts(), t.features});
  });
  const AttentionProbe probe = fit_attention(tokens.train, cell.train.labels, documents, seed);
  add(attention, false, [&](const TextTokens& t) { return probe.score(t); });
  const std::vector<uint8_t> labels = permute_labels(cell, derive_seed(seed, {1})).train.labels;
  const AttentionProbe null = fit_attention(tokens.train, labels, documents, seed);
  add(attention, true, [&](const TextTokens& t) { return null.score(t); });
}

std::vector<Scored> score_cell(const Session& session, const TokenStore& store,
                               const TextTable& table, const ProbingCell& cell) {
  const std::vector<int64_t> documents = documents_of(table, cell.train.texts);
  const uint64_t seed = derive_seed(
      session.seed, {'t', static_cast<uint64_t>(cell.category), static_cast<uint64_t>(cell.run)});
  std::vector<Scored> scored;
  score_space(
      cell,
      {store.dense(cell.train.texts), store.dense(cell.id.texts), store.dense(cell.ood.texts)},
      documents, "dense_lr", "dense_attention", {}, seed, scored);
  for (size_t k = 0; k < session.dictionaries.size(); ++k) {
    std::vector<int32_t> chosen = store.active(k, cell.train.texts);
    if (chosen.empty()) chosen.push_back(0);  // silent on all: one constant column, which scores .5
    score_space(cell,
                {store.latents(k, cell.train.texts, chosen),
                 store.latents(k, cell.id.texts, chosen), store.latents(k, cell.ood.texts, chosen)},
                documents, "latents_all", "latents_attention", k, seed, scored);
  }
  return scored;
}

/// The words and figures of the results.
void declare(int64_t d, TaskResult& result) {
  result.metrics = probing::auroc_metrics();
  result.parts = probing::test_parts();
  result.arms = {
      {"dense_lr", "logistic regression, mean", "baseline", "activations", "logistic_regression"},
      {"dense_attention", "attention probe", "baseline", "activations", "attention_probe"},
      {"latents_all", "all latents, mean", "", "latents", "logistic_regression"},
      {"latents_attention", "all latents, attention probe", "headline", "latents",
       "attention_probe"}};
  const std::string texts[] = {std::to_string(d), "every active latent"};
  for (ArmEntry& arm : result.arms)
    arm.reads =
        texts[arm.space == "latents"] + (arm.method == "attention_probe" ? " of each token" : "");
  result.figures = {
      {.kind = "dots",
       .caption = "Probes on the mean over tokens and with attention, the best out of distribution "
                  "first; lines are 95 % intervals. All panels share one axis.",
       .metrics = {"auroc"},
       .parts = {"id", "ood"},
       .panels = "dictionary",
       .order = "best_first"},
      probing::difference_figure()};
}

/// The comparisons, fixed beforehand, whatever comes out.
void add_differences(const Session& session, const probing::ScoreTable& table,
                     const std::vector<std::optional<bool>>& seen, TaskResult& result) {
  DifferenceFamily family;
  const auto add = [&](const ArmKey& a, const ArmKey& b, const std::string& null_kind = "") {
    add_difference(
        session, table, a, b,
        fmt::format("{} - {}{}{}", a.method, null_kind, null_kind.empty() ? "" : "_", b.method),
        seen, family, result);
  };
  add({"dense_attention", {}}, {"dense_lr", {}});
  for (size_t i = 0; i < session.dictionaries.size(); ++i) {
    if (!session.dictionaries[i].entry.null_kind.empty()) continue;
    const ArmKey own{"latents_attention", i};
    for (size_t j = 0; j < session.dictionaries.size(); ++j) {
      const DictionaryEntry& other = session.dictionaries[j].entry;
      if (other.parent == session.dictionaries[i].entry.name)
        add(own, {"latents_attention", j}, other.null_kind);
    }
    add(own, {"latents_all", i});
    for (const char* dense : {"dense_lr", "dense_attention"}) add(own, {dense, {}});
  }
  family.finish(result);
}

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
    Plan plan{text_table(session), {}};
    plan.probing = plan_probing(session.dataset, plan.table, config, session.config.seeds,
                                derive_seed(session.seed, {'p'}));
    return plan;
  }

  Tested tested_by(const Session&, const Plan& plan) const override {
    return {plan.probing.classes,
            {{"auroc", "ood", "classes", std::ssize(plan.probing.classes), plan.probing.runs}}};
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
        scored[own[i]] = score_cell(session, store, plan.table, cells[own[i]]);
      });
    }
    probing::ScoreTable table;
    for (size_t i = 0; i < cells.size(); ++i)
      for (const Scored& s : scored[i]) table.add(s.key, cells[i], s.score);
    const auto seen = seen_by_dictionary(session, tested_documents(plan.probing, plan.table));
    declare(session.dataset.hook("activations").d, result);
    report_scores(session, plan.probing, table, seen, result);
    add_differences(session, table, seen, result);
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
