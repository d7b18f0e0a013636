#include "eval/tasks/unlearning/unlearning.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/unlearning/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

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

class UnlearningTask : public Task {
 public:
  std::string name() const override { return "unlearning"; }
  std::string title() const override { return "Unlearning"; }
  std::string question() const override {
    return "For whoever must take a topic out of a model: how much of it can be hidden by clamping "
           "latents before the "
           "other topics suffer, does it come back to an attacker with a few labels, and would "
           "steering, erasure or "
           "fine-tuning have hidden more?";
  }
  std::string missing(const Session& session) const override {
    return lacks_halves(session, sae::HalfOutput::embedding);
  }
  void request(const Session& session, EncodeRequest&) override {
    check_config(session.config.unlearning);
    table_ = text_table(session.dataset);
    for (int64_t r = 0; r < session.config.unlearning.seeds; ++r)
      plans_.push_back(plan_unlearning(session.dataset, table_, session.config.unlearning,
                                       run_seed(session, r)));
  }

  void run(const Session& session, const EncodeCache&, TaskResult& result) override {
    const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
    const data::DatasetInfo& info = session.dataset.info();
    sae::check_fit(folder, session.dataset.hook("activations").d, info.model, info.hook,
                   info.path.string());
    const Halves halves = load_halves(session, folder);
    UnlearningInputs inputs{session.context,
                            session.dataset,
                            table_,
                            session.config.unlearning,
                            {},
                            {},
                            *halves.upper,
                            nullptr,
                            0,
                            {},
                            session.log};
    for (const EvalDictionary& d : session.dictionaries) {
      inputs.dictionaries.push_back(&d.dictionary);
      inputs.trained.push_back(d.entry.null_kind.empty());
    }
    inputs.trainable = [&folder] { return sae::load_trainable_half(folder); };
    inputs.max_length = folder.max_length;
    if (info.has_tokens)
      inputs.lower = halves.lower.get();
    else
      session.log(fmt::format("unlearning: the padding attack is left out: {} has no tokens",
                              info.path.string()));
    std::vector<UnlearningRecord> runs;
    for (size_t r = 0; r < plans_.size(); ++r) {
      const uint64_t seed = run_seed(session, static_cast<int64_t>(r));
      runs.push_back({seed, run_unlearning(inputs, plans_[r], seed)});
    }
    report_unlearning(session, runs, seen_by_dictionary(session), result);
    result.details["upper_half"] = halves.kind;
  }

 private:
  static uint64_t run_seed(const Session& session, int64_t run) {
    return derive_seed(session.seed, {'u', static_cast<uint64_t>(run)});
  }

  std::vector<std::optional<bool>> seen_by_dictionary(const Session& session) const {
    std::vector<int64_t> documents;
    for (const UnlearningPlan& plan : plans_)
      for (const auto& parts : plan.texts)
        for (const UnlearningPart part : {kTrain, kTest})
          for (const int64_t t : parts[part]) documents.push_back(table_.document[t]);
    std::vector<std::optional<bool>> seen;
    for (const EvalDictionary& dictionary : session.dictionaries)
      seen.push_back(seen_in_training(session, dictionary, documents));
    return seen;
  }

  TextTable table_;
  std::vector<UnlearningPlan> plans_;
};

}  // namespace

std::unique_ptr<Task> make_unlearning_task() { return std::make_unique<UnlearningTask>(); }

}  // namespace assay::eval::unlearning
