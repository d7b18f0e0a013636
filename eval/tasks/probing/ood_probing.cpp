#include "eval/tasks/probing/ood_probing.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "eval/tasks/probing/declare.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "eval/tasks/probing/search.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

struct Scored {
  std::optional<size_t> dictionary;
  bool permuted;
  ArmScore score;
};

/// What a searched arm chose.
struct Found {
  std::optional<size_t> dictionary;
  SearchChoice choice;
};

struct CellScores {
  std::vector<Scored> scored;
  std::vector<Found> found;

  void add(std::optional<size_t> dictionary, const ArmScore& score, bool permuted = false) {
    scored.push_back(Scored{dictionary, permuted, score});
  }
  void add(std::optional<size_t> dictionary, const SearchedArm& arm) {
    add(dictionary, arm.score);
    found.push_back({dictionary, arm.choice});
  }
};

/// Everything the cells read.
struct Inputs {
  const Session& session;
  const EncodeCache& cache;
  const TextTable& table;
  const std::optional<std::vector<std::string>>& texts;

  const std::vector<float>& dense(size_t pooling) const {
    return *std::array{&cache.dense, &cache.dense_max, &cache.dense_last}[pooling];
  }
  const SparseCodes& codes(size_t dictionary, size_t pooling) const {
    const EncodedDictionary& own = cache.dictionaries[dictionary];
    return *std::array{&own.pooled, &own.pooled_max, &own.pooled_last}[pooling];
  }
};

/// What the dictionary-free part of a cell hands to each dictionary's.
struct Cells {
  const ProbingCell &cell, &permuted, &inner;  // the first of the inner cells
  const std::vector<ProbingCell>& all_inner;   // for the search
  std::vector<ArmScore> dense, inner_dense;    // the baselines a quiver may choose from
};

const ArmScore& arm_of(const std::vector<ArmScore>& arms, const std::string& method) {
  const auto at = std::find_if(arms.begin(), arms.end(),
                               [&](const ArmScore& arm) { return arm.method == method; });
  if (at == arms.end()) throw Error(fmt::format("probing: arm '{}' was not fitted", method));
  return *at;
}

/// One arm under each pooling: it is fitted with the mean already, by the name `method`; `arm` fits
/// and tests on a cell's features in another pooling.
template <class Arm>
std::vector<ArmScore> by_pooling(const std::vector<ArmScore>& fitted, const std::string& method,
                                 const ProbingCell& cell, const Arm& arm) {
  std::vector<ArmScore> scores{arm_of(fitted, method)};
  for (size_t pooling = 1; pooling < std::size(kPoolings); ++pooling)
    scores.push_back(arm(cell, pooling));
  for (size_t pooling = 0; pooling < std::size(kPoolings); ++pooling)
    scores[pooling].method = kPoolings[pooling];
  return scores;
}

void add_pooled_dense(const Inputs& in, const Cells& cells, uint64_t seed, CellScores& out) {
  const int64_t k = in.session.config.of<OodConfig>().headline_k;
  const auto features = [&](const ProbingCell& c, size_t p) {
    return dense_features(in.cache, in.dense(p), c);
  };
  const auto all = [&](const ProbingCell& c, size_t p) {
    return logistic_arm("", c, features(c, p), seed);
  };
  const auto few = [&](const ProbingCell& c, size_t p) {
    return top_k_arm("", c, features(c, p), k, seed);
  };
  const std::string neurons = fmt::format("neurons_top{}", k);
  const std::vector<ArmScore> outer = by_pooling(cells.dense, "dense_lr", cells.cell, all);
  out.add({}, ArmScore{"dense_lr_max", outer[1].id, outer[1].ood});
  out.add({}, choose_arm("dense_lr_pooled",
                         by_pooling(cells.inner_dense, "dense_lr", cells.inner, all), outer));
  out.add({},
          choose_arm(neurons + "_pooled", by_pooling(cells.inner_dense, neurons, cells.inner, few),
                     by_pooling(cells.dense, neurons, cells.cell, few)));
}

void score_dictionary(const Inputs& in, const Cells& cells, size_t index, uint64_t seed,
                      CellScores& out) {
  const OodConfig& config = in.session.config.of<OodConfig>();
  const Gather gather = [&](const ProbingCell& c, size_t pooling) {
    return latent_features(in.cache, in.codes(index, pooling), c);
  };
  const SparseCell latents = gather(cells.cell, 0), inner_latents = gather(cells.inner, 0);
  const std::vector<ArmScore> arms = latent_arms(cells.cell, latents, config, seed);
  for (const ArmScore& arm : arms) out.add(index, arm);
  const std::string headline = fmt::format("latents_top{}", config.headline_k);
  out.add(index, top_k_arm(headline, cells.permuted, latents, config.headline_k, seed), true);
  const CellFeatures reconstruction =
      dense_features(in.cache, in.cache.dictionaries[index].reconstruction, cells.cell);
  out.add(index, reconstruction_arm(cells.cell, reconstruction, seed));
  // Ties go to the baselines, which stand first.
  std::vector<ArmScore> inner = cells.inner_dense, outer = cells.dense;
  for (ArmScore& arm : sparse_latent_arms(cells.inner, inner_latents, config, seed))
    inner.push_back(std::move(arm));
  inner.push_back(
      read_arm("latents_all", cells.inner, inner_latents, reading("z_scored"), std::nullopt, seed));
  outer.insert(outer.end(), arms.begin(), arms.end());
  out.add(index, choose_arm("quiver_latents", inner, outer));
  const auto few = [&](const ProbingCell& c, size_t p) {
    return top_k_arm("", c, gather(c, p), config.headline_k, seed);
  };
  out.add(index, choose_arm(headline + "_pooled", by_pooling(inner, headline, cells.inner, few),
                            by_pooling(arms, headline, cells.cell, few)));
  out.add(index, searched_arm("latents_searched", cells.cell, cells.all_inner, gather, config.top_k,
                              seed));
}

