#include "eval/tasks/unlearning/text.h"

#include <fmt/format.h>

#include <functional>
#include <map>
#include <set>

#include "eval/results/families.h"
#include "eval/results/words.h"
#include "eval/statistics/inference.h"
#include "eval/tasks/match_row.h"
#include "eval/tasks/unlearning/declare.h"
#include "eval/tasks/unlearning/scores.h"
#include "eval/tasks/unlearning/text_run.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

/// Sums over the texts of a document.
struct ByDocument {
  std::vector<int64_t> document;
  std::vector<double> numerator, denominator;
};

class Report {
 public:
  Report(const Session& session, const UnlearningTextPlan& plan, const UnlearningTextOutcome& run,
         TaskResult& result)
      : session_(session), plan_(plan), run_(run), result_(result) {}
  void fill();

 private:
  /// a text's numerator and denominator
  using Ratio = std::function<std::pair<double, double>(size_t text)>;
  using Keep = std::function<bool(size_t text)>;

  ByDocument sums(const Keep& keep, const Ratio& ratio) const;
  void add(const TextOutcome& arm, const char* metric, const std::string& part, const char* unit,
           const Keep& keep, const Ratio& ratio);
  void add_change(const TextOutcome& arm, const std::string& prefix, const std::string& part,
                  const std::vector<double>& losses);
  void add_losses(const TextOutcome& arm, const std::vector<double>& losses);
  void add_shares(const TextOutcome& arm);
  void add_relearned(const TextOutcome& arm, const std::vector<Relearned>& attacks);
  void add_attacks();
  void add_written(const TextOutcome& arm, const Written& written);
  void add_continuations();
  void add_score(const TextOutcome& arm);
  void add_details();
  std::string dictionary_of(const TextOutcome& arm) const {
    return dictionary_name(session_, arm.dictionary);
  }
  bool forget(size_t text) const { return run_.test.corpus[text] == 0; }
  Ratio change_of(const std::vector<double>& losses, double factor) const {
    return [this, &losses, factor](size_t i) {
      return std::pair(factor * (losses[i] - run_.test.clean[i]),
                       run_.test.ablated[i] - run_.test.clean[i]);
    };
  }

  const Session& session_;
  const UnlearningTextPlan& plan_;
  const UnlearningTextOutcome& run_;
  TaskResult& result_;
};

ByDocument Report::sums(const Keep& keep, const Ratio& ratio) const {
  std::map<int64_t, std::pair<double, double>> by_document;
  for (size_t i = 0; i < run_.document.size(); ++i) {
    if (!keep(i)) continue;
    const auto [numerator, denominator] = ratio(i);
    auto& sum = by_document[run_.document[i]];
    sum.first += numerator;
    sum.second += denominator;
  }
  ByDocument result;
  for (const auto& [document, sum] : by_document) {
    result.document.push_back(document);
    result.numerator.push_back(sum.first);
    result.denominator.push_back(sum.second);
  }
  return result;
}

void Report::add(const TextOutcome& arm, const char* metric, const std::string& part,
                 const char* unit, const Keep& keep, const Ratio& ratio) {
  const ByDocument values = sums(keep, ratio);
  Number number;
  number.metric = metric;
  number.method = arm.name;
  number.dictionary = dictionary_of(arm);
  number.part = part;
  set_estimate(number, ratio_of(values.numerator, values.denominator), "documents");
  number.n = std::ssize(values.document);
  number.n_unit = "documents";
  number.unit = unit;
  if (arm.dictionary) {
    const EvalDictionary& own = session_.dictionaries[*arm.dictionary];
    number.control = control_of(session_, own, find_arm(result_, arm.name));
    number.test_seen_in_training = seen_in_training(session_, own, values.document);
  }
  result_.numbers.push_back(std::move(number));
}

void Report::add_change(const TextOutcome& arm, const std::string& prefix, const std::string& part,
                        const std::vector<double>& losses) {
  add(
      arm, (prefix + "drop").c_str(), part, "", [this](size_t i) { return forget(i); },
      change_of(losses, 1));
  const std::string damage = prefix == "forget_" ? "retain_damage" : prefix + "damage";
  add(
      arm, damage.c_str(), part, "%", [this](size_t i) { return !forget(i); },
      change_of(losses, 100));
}

