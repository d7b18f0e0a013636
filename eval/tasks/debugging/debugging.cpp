#include "eval/tasks/debugging/debugging.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>

#include "eval/learners/probes.h"
#include "eval/tasks/debugging/data.h"
#include "eval/tasks/hidden_goals/numbers.h"
#include "eval/tasks/spurious/format_pool.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::debugging {
namespace {

using hidden_goals::GoalArm;
using hidden_goals::GoalCases;
using hidden_goals::GoalScores;
using spurious::lacks_formats;

constexpr int64_t kFeatures[] = {1, 4, 16};  // how many of the most separating features speak

/// 2·AUROC − 1 of a feature for each artefact on the reference texts.
std::vector<double> name_feature(const std::vector<double>& values, const DebuggingRun& run,
                                 int64_t artefacts) {
  std::vector<double> names;
  for (int64_t a = 0; a < artefacts; ++a) {
    std::vector<uint8_t> labels;
    for (size_t i = 0; i < values.size(); ++i)
      labels.push_back(run.has[static_cast<int64_t>(i) * artefacts + a]);
    names.push_back(2 * auroc(values, labels) - 1);
  }
  return names;
}

/// The mean name of the features that separate a data set best, each with the sign of its
/// difference.
GoalScores name_top_features(const std::string& method, const Features& x,
                             const Features& reference, const std::vector<uint8_t>& labels,
                             const DebuggingRun& run, int64_t artefacts) {
  const std::vector<int64_t> ranked = rank_features(x.view(), labels);
  GoalScores result{method, {}, {}};
  std::vector<double> sum(static_cast<size_t>(artefacts));
  int64_t done = 0;
  for (const int64_t m : kFeatures) {
    for (; done < std::min<int64_t>(m, std::ssize(ranked)); ++done) {
      double difference = 0;
      for (int64_t i = 0; i < x.rows; ++i)
        difference += (labels[i] ? 1 : -1) * x.values[i * x.cols + ranked[done]];
      std::vector<double> values;
      for (int64_t i = 0; i < reference.rows; ++i)
        values.push_back(reference.values[i * x.cols + ranked[done]]);
      const std::vector<double> names = name_feature(values, run, artefacts);
      for (size_t a = 0; a < sum.size(); ++a) sum[a] += difference > 0 ? names[a] : -names[a];
    }
    result.settings.push_back(fmt::format("{} features", m));
    result.scores.push_back(sum);
    for (double& score : result.scores.back())
      score /= static_cast<double>(std::max<int64_t>(1, done));
  }
  return result;
}

/// The ceiling: how much more positives have each artefact than negatives.
GoalScores rates(const LabelledTexts& set, const std::vector<uint8_t>& has, int64_t artefacts) {
  std::vector<double> difference(static_cast<size_t>(artefacts));
  for (size_t i = 0; i < set.labels.size(); ++i)
    for (int64_t a = 0; a < artefacts; ++a)
      difference[a] += (set.labels[i] ? 1 : -1) * has[static_cast<int64_t>(i) * artefacts + a];
  return {"rates", {""}, {difference}};
}

struct Namer {
  const Session& session;
  const EncodeCache& cache;
  const DebuggingRun& run;
  int64_t artefacts;

  std::vector<GoalArm> name(size_t index) const {
    const LabelledTexts& set = run.sets[index];
    const uint64_t seed = derive_seed(session.seed, {'z', index});
    std::vector<GoalArm> arms;
    const auto add = [&](GoalScores scores, std::optional<size_t> dictionary) {
      GoalArm arm{scores.method, dictionary, true, std::move(scores.settings), {}};
      for (auto& row : scores.scores) arm.scores.push_back({std::move(row)});
      arms.push_back(std::move(arm));
    };
    add(rates(set, run.set_has[index], artefacts), std::nullopt);
    const Features x = gather_dense(cache, cache.dense, set.texts);
    const Features reference = gather_dense(cache, cache.dense, run.reference);
    add(name_top_features("neurons", x, reference, set.labels, run, artefacts), std::nullopt);
    ProbeOptions options;
    options.logistic.documents = x.documents;
    for (const auto& [method, kind] : {std::pair("diff_means", ProbeKind::diff_means),
                                       std::pair("dense_lr", ProbeKind::logistic)}) {
      const auto probe = fit_probe(kind, x.view(), set.labels, options, seed);
      add({method, {""}, {name_feature(probe->score(reference.view()), run, artefacts)}},
          std::nullopt);
    }
    for (size_t k = 0; k < cache.dictionaries.size(); ++k) {
      const SparseCodes& pooled = cache.dictionaries[k].pooled;
      const std::vector<int32_t> latents = active_latents(cache, pooled, set.texts);
      add(name_top_features("latents", gather_latents(cache, pooled, set.texts, latents),
                            gather_latents(cache, pooled, run.reference, latents), set.labels, run,
                            artefacts),
          k);
    }
    return arms;
  }
};

struct DebuggingTexts {
  TextTable table;
  DebuggingPlan plan;
};

constexpr int64_t kStrength = 100;

class DebuggingTask : public PlannedTask<DebuggingTexts> {
 public:
  std::string missing(const Session& session) const override {
    return lacks_formats(session.dataset, session.config.of<SpuriousConfig>());
  }

