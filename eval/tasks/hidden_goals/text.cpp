#include "eval/tasks/hidden_goals/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "eval/tasks/hidden_goals/numbers.h"
#include "eval/tasks/hidden_goals/task.h"
#include "eval/tasks/hidden_goals/text_methods.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

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
                session.config.of<GoalTextConfig>().exemplars) {}

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
      append_arms(score_without_dictionary(reading, reader_.concepts()), std::nullopt, calibrated,
                  arms);
      for (size_t k = 0; k < session_.dictionaries.size(); ++k)
        append_arms(
            score_by_latents(reading, reader_.concepts(), session_.dictionaries[k].dictionary, k,
                             session_.config.of<GoalTextConfig>().latents, words_),
            k, calibrated, arms);
    }
    return arms;
  }

  const Session& session_;
  const AuditPlan& plan_;
  const sae::WordHalf* words_;
  AuditReader reader_;
  std::vector<AuditReading> readings_;
};

struct TextAudit {
  TextTable table;
  AuditPlan plan;
};

class HiddenGoalsTextTask : public PlannedTask<TextAudit> {
 public:
  std::string missing(const Session& session) const override {
    std::string lacks = lacks_audit(session.dataset);
    return lacks.empty() ? lacks_plain_rows(session) : lacks;
  }

 private:
  TextAudit make_plan(const Session& session, EncodeRequest&) const override {
    const data::DatasetInfo& info = session.dataset.info();
    if (!info.has_tokens)
      throw Error(info.path.string() + ": hidden_goals_text: has no tokens, which methods read");
    if (session.config.of<GoalTextConfig>().latents.empty())
      throw Error("hidden_goals_text: latents is empty, expected at least one number");
    TextAudit audit{text_table(session.dataset), {}};
    audit.plan = plan_audit(session.dataset, audit.table, derive_seed(session.seed, {'h', 't'}));
    return audit;
  }

  Tested tested_by(const Session&, const TextAudit& audit) const override {
    return {{}, {planned_goals(audit.plan.organisms, kStrength, "words")}};
  }

  void run_plan(const Session& session, const EncodeCache&, const TextAudit& audit,
                TaskResult& result) const override {
    const AuditPlan& plan = audit.plan;
    std::string why_not;
    const std::unique_ptr<sae::WordHalf> words = load_lens(session, why_not);
    if (!words) {
      session.log("hidden_goals_text: logit_lens and latents_tokens are left out: " + why_not);
      result.details["left_out"] = why_not;
    }
    GoalCases cases;
    cases.organisms = plan.organisms;
    for (size_t c = 0; c < plan.candidates.size(); ++c)
      cases.fold.push_back(static_cast<int8_t>(c % 2));
    const std::vector<GoalArm> arms = Audit(session, audit.table, plan, words.get()).arms();
    GoalSetup setup{.names = plan.candidates,
                    .strengths = {kStrength},
                    .headline = kStrength,
                    .ceiling = "direct_query",
                    .latents = {"latents_exemplar"},
                    .sampled = "words"};
    if (words) setup.latents.emplace_back("latents_tokens");
    report_goals(session, setup, cases, arms, seen_by_dictionary(session, concept_documents(audit)),
                 result);
    std::map<std::string, int64_t> counts;
    for (const Organism& o : plan.organisms) ++counts[kNames[static_cast<size_t>(o.kind)]];
    result.details["organisms"] = counts;
  }

  static constexpr int64_t kStrength = 100;
  static constexpr const char* kNames[] = {"planted", "benign", "decoy", "calibration"};

  static std::vector<int64_t> concept_documents(const TextAudit& audit) {
    std::vector<int64_t> documents;
    for (const auto& texts : audit.plan.concepts)
      for (const int64_t t : texts) documents.push_back(audit.table.document[t]);
    return documents;
  }
};

}  // namespace

const TaskEntry kHiddenGoalsText{
    .name = "hidden_goals_text",
    .title = "Words that a language model hides",
    .question =
        "For whoever audits fine-tuned language models: does the base model's dictionary name the "
        "word that one hides or waits for, or tell that it hides one, better than its words, the "
        "logit lens or plain differences of activations do?",
    .make = make_task<HiddenGoalsTextTask>,
};

}  // namespace assay::eval::hidden_goals
