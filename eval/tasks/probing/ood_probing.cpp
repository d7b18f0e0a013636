#include "eval/tasks/probing/ood_probing.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/probing/declare.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

struct Scored {
  std::optional<size_t> dictionary;
  bool permuted;
  ArmScore score;
};

/// Everything the cells read.
struct Inputs {
  const Session& session;
  const EncodeCache& cache;
  const TextTable& table;
  const std::optional<std::vector<std::string>>& texts;
};

/// One arm under each pooling, chosen by the inner cell: `arm` fits and tests on a cell's features
/// in one pooling.
template <class Arm>
ArmScore choose_pooling(const std::string& method, const ProbingCell& cell,
                        const ProbingCell& inner, const Arm& arm) {
  std::vector<ArmScore> outer_scores, inner_scores;
  for (const int pooling : {0, 1, 2}) {
    outer_scores.push_back(arm(cell, pooling));
    inner_scores.push_back(arm(inner, pooling));
    outer_scores.back().method = inner_scores.back().method = std::to_string(pooling);
  }
  return choose_arm(method + "_pooled", inner_scores, outer_scores);
}

std::vector<ArmScore> pooled_dense_arms(const Inputs& in, const ProbingCell& cell,
                                        const ProbingCell& inner, uint64_t seed) {
  const std::vector<float>* spaces[] = {&in.cache.dense, &in.cache.dense_max, &in.cache.dense_last};
  const int64_t k = in.session.config.of<OodConfig>().headline_k;
  const auto features = [&](const ProbingCell& c, int p) {
    return dense_features(in.cache, *spaces[p], c);
  };
  return {choose_pooling("dense_lr", cell, inner,
                         [&](const ProbingCell& c, int p) {
                           return logistic_arm("", c, features(c, p), seed);
                         }),
          choose_pooling(fmt::format("neurons_top{}", k), cell, inner,
                         [&](const ProbingCell& c, int p) {
                           return top_k_arm("", c, features(c, p), k, seed);
                         })};
}

ArmScore pooled_latent_arm(const Inputs& in, const ProbingCell& cell, const ProbingCell& inner,
                           const EncodedDictionary& encoded, uint64_t seed) {
  const SparseCodes* spaces[] = {&encoded.pooled, &encoded.pooled_max, &encoded.pooled_last};
  const int64_t k = in.session.config.of<OodConfig>().headline_k;
  return choose_pooling(
      fmt::format("latents_top{}", k), cell, inner, [&](const ProbingCell& c, int p) {
        return top_k_arm("", c, latent_features(in.cache, *spaces[p], c), k, seed);
      });
}

/// What the dictionary-free part of a cell hands to each dictionary's.
struct Cells {
  const ProbingCell &cell, &permuted, &inner;
  std::vector<ArmScore> dense, inner_dense;  // the baselines a quiver may choose from
};

void score_dictionary(const Inputs& in, const Cells& cells, size_t index, uint64_t seed,
                      std::vector<Scored>& scored) {
  const OodConfig& config = in.session.config.of<OodConfig>();
  const EncodedDictionary& encoded = in.cache.dictionaries[index];
  const CellFeatures latents = latent_features(in.cache, encoded.pooled, cells.cell);
  std::vector<ArmScore> arms = latent_arms(cells.cell, latents, config, seed);
  for (const ArmScore& arm : arms) scored.push_back(Scored{index, false, arm});
  const std::string headline = fmt::format("latents_top{}", config.headline_k);
  scored.push_back(
      Scored{index, true, top_k_arm(headline, cells.permuted, latents, config.headline_k, seed)});
  const CellFeatures reconstruction = dense_features(in.cache, encoded.reconstruction, cells.cell);
  scored.push_back(Scored{index, false, reconstruction_arm(cells.cell, reconstruction, seed)});
  // Ties go to the baselines, which stand first.
  std::vector<ArmScore> inner = cells.inner_dense, outer = cells.dense;
  const CellFeatures inner_latents = latent_features(in.cache, encoded.pooled, cells.inner);
  for (ArmScore& arm : sparse_latent_arms(cells.inner, inner_latents, config, seed))
    inner.push_back(std::move(arm));
  inner.push_back(logistic_arm("latents_all", cells.inner, inner_latents, seed));
  for (ArmScore& arm : arms) outer.push_back(std::move(arm));
  scored.push_back(Scored{index, false, choose_arm("quiver_latents", inner, outer)});
  scored.push_back(
      Scored{index, false, pooled_latent_arm(in, cells.cell, cells.inner, encoded, seed)});
}