void Report::add_losses(const TextOutcome& arm, const std::vector<double>& losses) {
  for (size_t c = 0; c < plan_.corpora.size(); ++c)
    add(
        arm, "token_loss", plan_.corpora[c], "nats",
        [&](size_t i) { return run_.test.corpus[i] == c; },
        [&](size_t i) { return std::pair(losses[i], run_.tokens[i]); });
}

void Report::add_shares(const TextOutcome& arm) {
  for (const bool part : {true, false})
    add(
        arm, "edited_share", part ? "forget" : "retained", "",
        [&](size_t i) { return forget(i) == part; },
        [&](size_t i) { return std::pair(double(arm.touched[i]), 1.0); });
}

void Report::add_relearned(const TextOutcome& arm, const std::vector<Relearned>& attacks) {
  for (const Relearned& attack : attacks) {
    add(
        arm, "relearned_drop", relearning_part(attack.texts), "",
        [this](size_t i) { return forget(i); }, change_of(attack.losses, 1));
    result_.details["relearning"]["attacks"].push_back({{"method", arm.name},
                                                        {"dictionary", dictionary_of(arm)},
                                                        {"texts", attack.texts},
                                                        {"rate", attack.rate},
                                                        {"own_loss", attack.own_loss}});
  }
}

void Report::add_attacks() {
  const TextRelearning& all = run_.relearning;
  if (!all.reason.empty()) {
    result_.details["relearning"] = {{"left_out", all.reason}};
    return;
  }
  result_.details["relearning"] = {{"texts", all.texts}, {"attacks", nlohmann::json::array()}};
  TextOutcome bare;
  for (const auto& [name, attacks] :
       {std::pair("untouched", &all.untouched), {"mean_ablation", &all.ablated}}) {
    bare.name = name;
    add_relearned(bare, *attacks);
  }
  for (const TextOutcome& arm : run_.methods) add_relearned(arm, arm.relearned);
}

void Report::add_written(const TextOutcome& arm, const Written& written) {
  for (const auto& [metric, values] : {std::pair("written_as_forgotten", &written.judged),
                                       {"written_overlap", &written.overlap},
                                       {"written_repetition", &written.repetition}})
    for (const bool part : {true, false})
      add(
          arm, metric, part ? "forget" : "retained", "",
          [&](size_t i) { return run_.continuation.prompted[i] && forget(i) == part; },
          [&, values = values](size_t i) { return std::pair((*values)[i], 1.0); });
}

/// The first prompts of the corpus to forget stand in the details token by token, with what each
/// arm writes.
void Report::add_continuations() {
  constexpr int64_t kShown = 5;
  const TextContinuation& all = run_.continuation;
  nlohmann::json& details = result_.details["continuation"];
  if (!all.reason.empty()) {
    details = {{"left_out", all.reason}};
    return;
  }
  const int64_t shown = std::min(kShown, all.prompts.count),
                length = session_.config.of<UnlearningTextConfig>().generated;
  const auto rows = [shown](const std::vector<int32_t>& tokens, int64_t size) {
    std::vector<std::vector<int32_t>> out;
    for (int64_t p = 0; p < shown; ++p)
      out.emplace_back(tokens.begin() + p * size, tokens.begin() + (p + 1) * size);
    return out;
  };
  details = {{"prompts", rows(all.prompts.tokens, all.prompts.length)},
             {"written", nlohmann::json::array()}};
  const auto write = [&](const TextOutcome& arm, const Written& written) {
    add_written(arm, written);
    details["written"].push_back({{"method", arm.name},
                                  {"dictionary", dictionary_of(arm)},
                                  {"tokens", rows(written.tokens, length)}});
  };
  TextOutcome bare;
  for (const auto& [name, written] :
       {std::pair("true_text", &all.truth), {"untouched", &all.untouched}}) {
    bare.name = name;
    write(bare, *written);
  }
  for (const TextOutcome& arm : run_.methods) write(arm, *arm.written);
  Number judge;
  judge.metric = "judge_auroc";
  judge.method = "true_text";
  judge.part = "test";
  judge.value = all.judge_auroc;
  judge.n = all.prompts.count;
  judge.n_unit = "texts";
  result_.numbers.push_back(judge);
}

