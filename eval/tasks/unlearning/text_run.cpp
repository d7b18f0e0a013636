#include "eval/tasks/unlearning/text_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "eval/encoding/upper_run.h"
#include "eval/tasks/unlearning/held_back.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

using Parts = std::array<std::vector<int64_t>, kTextParts>;

std::array<int64_t, kTextParts> wanted_counts(const UnlearningTextConfig& config) {
  return {config.estimate, config.tune, config.test};
}

UnlearningTextPart part_of(int64_t document, const std::array<int64_t, kTextParts>& counts,
                           uint64_t seed) {
  const auto total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  const double place = Rng(derive_seed(seed, {static_cast<uint64_t>(document)})).uniform() * total;
  if (place < static_cast<double>(counts[kTextEstimate])) return kTextEstimate;
  return place < static_cast<double>(counts[kTextEstimate] + counts[kTextTune]) ? kTextTune
                                                                                : kTextTest;
}

/// All texts that fit, [class][part], in the run's random order.
std::vector<Parts> gather(const data::Dataset& dataset, const TextTable& texts,
                          const UnlearningTextConfig& config, uint64_t seed) {
  const auto corpus = text_labels(dataset, texts, config.corpus_label);
  const int64_t classes = std::ssize(dataset.label(config.corpus_label).classes);
  std::vector<std::pair<uint64_t, int64_t>> order;
  for (int64_t t = 0; t < texts.size(); ++t)
    if (texts.ordinary[t] >= 2 && texts.ordinary[t] <= config.longest && corpus[t] >= 0)
      order.emplace_back(derive_seed(seed, {1, static_cast<uint64_t>(texts.number[t])}), t);
  std::sort(order.begin(), order.end());
  std::vector<Parts> result(static_cast<size_t>(classes));
  for (const auto& [key, t] : order) {
    if (corpus[t] >= classes)
      throw Error(fmt::format("{}: text {}: label '{}' is {} but has {} classes",
                              dataset.info().path.string(), texts.number[t], config.corpus_label,
                              corpus[t], classes));
    result[corpus[t]][part_of(texts.document[t], counts_for(texts, t, wanted_counts(config)),
                              derive_seed(seed, {0}))]
        .push_back(t);
  }
  return result;
}

/// The state of a run.
class TextRun {
 public:
  TextRun(const UnlearningTextInputs& in, const UnlearningTextPlan& plan, uint64_t seed);
  UnlearningTextOutcome finish();

 private:
  TextPanel make_panel(UnlearningTextPart part) const;
  EstimateSet make_estimate() const;
  void measure_rows();
  std::vector<double> losses(const TextPanel& panel, const Edit* edit) const;
  void measure(TextPanel& panel) const;
  void run_method(const UnlearningMethod& method, TextOutcome& outcome) const;
  void measure_walks(const UnlearningMethod& method, TextOutcome& outcome) const;
  std::vector<Relearned> attack(const Edit* edit) const;
  void attack_bare();
  void write_all(const UnlearningMethods& methods);

  const UnlearningTextInputs& in_;
  const UnlearningTextPlan& plan_;
  uint64_t seed_;
  UnlearningCorpus corpus_;
  EstimateSet estimate_;
  TextPanel tune_;
  std::vector<float> mean_;  ///< [d], of the ordinary tokens of the estimate texts
  UnlearningTextOutcome result_;
};

TextRun::TextRun(const UnlearningTextInputs& in, const UnlearningTextPlan& plan, uint64_t seed)
    : in_(in), plan_(plan), seed_(seed) {
  std::vector<int64_t> texts;
  for (const Parts& parts : plan.texts)
    for (const auto& part : parts) texts.insert(texts.end(), part.begin(), part.end());
  corpus_ = make_corpus(in.context, read_text_rows(in.dataset, in.table, texts), in.dictionaries);
  estimate_ = make_estimate();
  measure_rows();
  tune_ = make_panel(kTextTune);
  result_.test = make_panel(kTextTest);
  measure(tune_);
  measure(result_.test);
  for (const int64_t entry : result_.test.entries) {
    result_.document.push_back(in.table.document[corpus_.rows.text[entry]]);
    const auto first = corpus_.rows.special.begin() + corpus_.rows.start[entry];
    result_.tokens.push_back(
        static_cast<double>(std::count(first + 1, first + corpus_.rows.rows[entry], 0)));
  }
}

TextPanel TextRun::make_panel(UnlearningTextPart part) const {
  TextPanel panel;
  for (size_t c = 0; c < plan_.texts.size(); ++c)
    for (const int64_t text : plan_.texts[c][part]) {
      panel.entries.push_back(corpus_.rows.entry(text));
      panel.corpus.push_back(static_cast<uint8_t>(c));
    }
  return panel;
}