std::vector<Scored> score_cell(const Inputs& in, const ProbingCell& cell) {
  const uint64_t seed = derive_seed(in.session.seed, {'c', static_cast<uint64_t>(cell.category),
                                                      static_cast<uint64_t>(cell.run)});
  const ProbingCell permuted = permute_labels(cell, derive_seed(seed, {1})),
                    inner = inner_cell(cell, derive_seed(seed, {2}));
  std::vector<Scored> scored;
  const CellFeatures dense = dense_features(in.cache, in.cache.dense, cell);
  const OodConfig& config = in.session.config.of<OodConfig>();
  const Cells cells{
      cell, permuted, inner, dense_arms(cell, dense, config, seed),
      dense_arms(inner, dense_features(in.cache, in.cache.dense, inner), config, seed)};
  for (const ArmScore& arm : cells.dense) scored.push_back(Scored{std::nullopt, false, arm});
  scored.push_back(
      Scored{std::nullopt, false, choose_arm("quiver_dense", cells.inner_dense, cells.dense)});
  for (const ArmScore& arm : pooled_dense_arms(in, cell, inner, seed))
    scored.push_back(Scored{std::nullopt, false, arm});
  if (in.texts)
    scored.push_back(Scored{std::nullopt, false, text_arm(cell, in.table, *in.texts, seed)});
  scored.push_back(Scored{std::nullopt, true, logistic_arm("dense_lr", permuted, dense, seed)});
  for (size_t i = 0; i < in.cache.dictionaries.size(); ++i)
    score_dictionary(in, cells, i, seed, scored);
  return scored;
}

/// One shift: which texts its probes learn from and are tested on.
struct Shift {
  std::string name;  ///< the task's
  ProbingPlan (*plan)(const data::Dataset&, const TextTable&, const EvalConfig&, uint64_t seed);
  std::string (*missing)(const data::Dataset&, const EvalConfig&);  ///< as Task::missing
};

bool has_class(const data::Dataset& dataset, const std::string& label, const std::string& name) {
  for (const data::LabelInfo& info : dataset.info().labels)
    if (info.name == label)
      return std::find(info.classes.begin(), info.classes.end(), name) != info.classes.end();
  return false;
}

/// The default themes are WordNet's: on other data the task is left out, until its own are named.
std::string missing_themes(const data::Dataset& dataset, const EvalConfig& config) {
  const OodConfig& labels = config.of<OodConfig>();
  const ThemesConfig& themes = config.of<ThemesConfig>();
  for (const std::string& kind : {themes.source, themes.target})
    if (!has_class(dataset, labels.filter_label, kind))
      return fmt::format(
          "needs class '{}' of label '{}' (probe_themes.source and .target, "
          "ood_probing.filter_label)",
          kind, labels.filter_label);
  for (const std::string& pair : themes.pairs)
    if (has_class(dataset, labels.class_label, pair.substr(0, pair.find('='))))
      return lacks_probing_labels(dataset, labels);
  return fmt::format("needs probe_themes.pairs of classes that label '{}' has", labels.class_label);
}

struct OodPlan {
  TextTable table;
  ProbingPlan probing;
};

class OodProbingTask : public PlannedTask<OodPlan> {
 public:
  explicit OodProbingTask(Shift shift) : shift_(std::move(shift)) {}
  std::string missing(const Session& session) const override {
    return shift_.missing(session.dataset, session.config);
  }