/// A document's cell is its change over the mean gap, so that the mean over cells is the forget
/// drop itself.
void Report::add_score(const TextOutcome& arm) {
  if (arm.name == "random_latents") return;
  const std::vector<double> losses = arm.losses_at(arm.points[0]);
  const ByDocument values = sums([this](size_t i) { return forget(i); }, change_of(losses, 1));
  double gap = 0;
  for (const double own : values.denominator)
    gap += own / static_cast<double>(values.denominator.size());
  Score score;
  score.metric = "forget_drop";
  score.part = "test";
  score.method = arm.name;
  score.dictionary = dictionary_of(arm);
  score.headline = arm.name == "latents";
  for (size_t i = 0; i < values.document.size(); ++i)
    score.cells.push_back({values.document[i], 0, values.numerator[i] / gap});
  result_.scores.push_back(std::move(score));
}

void Report::add_details() {
  nlohmann::json points = nlohmann::json::array(), grid = points, matches = points;
  for (const TextOutcome& arm : run_.methods) {
    const nlohmann::json base = {{"method", arm.name}, {"dictionary", dictionary_of(arm)}};
    const auto with = [&base](nlohmann::json row) {
      row.update(base);
      return row;
    };
    for (size_t s = 0; s < arm.settings.size(); ++s)
      grid.push_back(with({{"setting", arm.settings[s]},
                           {"tuning_drop", arm.tuning.drop[s]},
                           {"tuning_damage", arm.tuning.damage[s]},
                           {"tuning_error", arm.tuning.error[s]}}));
    for (size_t b = 0; b < arm.points.size(); ++b)
      points.push_back(with(point_row(
          arm.points[b], session_.config.of<UnlearningTextConfig>().budgets[b], arm.settings)));
    for (const auto& [count, match] : arm.match) {
      matches.push_back(with({{"latents", count}}));
      add_match(matches.back(), match);
    }
  }
  result_.details["operating_points"] = std::move(points);
  result_.details["grid"] = std::move(grid);
  result_.details["random_latents"] = std::move(matches);
  result_.details["residual_norm"] = run_.norm;
}

void Report::fill() {
  declare_unlearning_text(session_.config.of<UnlearningTextConfig>(), plan_.corpora, result_);
  std::vector<std::string> edges;
  for (const TextOutcome& arm : run_.methods) {
    if (arm.points[0].edge)
      edges.push_back(edge_name(arm.name, dictionary_of(arm), arm.points[0], arm.settings));
    const std::vector<double> losses = arm.losses_at(arm.points[0]);
    add_change(arm, "forget_", "test", losses);
    add_losses(arm, losses);
    add_shares(arm);
    for (size_t b = 0; b < arm.points.size(); ++b)
      add_change(arm, "frontier_",
                 budget_part(session_.config.of<UnlearningTextConfig>().budgets[b]),
                 arm.losses_at(arm.points[b]));
    add_score(arm);
  }
  TextOutcome bare;
  for (const auto& [name, losses] :
       {std::pair("untouched", &run_.test.clean), {"mean_ablation", &run_.test.ablated}}) {
    bare.name = name;
    add_losses(bare, *losses);
  }
  add_attacks();
  add_continuations();
  add_details();
  result_.caveat = edge_caveat(edges);
}

struct CorpusTexts {
  TextTable table;
  UnlearningTextPlan plan;
  uint64_t seed = 0;
};

class UnlearningTextTask : public PlannedTask<CorpusTexts> {
 public:
  std::string missing(const Session& session) const override {
    const std::string& label = session.config.of<UnlearningTextConfig>().corpus_label;
    if (!has_label(session.dataset, label))
      return fmt::format("needs label '{}', which says each text's corpus", label);
    std::string lacks = lacks_halves(session, sae::HalfOutput::token_loss);
    return lacks.empty() ? lacks_plain_rows(session) : lacks;
  }