EstimateSet TextRun::make_estimate() const {
  const TextPanel panel = make_panel(kTextEstimate);
  std::vector<uint8_t> labels;
  for (const uint8_t corpus : panel.corpus) labels.push_back(corpus == 0);
  return make_estimate_set(corpus_, panel.entries, std::move(labels), seed_);
}

void TextRun::measure_rows() {
  std::vector<double> mean(static_cast<size_t>(corpus_.rows.d));
  double norms = 0, count = 0;
  for (const int64_t entry : estimate_.entries)
    for (int64_t row = corpus_.rows.start[entry];
         row < corpus_.rows.start[entry] + corpus_.rows.rows[entry]; ++row) {
      if (corpus_.rows.special[row]) continue;
      const float* x = corpus_.rows.all().row(row);
      double squares = 0;
      for (size_t i = 0; i < mean.size(); ++i) {
        mean[i] += x[i];
        squares += double(x[i]) * x[i];
      }
      norms += std::sqrt(squares);
      count += 1;
    }
  for (const double sum : mean) mean_.push_back(static_cast<float>(sum / count));
  result_.norm = norms / count;
}

/// On the calling thread; where the edit touches nothing, the untouched loss stands.
std::vector<double> TextRun::losses(const TextPanel& panel, const Edit* edit) const {
  std::vector<double> out = panel.clean;
  std::vector<int64_t> touched, place;
  for (size_t i = 0; i < panel.entries.size(); ++i) {
    if (edit && !edit->touches(corpus_, panel.entries[i])) continue;
    touched.push_back(panel.entries[i]);
    place.push_back(static_cast<int64_t>(i));
  }
  RowEdit apply;
  if (edit) apply = [&](int64_t entry, Matrix rows) { edit->apply(corpus_, entry, rows); };
  std::vector<double> changed(touched.size());
  for (const auto& positions : batches_by_length(corpus_.rows, touched, in_.config.batch))
    run_losses(in_.half, corpus_.rows, touched, positions, apply, changed);
  out.resize(panel.entries.size());
  for (size_t i = 0; i < place.size(); ++i) out[place[i]] = changed[i];
  return out;
}

void TextRun::measure(TextPanel& panel) const {
  const auto ablation = mean_ablation(mean_);
  std::array<std::vector<double>, 2> both;
  in_.context.pool().run(
      2, [&](int64_t i, int) { both[i] = losses(panel, i ? ablation.get() : nullptr); });
  panel.clean = std::move(both[0]);
  panel.ablated = std::move(both[1]);
  for (const bool forget : {true, false}) {
    double gap = 0;
    for (size_t i = 0; i < panel.entries.size(); ++i)
      if ((panel.corpus[i] == 0) == forget) gap += panel.ablated[i] - panel.clean[i];
    if (!(gap > 0))
      throw Error(fmt::format(
          "unlearning_text: the model predicts {} no better than with the data's mean in place of "
          "every token: there is nothing to {}",
          forget ? "'" + plan_.corpora[0] + "'" : "the corpora to keep",
          forget ? "forget" : "keep"));
  }
}

void TextRun::run_method(const UnlearningMethod& method, TextOutcome& outcome) const {
  outcome.name = method.name();
  outcome.dictionary = method.dictionary();
  outcome.settings = method.settings();
  std::vector<size_t> all(outcome.settings.size());
  std::iota(all.begin(), all.end(), size_t{0});
  method.fit(corpus_, estimate_, all, [&](size_t, const Edit& edit) {
    const std::vector<double> edited = losses(tune_, &edit);
    outcome.tuning.drop.push_back(std::min(1.0, tune_.percent(edited, true) / 100));
    outcome.tuning.damage.push_back(tune_.percent(edited, false));
    outcome.tuning.error.push_back(tune_.percent_error(edited, false));
  });
  outcome.match = method.match(corpus_, estimate_);
  outcome.losses[std::nullopt] = result_.test.clean;
  measure_walks(method, outcome);
  outcome.touched.assign(result_.test.entries.size(), 0);
  const Setting setting = outcome.points[0].nearer();
  if (!setting) return;
  method.fit(corpus_, estimate_, {*setting}, [&](size_t, const Edit& edit) {
    outcome.relearned = attack(&edit);
    for (size_t i = 0; i < outcome.touched.size(); ++i)
      outcome.touched[i] = edit.touches(corpus_, result_.test.entries[i]);
  });
}

