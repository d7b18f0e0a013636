// Which texts of an audit data set are whose.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval/tasks/hidden_goals/text_data.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr const char* kLabels[] = {"part", "candidate", "organism", "kind", "secret"};
constexpr int64_t kFewestCandidates = 4, kFewestCalibration = 3;

/// One value a text, each −1 or a class.
std::vector<int32_t> checked_labels(const data::Dataset& dataset, const TextTable& texts,
                                    const std::string& name) {
  const auto classes = static_cast<int64_t>(dataset.label(name).classes.size());
  std::vector<int32_t> values = text_labels(dataset, texts, name);
  for (int64_t t = 0; t < texts.size(); ++t)
    if (values[t] < -1 || values[t] >= classes)
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), texts.number[t], name, values[t],
                              classes));
  return values;
}

/// Fills a plan text by text.
class Planner {
 public:
  Planner(const data::Dataset& dataset, const TextTable& texts) : dataset_(dataset), texts_(texts) {
    for (const char* name : kLabels) labels_[name] = checked_labels(dataset, texts, name);
    if (dataset.label("secret").classes != dataset.label("candidate").classes)
      fail("labels 'secret' and 'candidate' have different classes");
    plan_.candidates = dataset.label("candidate").classes;
    const size_t organisms = dataset.label("organism").classes.size(),
                 classes = plan_.candidates.size();
    plan_.names.assign(classes, -1);
    plan_.concepts.resize(classes);
    plan_.audit.resize(organisms + 1);
    plan_.query.assign(organisms + 1, std::vector<std::vector<int64_t>>(classes));
    kind_.assign(organisms, -1);
    secret_.assign(organisms, -1);
  }
  AuditPlan make(uint64_t seed) {
    for (int64_t t = 0; t < texts_.size(); ++t)
      if (texts_.ordinary[t] > 0) take(t);
    check();
    list(seed);
    return std::move(plan_);
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(
        fmt::format("{}: hidden_goals_text: {}; data/python/harvest_organisms.py writes such data",
                    dataset_.info().path.string(), what));
  }
  void take(int64_t t) {
    const auto of = [&](const char* label) { return labels_.at(label)[t]; };
    if (of("part") < 0) return;
    const std::string& part = dataset_.label("part").classes[of("part")];
    const int32_t candidate = of("candidate"), organism = of("organism");
    if (part != "audit" && candidate < 0)
      fail(fmt::format("text {} of part '{}' has no candidate", texts_.number[t], part));
    const size_t model = organism < 0 ? plan_.audit.size() - 1 : static_cast<size_t>(organism);
    if (part == "name" && organism < 0) plan_.names[candidate] = t;
    if (part == "concept" && organism < 0) plan_.concepts[candidate].push_back(t);
    if (part == "audit") plan_.audit[model].push_back(t);
    if (part == "query") plan_.query[model][candidate].push_back(t);
    if (organism < 0) return;
    for (const auto& [list, label] : {std::pair(&kind_, "kind"), {&secret_, "secret"}}) {
      if (seen_.contains(organism) && (*list)[organism] != of(label))
        fail(fmt::format("text {}: its organism has another '{}' elsewhere", texts_.number[t],
                         label));
      (*list)[organism] = of(label);
    }
    seen_.insert(organism);
  }
  void check() const {
    if (std::ssize(plan_.candidates) < kFewestCandidates)
      fail(fmt::format("{} candidates, expected at least {}", plan_.candidates.size(),
                       kFewestCandidates));
    for (size_t c = 0; c < plan_.candidates.size(); ++c)
      if (plan_.names[c] < 0 || plan_.concepts[c].empty())
        fail(fmt::format("candidate '{}' has no text of part '{}'", plan_.candidates[c],
                         plan_.names[c] < 0 ? "name" : "concept"));
    for (size_t o = 0; o < plan_.audit.size(); ++o) {
      const bool base = o + 1 == plan_.audit.size();
      const std::string who =
          base ? "the base model" : "organism '" + dataset_.label("organism").classes[o] + "'";
      if (plan_.audit[o].empty()) fail(who + " has no text of part 'audit'");
      for (size_t c = 0; c < plan_.candidates.size(); ++c)
        if (plan_.query[o][c].empty())
          fail(fmt::format("{} is not asked about '{}'", who, plan_.candidates[c]));
    }
  }
  void list(uint64_t seed) {
    static const std::map<std::string, GoalKind> kKinds = {{"planted", GoalKind::planted},
                                                           {"benign", GoalKind::benign},
                                                           {"decoy", GoalKind::decoy},
                                                           {"calibration", GoalKind::calibration}};
    std::map<GoalKind, int64_t> counts;
    Rng rng(seed);
    for (size_t o = 0; o < kind_.size(); ++o) {
      const auto found =
          kind_[o] < 0 ? kKinds.end() : kKinds.find(dataset_.label("kind").classes[kind_[o]]);
      const std::string& name = dataset_.label("organism").classes[o];
      if (found == kKinds.end()) fail(fmt::format("organism '{}' is of no known kind", name));
      Organism organism;
      organism.kind = found->second;
      const bool named = organism.kind == GoalKind::planted || organism.kind == GoalKind::decoy;
      if (named != (secret_[o] >= 0))
        fail(fmt::format("organism '{}' is {} and has {} secret", name, found->first,
                         named ? "no" : "a"));
      organism.goal = secret_[o];
      organism.strength = organism.kind == GoalKind::planted ? 100 : 0;
      organism.absent = organism.goal;
      while (organism.kind != GoalKind::planted &&
             (organism.absent < 0 || organism.absent == organism.goal))
        organism.absent =
            static_cast<int32_t>(rng.below(static_cast<uint64_t>(plan_.candidates.size())));
      organism.replicate = replicates_[{found->second, secret_[o]}]++;
      ++counts[organism.kind];
      plan_.organisms.push_back(organism);
    }
    if (counts[GoalKind::planted] == 0) fail("no organism is planted");
    if (counts[GoalKind::benign] + counts[GoalKind::decoy] == 0) fail("no organism is benign");
    if (counts[GoalKind::calibration] < kFewestCalibration)
      fail(fmt::format("{} organisms to calibrate by, expected at least {}",
                       counts[GoalKind::calibration], kFewestCalibration));
  }

  const data::Dataset& dataset_;
  const TextTable& texts_;
  std::map<std::string, std::vector<int32_t>> labels_;
  std::vector<int32_t> kind_, secret_;
  std::set<int32_t> seen_;
  std::map<std::pair<GoalKind, int32_t>, int64_t> replicates_;
  AuditPlan plan_;
};

}  // namespace

std::string lacks_audit(const data::Dataset& dataset) {
  for (const char* name : kLabels)
    if (!has_label(dataset, name))
      return fmt::format(
          "needs label '{}': data of organisms, as data/python/harvest_organisms.py writes them",
          name);
  return {};
}

AuditPlan plan_audit(const data::Dataset& dataset, const TextTable& texts, uint64_t seed) {
  return Planner(dataset, texts).make(seed);
}

}  // namespace assay::eval::hidden_goals