CellScores score_cell(const Inputs& in, const ProbingCell& cell) {
  const uint64_t seed = derive_seed(in.session.seed, {'c', static_cast<uint64_t>(cell.category),
                                                      static_cast<uint64_t>(cell.run)});
  const CellFeatures dense = dense_features(in.cache, in.cache.dense, cell);
  const ProbingCell permuted = permute_labels(cell, derive_seed(seed, {1}));
  const std::vector<ProbingCell> all_inner =
      inner_cells(cell, dense.train.documents, derive_seed(seed, {2}));
  const ProbingCell& inner = all_inner.front();
  const OodConfig& config = in.session.config.of<OodConfig>();
  const Cells cells{
      cell,
      permuted,
      inner,
      all_inner,
      dense_arms(cell, dense, config, seed),
      dense_arms(inner, dense_features(in.cache, in.cache.dense, inner), config, seed)};
  CellScores out;
  for (const ArmScore& arm : cells.dense) out.add({}, arm);
  out.add({}, choose_arm("quiver_dense", cells.inner_dense, cells.dense));
  add_pooled_dense(in, cells, seed, out);
  const Gather gather = [&](const ProbingCell& c, size_t pooling) {
    return sparse_cell(dense_features(in.cache, in.dense(pooling), c));
  };
  out.add({}, searched_arm("activations_searched", cell, all_inner, gather, config.top_k, seed));
  if (in.texts) out.add({}, text_arm(cell, in.table, *in.texts, seed));
  out.add({}, logistic_arm("dense_lr", permuted, dense, seed), true);
  for (size_t i = 0; i < in.cache.dictionaries.size(); ++i)
    score_dictionary(in, cells, i, seed, out);
  return out;
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
    OodPlan plan{text_table(session), {}};
    plan.probing =
        shift_.plan(session.dataset, plan.table, session.config, derive_seed(session.seed, {'p'}));
    request.other_poolings = true;
    for (const ProbingCell& cell : plan.probing.cells) request.add_texts(texts_of(cell));
    return plan;
  }

  Tested tested_by(const Session&, const OodPlan& plan) const override {
    return {plan.probing.classes,
            {{"auroc", "ood", "classes", std::ssize(plan.probing.classes), plan.probing.runs}}};
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
    std::vector<CellScores> scored(plan.cells.size());
    session.context.pool().run(std::ssize(plan.cells), [&](int64_t i, int) {
      scored[static_cast<size_t>(i)] = score_cell(inputs, plan.cells[static_cast<size_t>(i)]);
    });
    ScoreTable table;
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i].scored)
        table.add({s.score.method, s.dictionary, s.permuted}, plan.cells[i], s.score);
    const auto seen = seen_by_dictionary(session, tested_documents(plan, own.table));
    const std::vector<int64_t> read = all_texts(plan);
    declare_probing(session.config.of<OodConfig>(), cache, read, result);
    report_scores(session, plan, table, seen, result);
    report_differences(session, table, seen, result);
    describe_classes(plan, result);
    describe_search(session, plan, scored, result);
    describe_activity(session, cache, read, result);
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

  /// What the searched arms chose, probe by probe.
  static void describe_search(const Session& session, const ProbingPlan& plan,
                              const std::vector<CellScores>& scored, TaskResult& result) {
    nlohmann::json rows = nlohmann::json::array();
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Found& found : scored[i].found)
        rows.push_back(
            {{"class", plan.classes[static_cast<size_t>(plan.cells[i].category)]},
             {"run", plan.cells[i].run},
             {"dictionary", dictionary_name(session, found.dictionary)},
             {"pooling", kPoolings[found.choice.pooling]},
             {"reading", kReadings[found.choice.reading].name},
             {"size", found.choice.k ? fmt::format("{}", *found.choice.k) : std::string("all")},
             {"inner_auroc", found.choice.inner_auroc}});
    result.details["searched"] = std::move(rows);
  }

  /// How many latents of a text are active: what a probe on all of them reads.
  static void describe_activity(const Session& session, const EncodeCache& cache,
                                const std::vector<int64_t>& texts, TaskResult& result) {
    nlohmann::json rows = nlohmann::json::array();
    for (size_t i = 0; i < cache.dictionaries.size(); ++i) {
      const auto mean = [&](const SparseCodes& codes) { return mean_active(cache, codes, texts); };
      const EncodedDictionary& own = cache.dictionaries[i];
      rows.push_back({{"dictionary", dictionary_name(session, i)},
                      {"latents", session.dictionaries[i].entry.n},
                      {"active_in_a_text", mean(own.pooled)},
                      {"active_in_its_last_token", mean(own.pooled_last)}});
    }
    result.details["numbers_read"] = std::move(rows);
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