/// The points of all budgets. What they need is measured in rounds, a fit for each.
void TextRun::measure_walks(const UnlearningMethod& method, TextOutcome& outcome) const {
  std::vector<std::optional<Walk>> walks;
  for (const int64_t budget : in_.config.budgets)
    walks.push_back(choose_walk(method.lines(), outcome.tuning, static_cast<double>(budget)));
  Damages damages;
  const auto budget = [&](size_t b) { return static_cast<double>(in_.config.budgets[b]); };
  const auto wanted = [&] {
    std::set<size_t> settings;
    for (size_t b = 0; b < walks.size(); ++b)
      if (walks[b])
        if (const Setting next = next_to_measure(*walks[b], damages, budget(b)))
          settings.insert(*next);
    return std::vector<size_t>(settings.begin(), settings.end());
  };
  for (std::vector<size_t> next = wanted(); !next.empty(); next = wanted())
    method.fit(corpus_, estimate_, next, [&](size_t setting, const Edit& edit) {
      outcome.losses[setting] = losses(result_.test, &edit);
      damages[setting] = result_.test.percent(outcome.losses[setting], false);
    });
  for (size_t b = 0; b < walks.size(); ++b)
    outcome.points.push_back(operating_point(walks[b], damages, budget(b)));
}

/// By the texts that the attacker has: the first of the estimate texts to forget.
std::vector<Relearned> TextRun::attack(const Edit* edit) const {
  std::vector<Relearned> all;
  if (!in_.trainer) return all;
  const auto forget = [](const TextPanel& panel) {
    std::vector<int64_t> entries;
    for (size_t i = 0; i < panel.entries.size(); ++i)
      if (panel.corpus[i] == 0) entries.push_back(panel.entries[i]);
    return entries;
  };
  const std::vector<int64_t> own = forget(make_panel(kTextEstimate)), test = forget(result_.test);
  for (const int64_t texts : kRelearnTexts) {
    if (texts > std::ssize(own)) continue;
    all.push_back(relearn(in_.trainer, corpus_, {own.begin(), own.begin() + texts}, forget(tune_),
                          test, edit, in_.config.batch));
    std::vector<double> losses = result_.test.clean;
    for (size_t i = 0, next = 0; i < losses.size(); ++i)
      if (result_.test.corpus[i] == 0) losses[i] = all.back().losses[next++];
    all.back().losses = std::move(losses);
  }
  return all;
}

void TextRun::attack_bare() {
  TextRelearning& all = result_.relearning;
  if (!in_.trainer) {
    all.reason = "no half trains";
    return;
  }
  for (const int64_t text : plan_.texts[0][kTextEstimate])
    if (std::ssize(all.texts) < kRelearnTexts[std::size(kRelearnTexts) - 1])
      all.texts.push_back(in_.table.number[text]);
  const auto ablation = mean_ablation(mean_);
  in_.context.pool().run(2, [&](int64_t i, int) {
    (i ? all.ablated : all.untouched) = attack(i ? ablation.get() : nullptr);
  });
  for (TextOutcome& outcome : result_.methods)
    if (!outcome.points[0].nearer()) outcome.relearned = all.untouched;
}

/// Methods one after another: each step of a continuation is parallel within.
void TextRun::write_all(const UnlearningMethods& methods) {
  TextContinuation& all = result_.continuation;
  if (in_.config.continuations == 0 || !in_.words || !in_.lower) {
    all.reason =
        in_.config.continuations == 0 ? "unlearning_text.continuations is 0" : in_.no_words;
    return;
  }
  TextPanel held_out = make_panel(kTextEstimate);
  held_out.entries.insert(held_out.entries.end(), tune_.entries.begin(), tune_.entries.end());
  held_out.corpus.insert(held_out.corpus.end(), tune_.corpus.begin(), tune_.corpus.end());
  const WritingExam exam(corpus_.rows, result_.test.entries, result_.test.corpus, held_out.entries,
                         held_out.corpus, in_.config, derive_seed(seed_, {'j'}));
  all.reason = exam.missing();
  if (!all.reason.empty()) return;
  std::set<int32_t> special;
  for (size_t row = 0; row < in_.dataset.special().size(); ++row)
    if (in_.dataset.special()[row]) special.insert(in_.dataset.tokens()[row]);
  Writer writer{in_.context,     *in_.lower, *in_.words, {}, {special.begin(), special.end()},
                in_.config.batch};
  const auto write = [&](const Edit* edit, std::optional<size_t> dictionary) {
    writer.dictionaries.assign(in_.dictionaries.size(), nullptr);
    if (dictionary) writer.dictionaries[*dictionary] = in_.dictionaries[*dictionary];
    return exam.grade(continue_greedily(writer, exam.prompts(), edit, in_.config.generated));
  };
  all.prompts = exam.prompts();
  all.prompted = exam.prompted();
  all.judge_auroc = exam.judge_auroc();
  all.truth = exam.grade(exam.truth());
  all.untouched = write(nullptr, std::nullopt);
  for (size_t m = 0; m < methods.size(); ++m) {
    TextOutcome& outcome = result_.methods[m];
    const Setting setting = outcome.points[0].nearer();
    if (!setting)
      outcome.written = all.untouched;
    else
      methods[m]->fit(corpus_, estimate_, {*setting}, [&](size_t, const Edit& edit) {
        outcome.written = write(&edit, outcome.dictionary);
      });
  }
}

