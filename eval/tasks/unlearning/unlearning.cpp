#include "eval/tasks/unlearning/unlearning.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "eval/tasks/unlearning/declare.h"
#include "eval/tasks/unlearning/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

void check_config(const UnlearningConfig& config) {
  if (std::find(config.labels.begin(), config.labels.end(), config.headline_labels) ==
      config.labels.end())
    throw Error(fmt::format("unlearning: headline_labels = {} is not one of labels",
                            config.headline_labels));
  for (const auto& [key, empty] : {std::pair("latents", config.latents.empty()),
                                   {"clamps", config.clamps.empty()},
                                   {"budgets", config.budgets.empty()}})
    if (empty)
      throw Error(fmt::format("unlearning: {} is empty, expected at least one value", key));
  const int64_t most = *std::max_element(config.labels.begin(), config.labels.end());
  if (most > std::min(config.train, config.retain))
    throw Error(
        fmt::format("unlearning: labels = {} but a class has {} training texts (train {}, retain "
                    "{}): raise them",
                    most, std::min(config.train, config.retain), config.train, config.retain));
}

/// The model's halves: the compiled upper one where it runs here (twice as fast), else the script,
/// and that is said.
struct Halves {
  std::unique_ptr<sae::UpperHalf> upper;
  std::unique_ptr<data::LowerHalf> lower;
  std::string kind;
};

Halves load_halves(const Session& session, const sae::ModelFolder& folder) {
  const int threads = session.context.pool().threads();
  Halves halves;
  try {
    halves.upper = sae::load_upper_half(folder, sae::HalfKind::compiled, threads);
    halves.lower = sae::load_lower_half(folder, sae::HalfKind::compiled, threads);
    halves.kind = "compiled";
  } catch (const Error& error) {
    session.log(fmt::format(
        "unlearning: the compiled halves do not run here, the scripts do, at half the speed ({})",
        error.what()));
    halves.upper = sae::load_upper_half(folder, sae::HalfKind::script, threads);
    halves.lower = sae::load_lower_half(folder, sae::HalfKind::script, threads);
    halves.kind = "script";
  }
  return halves;
}

struct UnlearningTexts {
  TextTable table;
  std::vector<UnlearningPlan> plans;  // one an evaluation seed
};

class UnlearningTask : public PlannedTask<UnlearningTexts> {
 public:
  std::string missing(const Session& session) const override {
    std::string lacks = lacks_halves(session, sae::HalfOutput::embedding);
    return lacks.empty() ? lacks_plain_rows(session) : lacks;
  }

 private:
  UnlearningTexts make_plan(const Session& session, EncodeRequest&) const override {
    const UnlearningConfig& config = session.config.of<UnlearningConfig>();
    check_config(config);
    UnlearningTexts texts{text_table(session), {}};
    for (int64_t r = 0; r < config.seeds; ++r)
      texts.plans.push_back(
          plan_unlearning(session.dataset, texts.table, config, run_seed(session, r)));
    return texts;
  }

  /// Each class as often as there are runs that test it.
  Tested tested_by(const Session& session, const UnlearningTexts& texts) const override {
    Tested tested;
    std::set<std::string> classes;
    for (size_t r = 0; r < texts.plans.size(); ++r)
      for (const std::string& name : texts.plans[r].classes) {
        tested.units.push_back(r == 0 ? name : fmt::format("{} in run {}", name, r + 1));
        classes.insert(name);
      }
    tested.tables.push_back({"forget_drop",
                             few_shot_part(session.config.of<UnlearningConfig>().headline_labels),
                             "classes", std::ssize(classes), std::ssize(texts.plans)});
    return tested;
  }

  void run_plan(const Session& session, const EncodeCache&, const UnlearningTexts& texts,
                TaskResult& result) const override {
    const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
    const data::DatasetInfo& info = session.dataset.info();
    sae::check_fit(folder, session.dataset.hook("activations").d, info.model, info.hook,
                   info.path.string());
    const Halves halves = load_halves(session, folder);
    UnlearningInputs inputs{.context = session.context,
                            .dataset = session.dataset,
                            .table = texts.table,
                            .config = session.config.of<UnlearningConfig>(),
                            .upper = *halves.upper,
                            .trainable = [&folder] { return sae::load_trainable_half(folder); },
                            .log = session.log};
    for (const EvalDictionary& d : session.dictionaries) {
      inputs.dictionaries.push_back(&d.dictionary);
      inputs.trained.push_back(d.entry.null_kind.empty());
    }
    inputs.max_length = folder.max_length;
    if (info.has_tokens)
      inputs.lower = halves.lower.get();
    else
      session.log(fmt::format("unlearning: the padding attack is left out: {} has no tokens",
                              info.path.string()));
    std::vector<RunOutcome> runs;
    for (size_t r = 0; r < texts.plans.size(); ++r)
      runs.push_back(
          run_unlearning(inputs, texts.plans[r], run_seed(session, static_cast<int64_t>(r))));
    report_unlearning(session, runs, seen_by_dictionary(session, tested_documents(texts)), result);
    result.details["upper_half"] = halves.kind;
  }

  static uint64_t run_seed(const Session& session, int64_t run) {
    return derive_seed(session.seed, {'u', static_cast<uint64_t>(run)});
  }

  static std::vector<int64_t> tested_documents(const UnlearningTexts& texts) {
    std::vector<int64_t> documents;
    for (const UnlearningPlan& plan : texts.plans)
      for (const auto& parts : plan.texts)
        for (const UnlearningPart part : damage_parts(texts.table))
          for (const int64_t t : parts[part]) documents.push_back(texts.table.document[t]);
    return documents;
  }
};

}  // namespace

const TaskEntry kUnlearning{
    .name = "unlearning",
    .title = "Unlearning",
    .question =
        "For whoever must take a topic out of a model: how much of it can be hidden by clamping "
        "latents before the other topics suffer, does it come back to an attacker with a few "
        "labels, and would steering, erasure or fine-tuning have hidden more?",
    .make = make_task<UnlearningTask>,
};

}  // namespace assay::eval::unlearning
