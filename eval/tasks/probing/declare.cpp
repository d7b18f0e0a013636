#include "eval/tasks/probing/declare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "eval/encoding/pooled.h"

namespace assay::eval::probing {
namespace {

const ArmEntry kLogistic = {"dense_lr", "logistic regression", "baseline", "activations",
                            "logistic_regression"};
const ArmEntry kMeans = {"diff_means", "mean difference", "baseline", "activations",
                         "mean_difference"};
const ArmEntry kReconstruction = {"reconstruction_lr", "LR on reconstruction", "", "reconstruction",
                                  "logistic_regression"};

ArmEntry top_k(const std::string& space, int64_t k, const std::string& role) {
  const std::string thing = k == 1 ? space.substr(0, space.size() - 1) : space;
  return {fmt::format("{}_top{}", space, k),
          fmt::format("{} {}", k, thing),
          role,
          space,
          "logistic_regression",
          k,
          fmt::format("{}", k)};
}

/// k neurons and k latents for every k, the headline among them; returns their names.
std::vector<std::string> add_top_k(const OodConfig& config, TaskResult& result) {
  std::vector<std::string> names;
  for (const char* space : {"neurons", "latents"})
    for (const int64_t k : config.top_k) {
      const bool latents = space == std::string("latents");
      const char* role = !latents ? "baseline" : k == config.headline_k ? "headline" : "";
      result.arms.push_back(top_k(space, k, role));
      names.push_back(result.arms.back().name);
    }
  return names;
}

std::string headline_of(const OodConfig& config) {
  return top_k("latents", config.headline_k, "").name;
}

/// "107", or "107 to 212".
std::string from_to(int64_t low, int64_t high) {
  return low == high ? fmt::format("{}", low) : fmt::format("{} to {}", low, high);
}

/// What arms read that declare no k: all activations, or all latents that are active in a text, on
/// average over the task's texts; of dictionaries that differ the fewest to the most. What is
/// chosen from several sizes reads from the smallest k on.
void add_reads(const OodConfig& config, const EncodeCache& cache, const std::vector<int64_t>& texts,
               TaskResult& result) {
  std::vector<int64_t> active;
  for (const EncodedDictionary& own : cache.dictionaries)
    active.push_back(static_cast<int64_t>(mean_active(cache, own.pooled, texts)));
  if (active.empty()) active.push_back(0);
  const auto [fewest, most] = std::minmax_element(active.begin(), active.end());
  const int64_t k =
      config.top_k.empty() ? cache.d : *std::min_element(config.top_k.begin(), config.top_k.end());
  const std::map<std::string, int64_t> largest{{"activations", cache.d},
                                               {"reconstruction", cache.d},
                                               {"latents", *most},
                                               {"toolbox", std::max(cache.d, *most)}};
  for (ArmEntry& arm : result.arms) {
    const auto all = largest.find(arm.space);
    if (!arm.reads.empty() || all == largest.end()) continue;
    if (arm.method == "quiver" || arm.method == "searched_logistic_regression")
      arm.reads = from_to(std::min(k, all->second), all->second);
    else
      arm.reads = from_to(arm.space == "latents" ? *fewest : all->second, all->second);
  }
}

void add_probing_arms(const OodConfig& config, TaskResult& result) {
  result.arms.insert(
      result.arms.end(),
      {kLogistic,
       kMeans,
       {"lda", "LDA", "baseline", "activations", "lda"},
       {"pca_lr", "PCA + logistic", "baseline", "activations", "pca_logistic_regression"},
       {"knn", "kNN", "baseline", "activations", "nearest_neighbours"},
       {"tfidf_lr", "TF-IDF (words only)", "baseline", "text", "logistic_regression"},
       {"quiver_dense", "quiver: best baseline by validation", "baseline", "activations", "quiver"},
       {"quiver_latents", "quiver: best of baselines and latents", "", "toolbox", "quiver"},
       {"latents_all", "all latents", "", "latents", "logistic_regression"},
       {"latents_all_one_scale", "all latents, not z-scored", "", "latents", "logistic_regression"},
       {"latents_all_sqrt", "all latents, square root", "", "latents", "logistic_regression"},
       {"latents_all_binary", "all latents, on or off", "", "latents", "logistic_regression"},
       {"latents_l1", "latents, L1", "", "latents", "l1_logistic_regression"},
       kReconstruction,
       {"dense_lr_max", "logistic regression, max over tokens", "baseline", "activations",
        "logistic_regression"},
       {"dense_lr_pooled", "logistic regression, pooling chosen", "baseline", "activations",
        "logistic_regression_pooling_chosen"},
       {"activations_searched", "activations, reading searched", "baseline", "activations",
        "searched_logistic_regression"},
       {"latents_searched", "latents, reading searched", "", "latents",
        "searched_logistic_regression"}});
  for (const auto& [space, role] : {std::pair("neurons", "baseline"), std::pair("latents", "")}) {
    ArmEntry arm = top_k(space, config.headline_k, role);
    arm.name += "_pooled";
    arm.label += ", pooling chosen";
    arm.method += "_pooling_chosen";
    result.arms.push_back(arm);
  }
}

/// Columns of the matrix: baselines, of neurons the headline's number; the headline and all
/// latents.
std::vector<std::string> matrix_arms(const OodConfig& config, const TaskResult& result) {
  std::vector<std::string> names;
  for (const ArmEntry& arm : result.arms) {
    const bool baseline =
        arm.role == "baseline" && (arm.space != "neurons" || arm.k == config.headline_k);
    if (baseline || arm.role == "headline" || arm.name == "latents_all_sqrt")
      names.push_back(arm.name);
  }
  return names;
}

struct Family {
  const char *name, *label, *x_title, *unit;
};
constexpr Family kFamilies[] = {
    {"scarcity", "few labels", "training texts of each class", "a class"},
    {"imbalance", "rare positives", "% positive", "% positive"},
    {"noise", "flipped labels", "% of labels flipped", "% flipped"}};

const Family& family_of(const Regime& regime) {
  return *std::find_if(std::begin(kFamilies), std::end(kFamilies),
                       [&](const Family& family) { return regime.family == family.name; });
}

}  // namespace

std::vector<MetricEntry> auroc_metrics() {
  return {{"auroc", "AUROC", "higher", 0.5},
          {"auroc_difference", "difference of AUROC", "higher"},
          {"auroc_permuted_labels", "AUROC, permuted labels", "", 0.5}};
}

std::vector<PartEntry> test_parts() {
  return {{"id", "in distribution"}, {"ood", "out of distribution"}};
}

Figure difference_figure() {
  return {.kind = "dots",
          .caption =
              "Paired differences out of distribution. Right of the dashed line the first "
              "arm is ahead; an interval that includes 0 ranks nothing.",
          .metrics = {"auroc_difference"},
          .parts = {"ood"},
          .references = {{0, "no difference"}},
          .x_title = "difference of AUROC, paired",
          .panels = "dictionary"};
}

void declare_probing(const OodConfig& config, const EncodeCache& cache,
                     const std::vector<int64_t>& texts, TaskResult& result) {
  result.metrics = auroc_metrics();
  result.parts = test_parts();
  const std::vector<std::string> by_k = add_top_k(config, result);
  add_probing_arms(config, result);
  add_reads(config, cache, texts, result);
  result.figures = {
      {.kind = "dots",
       .caption = "Probing in and out of distribution: an arm a row, the best out of distribution "
                  "first; lines are 95 % intervals. All panels share one axis.",
       .metrics = {"auroc"},
       .parts = {"id", "ood"},
       .panels = "dictionary",
       .order = "best_first"},
      {.kind = "curve",
       .title = "How much a probe must read",
       .caption = "AUROC out of distribution by the number of latents or neurons that a probe may "
                  "read, with 95 % intervals; controls are grey.",
       .metrics = {"auroc"},
       .parts = {"ood"},
       .arms = by_k,
       .x = "k",
       .x_title = "latents or neurons"},
      difference_figure(),
      {.kind = "matrix",
       .caption = "AUROC out of distribution by class. Blue is above chance, red below, white is "
                  "0.5. A table below has all arms.",
       .metrics = {"auroc"},
       .arms = matrix_arms(config, result),
       .details = "per_class",
       .fields = {"class", "ood"}}};
}

std::string regime_part(const Regime& regime, const std::string& test) {
  return fmt::format("{}, {} {}", test, regime.level, family_of(regime).unit);
}

void declare_regimes(const OodConfig& config, const EncodeCache& cache,
                     const std::vector<int64_t>& texts, const std::vector<Regime>& regimes,
                     TaskResult& result) {
  result.metrics = auroc_metrics();
  result.arms = {kLogistic, kMeans, kReconstruction};
  add_top_k(config, result);
  add_reads(config, cache, texts, result);
  for (const Family& family : kFamilies) {
    result.parts.push_back({family.name, family.label});
    Figure figure{.kind = "curve",
                  .title = std::string(family.label),
                  .caption = "AUROC out of distribution, with 95 % intervals; controls are grey.",
                  .metrics = {"auroc"},
                  .arms = {kLogistic.name, kMeans.name, headline_of(config)},
                  .x = "part",
                  .x_title = family.x_title};
    figure.title[0] = static_cast<char>(figure.title[0] - 'a' + 'A');
    for (const Regime& regime : regimes)
      if (regime.family == family.name) figure.parts.push_back(regime_part(regime, "ood"));
    if (!figure.parts.empty()) result.figures.push_back(std::move(figure));
  }
  for (const PartEntry& test : test_parts())
    for (const Regime& regime : regimes)
      result.parts.push_back({regime_part(regime, test.name), regime_part(regime, test.label),
                              static_cast<double>(regime.level)});
}

void declare_saebench(const std::vector<int64_t>& by_k, int64_t d, TaskResult& result) {
  result.metrics = {{"saebench_accuracy", "SAEBench accuracy", "higher", 0.5}};
  result.parts = {test_parts().front()};
  result.arms = {{.name = "dense",
                  .label = "logistic regression",
                  .role = "baseline",
                  .space = "activations",
                  .method = "logistic_regression",
                  .reads = std::to_string(d)}};
  for (const int64_t k : by_k) result.arms.push_back(top_k("latents", k, ""));
  result.figures = {{.kind = "dots",
                     .caption = "Accuracy on balanced tests, an arm a row, the best first; lines "
                                "are 95 % intervals.",
                     .metrics = {"saebench_accuracy"},
                     .parts = {"id"},
                     .order = "best_first"}};
}

}  // namespace assay::eval::probing
