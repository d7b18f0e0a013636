#include "eval/tasks/hidden_goals/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "eval/tasks/hidden_goals/numbers.h"
#include "eval/tasks/hidden_goals/text_methods.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace assay::eval::hidden_goals {
namespace {

/// The lens of the base model, where its halves are given and fit.
std::unique_ptr<sae::WordHalf> load_lens(const Session& session, std::string& why_not) {
  if (session.model.empty()) {
    why_not = "no --model, the base model's halves, for the logit lens";
    return nullptr;
  }
  const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
  const data::DatasetInfo& info = session.dataset.info();
  sae::check_fit(folder, session.dataset.hook("activations").d, info.model, info.hook,
                 info.path.string());
  return sae::load_word_half(folder, session.context.pool().threads());
}

class Audit {
 public:
  Audit(const Session& session, const TextTable& table, const AuditPlan& plan,
        const sae::WordHalf* words)
      : session_(session),
        plan_(plan),
        words_(words),
        reader_(session.context, session.dataset, table, plan, dictionaries(session), words,
                session.config.hidden_goals_text.exemplars) {}

  std::vector<GoalArm> arms() {
    for (size_t o = 0; o <= plan_.organisms.size(); ++o) readings_.push_back(reader_.read(o));
    std::vector<std::vector<GoalArm>> each(plan_.organisms.size());
    session_.context.pool().run(std::ssize(each),
                                [&](int64_t o, int) { each[o] = score(static_cast<size_t>(o)); });
    std::vector<GoalArm> all = each[0];
    for (size_t o = 1; o < each.size(); ++o)
      for (size_t a = 0; a < all.size(); ++a)
        for (size_t s = 0; s < all[a].scores.size(); ++s)
          all[a].scores[s].push_back(each[o][a].scores[s][0]);
    return all;
  }

 private:
  static std::vector<const sae::Dictionary*> dictionaries(const Session& session) {
    std::vector<const sae::Dictionary*> list;
    for (const EvalDictionary& d : session.dictionaries) list.push_back(&d.dictionary);
    return list;
  }

  std::vector<GoalArm> score(size_t organism) const {
    std::vector<const AuditReading*> calibration;
    for (size_t i = 0; i < plan_.organisms.size(); ++i)
      if (plan_.organisms[i].kind == GoalKind::calibration && i != organism)
        calibration.push_back(&readings_[i]);
    std::vector<GoalArm> arms;
    for (const bool calibrated : {true, false}) {
      const AuditReading reading = calibrated ? less_mean(readings_[organism], calibration)
                                              : less_mean(readings_[organism], {&readings_.back()});
      const auto add = [&](std::vector<GoalScores> scores, int dictionary) {
        for (GoalScores& s : scores) {
          GoalArm arm{s.method + (calibrated ? "" : "_uncalibrated"),
                      dictionary,
                      calibrated,
                      std::move(s.settings),
                      {}};
          for (auto& row : s.scores) arm.scores.push_back({std::move(row)});
          arms.push_back(std::move(arm));
        }
      };
      add(score_without_dictionary(reading, reader_.concepts()), -1);
      for (size_t k = 0; k < session_.dictionaries.size(); ++k)
        add(score_by_latents(reading, reader_.concepts(), session_.dictionaries[k].dictionary, k,
                             session_.config.hidden_goals_text.latents, words_),
            static_cast<int>(k));
    }
    return arms;
  }

  const Session& session_;
  const AuditPlan& plan_;
  const sae::WordHalf* words_;
  AuditReader reader_;
  std::vector<AuditReading> readings_;
};

class HiddenGoalsTextTask : public Task {
 public:
  std::string name() const override { return "hidden_goals_text"; }
  std::string title() const override { return "Words that a language model hides"; }
  std::string question() const override {
    return "For whoever audits fine-tuned language models: does the base model's dictionary name "
           "the word that one "
           "hides "
           "or waits for, or tell that it hides one, better than its words, the logit lens or "
           "plain differences of "
           "activations do?";
  }
  std::string missing(const Session& session) const override {
    return lacks_audit(session.dataset);
  }

  void request(const Session& session, EncodeRequest&) override {
    const data::DatasetInfo& info = session.dataset.info();
    if (!info.has_tokens)
      throw Error(info.path.string() + ": hidden_goals_text: has no tokens, which methods read");
    if (session.config.hidden_goals_text.latents.empty())
      throw Error("hidden_goals_text: latents is empty, expected at least one number");
    table_ = text_table(session.dataset);
    plan_ = plan_audit(session.dataset, table_, derive_seed(session.seed, {'h', 't'}));
  }

  void run(const Session& session, const EncodeCache&, TaskResult& result) override {
    std::string why_not;
    const std::unique_ptr<sae::WordHalf> words = load_lens(session, why_not);
    if (!words) {
      session.log("hidden_goals_text: logit_lens and latents_tokens are left out: " + why_not);
      result.details["left_out"] = why_not;
    }
    GoalCases cases;
    cases.organisms = plan_.organisms;
    for (size_t c = 0; c < plan_.candidates.size(); ++c)
      cases.half.push_back(static_cast<int8_t>(c % 2));
    const std::vector<GoalArm> arms = Audit(session, table_, plan_, words.get()).arms();
    GoalSetup setup{plan_.candidates,     {100},      100, "direct_query",
                    {"latents_exemplar"}, "organisms"};
    if (words) setup.latents.emplace_back("latents_tokens");
    report_goals(session, setup, cases, arms, seen(session), result);
    std::map<std::string, int64_t> counts;
    for (const Organism& o : plan_.organisms) ++counts[kNames[static_cast<size_t>(o.kind)]];
    result.details["organisms"] = counts;
  }

 private:
  static constexpr const char* kNames[] = {"planted", "benign", "decoy", "calibration"};

  std::vector<std::optional<bool>> seen(const Session& session) const {
    std::vector<int64_t> documents;
    for (const auto& texts : plan_.concepts)
      for (const int64_t t : texts) documents.push_back(table_.document[t]);
    std::vector<std::optional<bool>> result;
    for (const EvalDictionary& dictionary : session.dictionaries)
      result.push_back(seen_in_training(session, dictionary, documents));
    return result;
  }

  TextTable table_;
  AuditPlan plan_;
};

}  // namespace

std::unique_ptr<Task> make_hidden_goals_text_task() {
  return std::make_unique<HiddenGoalsTextTask>();
}

}  // namespace assay::eval::hidden_goals