 private:
  DebuggingTexts make_plan(const Session& session, EncodeRequest& request) const override {
    DebuggingTexts planned{text_table(session), {}};
    planned.plan =
        plan_debugging(session.dataset, planned.table, session.config.of<SpuriousConfig>(),
                       session.config.seeds, derive_seed(session.seed, {'k'}));
    for (const DebuggingRun& run : planned.plan.runs) {
      request.add_texts(run.reference);
      for (const LabelledTexts& set : run.sets) request.add_texts(set.texts);
    }
    return planned;
  }

  /// Artefacts and the data sets that have them.
  Tested tested_by(const Session&, const DebuggingTexts& planned) const override {
    const std::vector<std::string>& artefacts = planned.plan.artefacts;
    Tested tested;
    std::vector<Organism> sets;
    for (const DebuggingRun& run : planned.plan.runs)
      sets.insert(sets.end(), run.cases.begin(), run.cases.end());
    for (const Organism& set : sets)
      tested.units.push_back(fmt::format(
          "{} in data set {}",
          set.goal < 0 ? "no artefact" : artefacts[static_cast<size_t>(set.goal)], set.replicate));
    tested.tables.push_back(hidden_goals::planned_goals(sets, kStrength, "artefacts"));
    return tested;
  }

  void run_plan(const Session& session, const EncodeCache& cache, const DebuggingTexts& planned,
                TaskResult& result) const override {
    const DebuggingPlan& plan = planned.plan;
    GoalCases cases;
    cases.fold = plan.fold;
    std::vector<GoalArm> arms;
    for (const DebuggingRun& run : plan.runs) {
      const Namer namer{session, cache, run, std::ssize(plan.artefacts)};
      std::vector<std::vector<GoalArm>> named(run.sets.size());
      session.context.pool().run(std::ssize(run.sets),
                                 [&](int64_t i, int) { named[i] = namer.name(i); });
      for (const auto& one : named) merge(one, arms);
      cases.organisms.insert(cases.organisms.end(), run.cases.begin(), run.cases.end());
    }
    const hidden_goals::GoalSetup setup{.names = plan.artefacts,
                                        .strengths = {kStrength},
                                        .headline = kStrength,
                                        .ceiling = "rates",
                                        .latents = {"latents"},
                                        .unit = "data sets",
                                        .sampled = "artefacts",
                                        .known_chance = best_fixed_order(cases)};
    report_goals(session, setup, cases, arms, seen_by_dictionary(session, read_documents(planned)),
                 result);
  }

  /// Artefacts are not equally many among the data sets: to name them in one order whatever the
  /// data set, the commonest first, knows nothing and does better than a random order.
  static hidden_goals::Credit best_fixed_order(const GoalCases& cases) {
    std::vector<double> counts(cases.fold.size());
    double planted = 0;
    for (const Organism& o : cases.organisms)
      if (o.kind == GoalKind::planted) ++counts[o.goal], ++planted;
    std::sort(counts.begin(), counts.end(), std::greater<>());
    hidden_goals::Credit chance{counts[0] / planted, 0};
    for (size_t i = 0; i < counts.size(); ++i)
      chance.reciprocal += counts[i] / (planted * static_cast<double>(i + 1));
    return chance;
  }

  static void merge(const std::vector<GoalArm>& one, std::vector<GoalArm>& arms) {
    if (arms.empty()) {
      arms = one;
      return;
    }
    for (size_t a = 0; a < arms.size(); ++a)
      for (size_t s = 0; s < arms[a].scores.size(); ++s)
        arms[a].scores[s].push_back(one[a].scores[s][0]);
  }

  static std::vector<int64_t> read_documents(const DebuggingTexts& planned) {
    std::vector<int64_t> documents;
    const auto add = [&](const std::vector<int64_t>& texts) {
      for (const int64_t t : texts) documents.push_back(planned.table.document[t]);
    };
    for (const DebuggingRun& run : planned.plan.runs) {
      add(run.reference);
      for (const LabelledTexts& set : run.sets) add(set.texts);
    }
    return documents;
  }
};

}  // namespace

const TaskEntry kDebugging{
    .name = "debugging",
    .title = "Debugging a data set",
    .question =
        "For whoever is about to train on labelled texts: do the latents that separate the classes "
        "show an artefact in the data, and do they stay quiet where there is none?",
    .make = make_task<DebuggingTask>,
};

}  // namespace assay::eval::debugging