 private:
  OodPlan make_plan(const Session& session, EncodeRequest& request) const override {
    const OodConfig& config = session.config.of<OodConfig>();
    if (std::find(config.top_k.begin(), config.top_k.end(), config.headline_k) ==
        config.top_k.end())
      throw Error(
          fmt::format("{}: headline_k = {} is not one of top_k", shift_.name, config.headline_k));
    OodPlan plan{text_table(session.dataset), {}};
    plan.probing =
        shift_.plan(session.dataset, plan.table, session.config, derive_seed(session.seed, {'p'}));
    request.other_poolings = true;
    for (const ProbingCell& cell : plan.probing.cells) request.add_texts(texts_of(cell));
    return plan;
  }

  void run_plan(const Session& session, const EncodeCache& cache, const OodPlan& own,
                TaskResult& result) const override {
    const ProbingPlan& plan = own.probing;
    std::vector<std::string> left_out = plan.left_out;
    const auto texts = data::read_texts(session.dataset.info().path);
    if (!texts) {
      left_out.emplace_back("tfidf_lr: the data set has no texts");
      session.log(fmt::format("{}: tfidf_lr is left out: {} has no texts", shift_.name,
                              session.dataset.info().path.string()));
    }
    const Inputs inputs{session, cache, own.table, texts};
    std::vector<std::vector<Scored>> scored(plan.cells.size());
    session.context.pool().run(std::ssize(plan.cells), [&](int64_t i, int) {
      scored[static_cast<size_t>(i)] = score_cell(inputs, plan.cells[static_cast<size_t>(i)]);
    });
    ScoreTable table;
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i])
        table.add({s.score.method, s.dictionary, s.permuted}, plan.cells[i], s.score);
    const auto seen = seen_by_dictionary(session, tested_documents(plan, own.table));
    declare_probing(session.config.of<OodConfig>(), result);
    report_scores(session, plan, table, seen, result);
    report_differences(session, table, seen, result);
    describe_classes(plan, result);
    if (!left_out.empty()) result.details["left_out"] = left_out;
  }

  static void describe_classes(const ProbingPlan& plan, TaskResult& result) {
    const auto positives = [](const LabelledTexts& part) {
      return std::count(part.labels.begin(), part.labels.end(), 1);
    };
    nlohmann::json rows = nlohmann::json::array();
    for (const ProbingCell& cell : plan.cells)
      rows.push_back({{"class", plan.classes[static_cast<size_t>(cell.category)]},
                      {"run", cell.run},
                      {"train_positives", positives(cell.train)},
                      {"train", cell.train.texts.size()},
                      {"id_positives", positives(cell.id)},
                      {"id", cell.id.texts.size()},
                      {"ood_positives", positives(cell.ood)},
                      {"ood", cell.ood.texts.size()}});
    result.details["classes"] = std::move(rows);
    result.details["runs"] = plan.runs;
  }

  Shift shift_;
};

std::unique_ptr<Task> make_ood_probing() {
  return std::make_unique<OodProbingTask>(
      Shift{kOodProbing.name,
            [](const data::Dataset& dataset, const TextTable& table, const EvalConfig& config,
               uint64_t seed) {
              return plan_probing(dataset, table, config.of<OodConfig>(), config.seeds, seed);
            },
            [](const data::Dataset& dataset, const EvalConfig& config) {
              return lacks_probing_labels(dataset, config.of<OodConfig>());
            }});
}

std::unique_ptr<Task> make_probe_themes() {
  return std::make_unique<OodProbingTask>(
      Shift{kProbeThemes.name,
            [](const data::Dataset& dataset, const TextTable& table, const EvalConfig& config,
               uint64_t seed) {
              return plan_themes(dataset, table, config.of<OodConfig>(), config.of<ThemesConfig>(),
                                 config.seeds, seed);
            },
            missing_themes});
}

}  // namespace

const TaskEntry kOodProbing{
    .name = "ood_probing",
    .title = "Out-of-distribution probing",
    .question =
        "For whoever wants to monitor a model for a concept: does a few-latent probe learnt on one "
        "kind of text still work on another, and does it beat the same probe without a dictionary?",
    .make = make_ood_probing,
};

const TaskEntry kProbeThemes{
    .name = "probe_themes",
    .title = "Probing across word classes",
    .question =
        "For whoever needs a probe to follow a concept into new surface forms: learnt on one kind "
        "of word, does it know the same theme in another kind?",
    .make = make_probe_themes,
};

}  // namespace assay::eval::probing
