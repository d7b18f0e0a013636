#include "eval/tasks/probing/scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "eval/results/families.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "kernels/base/error.h"

namespace assay::eval::probing {
namespace {

std::string control_of_arm(const Session& session, const ArmKey& arm) {
  if (!arm.dictionary) return "";
  return control_of(session, session.dictionaries[*arm.dictionary]);
}

Number number_of(const Estimate& estimate, std::span<const Cell> cells, std::string metric,
                 std::string method, std::string part, int64_t classes) {
  Number number;
  number.metric = std::move(metric);
  number.method = std::move(method);
  number.part = std::move(part);
  set_estimate(number, estimate, "classes", cells);
  number.n = classes;
  number.n_unit = "classes";
  return number;
}

/// Two-sided p of "the mean is .5".
double p_of_chance(std::vector<Cell> cells) {
  for (Cell& cell : cells) cell.value -= 0.5;
  return mean_of_cells(cells).p;
}

/// One arm's value per class, over its runs.
void add_per_class(const ArmCells& arm, const std::string& dictionary, const ProbingPlan& plan,
                   nlohmann::json& rows) {
  for (size_t c = 0; c < plan.classes.size(); ++c) {
    double id = 0, ood = 0, count = 0;
    for (size_t i = 0; i < arm.id.size(); ++i) {
      if (arm.id[i].unit != static_cast<int64_t>(c)) continue;
      id += arm.id[i].value;
      ood += arm.ood[i].value;
      count += 1;
    }
    rows.push_back({{"class", plan.classes[c]},
                    {"method", arm.key.method},
                    {"dictionary", dictionary},
                    {"id", id / count},
                    {"ood", ood / count}});
  }
}

/// The arms that dictionaries are compared by: all that read the dictionary alone. A toolbox of
/// both is none of its. The baselines are all arms that need none.
void add_score(const Session& session, const ArmCells& arm, TaskResult& result) {
  const ArmEntry* entry = find_arm(result, arm.key.method);
  const bool toolbox = entry && entry->space == "toolbox";
  if (arm.key.permuted || (arm.key.dictionary && toolbox)) return;
  Score score{"auroc", "ood", arm.key.method, dictionary_name(session, arm.key.dictionary), false,
              true,    {}};
  score.headline = entry && entry->role == "headline";
  score.cells = arm.ood;
  result.scores.push_back(std::move(score));
}

struct Difference {
  ArmKey a, b;
  std::string method;
};

/// The comparisons of one trained dictionary; fixed beforehand, whatever comes out.
std::vector<Difference> differences_of(const Session& session, const ScoreTable& table,
                                       size_t index, const TaskResult& result) {
  const OodConfig& config = session.config.of<OodConfig>();
  const std::string headline = fmt::format("latents_top{}", config.headline_k);
  std::vector<Difference> list;
  const auto add = [&](const std::string& a, const std::string& b,
                       std::optional<size_t> b_dictionary, std::string method) {
    list.push_back(
        Difference{ArmKey{a, index, false}, ArmKey{b, b_dictionary, false}, std::move(method)});
  };
  for (size_t j = 0; j < session.dictionaries.size(); ++j) {
    const DictionaryEntry& other = session.dictionaries[j].entry;
    if (other.parent != session.dictionaries[index].entry.name) continue;
    for (const std::string& arm :
         {headline, std::string("latents_all_sqrt"), std::string("latents_all_binary"),
          std::string("latents_searched")})
      add(arm, arm, j,
          fmt::format("{} - {}_{}", arm, other.null_kind, arm.substr(std::strlen("latents_"))));
  }
  for (const int64_t k : config.top_k)
    add(fmt::format("latents_top{}", k), fmt::format("neurons_top{}", k), std::nullopt,
        fmt::format("latents_top{0} - neurons_top{0}", k));
  for (const ArmCells& arm : table.arms()) {
    const ArmEntry* entry = find_arm(result, arm.key.method);
    const bool neurons = entry && entry->space == "neurons";
    if (!arm.key.dictionary && !arm.key.permuted && !neurons)
      add(headline, arm.key.method, std::nullopt, fmt::format("{} - {}", headline, arm.key.method));
  }
  for (const char* arm : {"latents_all", "latents_all_one_scale", "latents_all_sqrt",
                          "latents_all_binary", "latents_searched", "reconstruction_lr"})
    add(arm, "dense_lr", std::nullopt, fmt::format("{} - dense_lr", arm));
  add("latents_searched", "activations_searched", std::nullopt,
      "latents_searched - activations_searched");
  add("quiver_latents", "quiver_dense", std::nullopt, "quiver_latents - quiver_dense");
  for (const std::string& other :
       {std::string("dense_lr_pooled"), fmt::format("neurons_top{}_pooled", config.headline_k)})
    add(headline + "_pooled", other, std::nullopt, fmt::format("{}_pooled - {}", headline, other));
  return list;
}

}  // namespace

void ScoreTable::add(const ArmKey& key, const ProbingCell& cell, const ArmScore& score) {
  auto arm =
      std::find_if(arms_.begin(), arms_.end(), [&](const ArmCells& a) { return a.key == key; });
  if (arm == arms_.end()) arm = arms_.insert(arm, ArmCells{key, {}, {}});
  arm->id.push_back({cell.category, cell.run, score.id});
  arm->ood.push_back({cell.category, cell.run, score.ood});
}

const ArmCells& ScoreTable::at(const ArmKey& key) const {
  const auto arm =
      std::find_if(arms_.begin(), arms_.end(), [&](const ArmCells& a) { return a.key == key; });
  if (arm == arms_.end()) throw Error(fmt::format("probing: arm '{}' was not scored", key.method));
  return *arm;
}

std::vector<NullTest> report_numbers(const Session& session, const ProbingPlan& plan,
                                     const ScoreTable& table,
                                     const std::vector<std::optional<bool>>& seen,
                                     TaskResult& result) {
  std::vector<NullTest> nulls;
  nlohmann::json per_class = nlohmann::json::array();
  for (const ArmCells& arm : table.arms()) {
    const std::string dictionary = dictionary_name(session, arm.key.dictionary);
    for (const auto& [part, cells] : {std::pair("id", &arm.id), std::pair("ood", &arm.ood)}) {
      const Estimate estimate = mean_of_cells(*cells);
      Number number =
          number_of(estimate, *cells, arm.key.permuted ? "auroc_permuted_labels" : "auroc",
                    arm.key.method, part, std::ssize(plan.classes));
      number.dictionary = dictionary;
      if (arm.key.dictionary) number.test_seen_in_training = seen[*arm.key.dictionary];
      number.control = arm.key.permuted ? "permuted_labels" : control_of_arm(session, arm.key);
      result.numbers.push_back(number);
      if (arm.key.permuted)
        nulls.push_back(
            {fmt::format("{}{} {}", arm.key.method, dictionary.empty() ? "" : " of " + dictionary,
                         part),
             p_of_chance(*cells),
             fmt::format("AUROC {} with permuted labels, p of chance", estimate_text(estimate))});
    }
    if (!arm.key.permuted) add_per_class(arm, dictionary, plan, per_class);
    add_score(session, arm, result);
  }
  result.details["per_class"] = std::move(per_class);
  return nulls;
}

void report_scores(const Session& session, const ProbingPlan& plan, const ScoreTable& table,
                   const std::vector<std::optional<bool>>& seen, TaskResult& result) {
  add_null_checks(report_numbers(session, plan, table, seen, result), result);
}

void add_difference(const Session& session, const ScoreTable& table, const ArmKey& a,
                    const ArmKey& b, const std::string& method,
                    const std::vector<std::optional<bool>>& seen, DifferenceFamily& family,
                    TaskResult& result) {
  const std::vector<Cell>&ours = table.at(a).ood, &theirs = table.at(b).ood;
  const Estimate estimate = paired_difference(ours, theirs);
  std::set<int64_t> classes;
  for (const Cell& cell : ours) classes.insert(cell.unit);
  Number number = number_of(estimate, ours, "auroc_difference", method, "ood", std::ssize(classes));
  number.dictionary = dictionary_name(session, a.dictionary);
  if (a.dictionary) number.test_seen_in_training = seen[*a.dictionary];
  const bool null = b.dictionary && b.dictionary != a.dictionary;
  number.control = null ? dictionary_name(session, b.dictionary) : b.method;
  std::string other = arm_label(result, b.method);
  if (null)
    other += fmt::format(", {} control", session.dictionaries[*b.dictionary].entry.null_kind);
  declare_difference(result, method, a.method, other);
  family.add(std::move(number), estimate, result);
}

void report_differences(const Session& session, const ScoreTable& table,
                        const std::vector<std::optional<bool>>& seen, TaskResult& result) {
  DifferenceFamily family;
  for (size_t i = 0; i < session.dictionaries.size(); ++i) {
    if (!session.dictionaries[i].entry.null_kind.empty()) continue;
    for (const Difference& difference : differences_of(session, table, i, result)) {
      add_difference(session, table, difference.a, difference.b, difference.method, seen, family,
                     result);
    }
  }
  family.finish(result);
}

}  // namespace assay::eval::probing