UnlearningTextOutcome TextRun::finish() {
  UnlearningMethods methods;
  // Losses grow with the push, probes do not: steering is searched as far as clamps are.
  add_dense_methods({1, 4, 16, 64}, methods);
  for (size_t i = 0; i < in_.dictionaries.size(); ++i)
    add_latent_methods(*in_.dictionaries[i], i, in_.trained[i],
                       {in_.config.latents, in_.config.clamps, result_.norm}, methods);
  result_.methods.resize(methods.size());
  in_.context.pool().run(std::ssize(methods), [&](int64_t m, int) {
    run_method(*methods[static_cast<size_t>(m)], result_.methods[static_cast<size_t>(m)]);
  });
  attack_bare();
  write_all(methods);
  return std::move(result_);
}

}  // namespace

double TextPanel::percent(const std::vector<double>& edited, bool forget) const {
  double change = 0, gap = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if ((corpus[i] == 0) != forget) continue;
    change += edited[i] - clean[i];
    gap += ablated[i] - clean[i];
  }
  return 100 * change / gap;
}

double TextPanel::percent_error(const std::vector<double>& edited, bool forget) const {
  const double share = percent(edited, forget) / 100;
  double squares = 0, gap = 0, texts = 0;
  for (size_t i = 0; i < entries.size(); ++i) {
    if ((corpus[i] == 0) != forget) continue;
    const double own = ablated[i] - clean[i];
    squares += std::pow(edited[i] - clean[i] - share * own, 2);
    gap += own;
    texts += 1;
  }
  return texts > 1 ? 100 * std::sqrt(squares * texts / (texts - 1)) / gap : 0;
}

std::vector<double> TextOutcome::losses_at(const OperatingPoint& point) const {
  const std::vector<double>&weaker = losses.at(point.weaker), &stronger = losses.at(point.stronger);
  std::vector<double> mixed(weaker.size());
  for (size_t i = 0; i < mixed.size(); ++i) mixed[i] = point.mix(weaker[i], stronger[i]);
  return mixed;
}

UnlearningTextPlan plan_unlearning_text(const data::Dataset& dataset, const TextTable& texts,
                                        const UnlearningTextConfig& config, uint64_t seed) {
  static constexpr const char* kNames[] = {"estimate", "tune", "test"};
  const auto& label = dataset.label(config.corpus_label);
  const int32_t forget = class_index(label, config.forget);
  std::vector<Parts> all = gather(dataset, texts, config, seed);
  std::vector<int32_t> order = {forget};
  for (int32_t c = 0; c < std::ssize(all); ++c) {
    const bool any =
        std::any_of(all[c].begin(), all[c].end(), [](const auto& part) { return !part.empty(); });
    if (c != forget && any) order.push_back(c);
  }
  if (order.size() < 2 || order.size() > 255)
    throw Error(fmt::format(
        "{}: unlearning_text: label '{}' has {} corpora beside '{}', expected 1 to 254 to keep",
        dataset.info().path.string(), config.corpus_label, order.size() - 1, config.forget));
  const auto counts = wanted_counts(config);
  UnlearningTextPlan plan;
  for (const int32_t c : order) {
    for (size_t part = 0; part < kTextParts; ++part) {
      if (std::ssize(all[c][part]) < counts[part])
        throw Error(fmt::format(
            "{}: unlearning_text: corpus '{}' has {} texts of 2 to {} tokens in part '{}', {} are "
            "needed: lower unlearning_text.{}, or raise .longest",
            dataset.info().path.string(), label.classes[c], all[c][part].size(), config.longest,
            kNames[part], counts[part], kNames[part]));
      all[c][part].resize(static_cast<size_t>(counts[part]));
    }
    plan.corpora.push_back(label.classes[c]);
    plan.texts.push_back(std::move(all[c]));
  }
  return plan;
}

UnlearningTextOutcome run_unlearning_text(const UnlearningTextInputs& in,
                                          const UnlearningTextPlan& plan, uint64_t seed) {
  return TextRun(in, plan, seed).finish();
}

}  // namespace assay::eval::unlearning