 private:
  CorpusTexts make_plan(const Session& session, EncodeRequest&) const override {
    const UnlearningTextConfig& config = session.config.of<UnlearningTextConfig>();
    for (const auto& [key, empty] : {std::pair("latents", config.latents.empty()),
                                     {"clamps", config.clamps.empty()},
                                     {"budgets", config.budgets.empty()}})
      if (empty)
        throw Error(fmt::format("unlearning_text: {} is empty, expected at least one value", key));
    const data::DatasetInfo& info = session.dataset.info();
    if (!info.has_tokens)
      throw Error(fmt::format("{}: unlearning_text: has no tokens, whose losses are measured",
                              info.path.string()));
    CorpusTexts texts{
        .table = text_table(session), .plan = {}, .seed = derive_seed(session.seed, {'t', 'u'})};
    texts.plan = plan_unlearning_text(session.dataset, texts.table, config, texts.seed);
    return texts;
  }

  Tested tested_by(const Session&, const CorpusTexts& texts) const override {
    std::set<int64_t> documents;
    for (const int64_t t : texts.plan.texts[0][kTextTest])
      documents.insert(texts.table.document[t]);
    return {texts.plan.corpora, {{"forget_drop", "test", "documents", std::ssize(documents), 1}}};
  }

  void run_plan(const Session& session, const EncodeCache&, const CorpusTexts& texts,
                TaskResult& result) const override {
    const auto folder = sae::ModelFolder::open(session.model, session.trust_model_code);
    const data::DatasetInfo& info = session.dataset.info();
    sae::check_fit(folder, session.dataset.hook("activations").d, info.model, info.hook,
                   info.path.string());
    const int threads = session.context.pool().threads();
    std::unique_ptr<sae::LossHalf> half;
    try {
      half = sae::load_loss_half(folder, sae::HalfKind::compiled, threads);
      result.details["upper_half"] = "compiled";
    } catch (const Error& error) {
      session.log(
          fmt::format("unlearning_text: the compiled half does not run here, the script does ({})",
                      error.what()));
      half = sae::load_loss_half(folder, sae::HalfKind::script, threads);
      result.details["upper_half"] = "script";
    }
    std::unique_ptr<data::LowerHalf> lower;
    std::unique_ptr<sae::WordHalf> words;
    std::string no_words;
    try {
      words = sae::load_word_half(folder, threads);
      lower = sae::load_lower_half(folder, sae::HalfKind::script, threads);
    } catch (const Error& error) {
      no_words = error.what();
    }
    UnlearningTextInputs inputs{
        .context = session.context,
        .dataset = session.dataset,
        .table = texts.table,
        .config = session.config.of<UnlearningTextConfig>(),
        .half = *half,
        .lower = lower.get(),
        .words = words.get(),
        .no_words = no_words,
        .trainer = [&folder] { return sae::load_trainable_loss_half(folder); }};
    for (const EvalDictionary& d : session.dictionaries) {
      inputs.dictionaries.push_back(&d.dictionary);
      inputs.trained.push_back(d.entry.null_kind.empty());
    }
    const UnlearningTextOutcome outcome = run_unlearning_text(inputs, texts.plan, texts.seed);
    if (!outcome.continuation.reason.empty())
      session.log(fmt::format("unlearning_text: continuations are left out: {}",
                              outcome.continuation.reason));
    Report(session, texts.plan, outcome, result).fill();
  }
};

}  // namespace

const TaskEntry kUnlearningText{
    .name = "unlearning_text",
    .title = "Unlearning a corpus",
    .question =
        "For whoever must make a language model forget a corpus: how much worse does it get at "
        "those texts by clamping latents before it gets worse at others, and would steering or "
        "erasure have done better?",
    .make = make_task<UnlearningTextTask>,
};

}  // namespace assay::eval::unlearning
