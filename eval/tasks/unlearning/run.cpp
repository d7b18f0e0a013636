#include "eval/tasks/unlearning/run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

/// Everything of one class that methods share.
struct ClassWork {
  EstimateSet estimate;
  UnlearningPanel tune_panel, test_panel, padded_panel;
  std::unique_ptr<PanelJudge> tune, test, padded;
};

/// The state of a run: texts, untouched outputs, judges.
class Run {
 public:
  Run(const UnlearningInputs& in, const UnlearningPlan& plan, uint64_t seed);
  RunOutcome finish();

 private:
  void read();
  void pad(uint64_t seed);
  void prepare_class(int64_t c);
  std::vector<PanelScores> tune_class(const UnlearningMethod& method, int64_t c) const;
  void tune_all();
  void add_tuning(size_t method, const std::vector<PanelScores>* scores);
  using Wanted = std::map<size_t, std::set<size_t>>;  ///< settings of each method
  Wanted next_settings() const;
  Damages damages(const MethodOutcome& outcome) const;
  void measure(const Wanted& wanted);
  void test_all();
  ClassOutcome test_class(int64_t c, const Edit& edit, bool gated) const;
  ClassOutcome oracle(int64_t c) const;
  size_t headline() const;

  const UnlearningInputs& in_;
  const UnlearningPlan& plan_;
  uint64_t seed_;
  UnlearningCorpus corpus_, padded_corpus_;
  Features clean_, padded_clean_;
  /// They judge texts of both tuning parts, of kTest, and of kTrain where these count.
  std::vector<LinearProbe> tune_probes_, test_probes_, train_probes_;
  std::vector<ClassWork> work_;
  UnlearningMethods methods_;
  RunOutcome result_;
};

std::vector<int64_t> texts_of(const UnlearningPlan& plan,
                              std::initializer_list<UnlearningPart> parts) {
  std::vector<int64_t> texts;
  for (const auto& of_class : plan.texts)
    for (const UnlearningPart part : parts)
      texts.insert(texts.end(), of_class[part].begin(), of_class[part].end());
  return texts;
}

EstimateSet estimate_set(const UnlearningPlan& plan, const UnlearningCorpus& corpus, int64_t forget,
                         uint64_t seed) {
  std::vector<int64_t> entries;
  std::vector<uint8_t> labels;
  for (int64_t c = 0; c < std::ssize(plan.classes); ++c)
    for (const int64_t text : plan.texts[c][kEstimate]) {
      entries.push_back(corpus.rows.entry(text));
      labels.push_back(c == forget);
    }
  return make_estimate_set(corpus, std::move(entries), std::move(labels), seed);
}

double touched_share(const UnlearningCorpus& corpus, const UnlearningPanel& panel, const Edit& edit,
                     uint8_t label) {
  double touched = 0, count = 0;
  for (size_t i = 0; i < panel.test.size(); ++i) {
    if (panel.test_labels[i] != label) continue;
    touched += edit.touches(corpus, panel.test[i]);
    count += 1;
  }
  return touched / count;
}

Run::Run(const UnlearningInputs& in, const UnlearningPlan& plan, uint64_t seed)
    : in_(in), plan_(plan), seed_(seed), work_(plan.classes.size()) {
  check_disjoint(plan, in.table);
  result_.classes = plan.classes;
  result_.left_out = plan.left_out;
  read();
  if (in.lower && in.config.padding > 0) pad(seed);
  std::vector<std::pair<std::vector<LinearProbe>*, UnlearningPart>> fits = {
      {&tune_probes_, kEstimate}, {&test_probes_, kTrain}};
  if (damage_parts(in.table).size() > 1) fits.emplace_back(&train_probes_, kTest);
  in.context.pool().run(std::ssize(fits), [&](int64_t i, int) {
    const auto& [probes, part] = fits[static_cast<size_t>(i)];
    *probes = fit_class_probes(clean_, plan_, corpus_.rows, part);
  });
  result_.nearest = nearest_classes(clean_, plan, corpus_.rows, kEstimate, in.config.neighbours);
  in.context.pool().run(std::ssize(work_), [&](int64_t c, int) { prepare_class(c); });
  add_dense_methods({0.5, 1, 2, 4}, methods_);
  if (in.trainable) add_fine_tuning(in.trainable, clean_, methods_);
  for (size_t i = 0; i < in.dictionaries.size(); ++i)
    add_latent_methods(*in.dictionaries[i], i, in.trained[i],
                       {in.config.latents, in.config.clamps, {}}, methods_);
}

void Run::read() {
  const auto texts = texts_of(plan_, {kEstimate, kTuneTrain, kTuneTest, kTrain, kTest});
  corpus_ =
      make_corpus(in_.context, read_text_rows(in_.dataset, in_.table, texts), in_.dictionaries);
  clean_ = run_clean(in_.context, in_.upper, corpus_.rows, in_.config.batch);
}

void Run::pad(uint64_t seed) {
  const int64_t longest = *std::max_element(corpus_.rows.rows.begin(), corpus_.rows.rows.end());
  if (longest + in_.config.padding > in_.max_length)
    throw Error(fmt::format(
        "unlearning: texts of {} tokens with {} of padding pass the {} that the model reads: lower "
        "unlearning.padding or .longest",
        longest, in_.config.padding, in_.max_length));
  TextRows rows = pad_texts(in_.context, corpus_.rows, texts_of(plan_, {kTrain, kTest}),
                            texts_of(plan_, {kEstimate}), in_.config.padding, *in_.lower,
                            in_.config.batch, derive_seed(seed, {'p'}));
  padded_corpus_ = make_corpus(in_.context, std::move(rows), in_.dictionaries);
  padded_clean_ = run_clean(in_.context, in_.upper, padded_corpus_.rows, in_.config.batch);
}

size_t Run::headline() const {
  const auto& labels = in_.config.labels;
  return static_cast<size_t>(std::find(labels.begin(), labels.end(), in_.config.headline_labels) -
                             labels.begin());
}

void Run::prepare_class(int64_t c) {
  ClassWork& work = work_[static_cast<size_t>(c)];
  const uint64_t seed = derive_seed(seed_, {'c', static_cast<uint64_t>(c)});
  work.estimate = estimate_set(plan_, corpus_, c, seed);
  const auto& nearest = result_.nearest[static_cast<size_t>(c)];
  const std::vector<int64_t> one = {in_.config.headline_labels};
  work.tune_panel =
      make_panel(plan_, corpus_.rows, c, kTuneTrain, kTuneTest, in_.config.tune_retain);
  work.test_panel = make_panel(plan_, corpus_.rows, c, kTrain, kTest, in_.config.retain);
  work.tune = std::make_unique<PanelJudge>(
      work.tune_panel, clean_, tune_probes_, nearest,
      PanelJudge::Options{one, false, 4, derive_seed(seed, {0}), &tune_probes_});
  work.test = std::make_unique<PanelJudge>(
      work.test_panel, clean_, test_probes_, nearest,
      PanelJudge::Options{in_.config.labels, true, 10, derive_seed(seed, {1}),
                          train_probes_.empty() ? nullptr : &train_probes_});
  if (padded_clean_.rows == 0) return;
  work.padded_panel = make_panel(plan_, padded_corpus_.rows, c, kTrain, kTest, in_.config.retain);
  work.padded =
      std::make_unique<PanelJudge>(work.padded_panel, padded_clean_, test_probes_, nearest,
                                   PanelJudge::Options{one, false, 10, derive_seed(seed, {1})});
}

std::vector<PanelScores> Run::tune_class(const UnlearningMethod& method, int64_t c) const {
  const ClassWork& work = work_[static_cast<size_t>(c)];
  std::vector<size_t> all(method.settings().size());
  for (size_t s = 0; s < all.size(); ++s) all[s] = s;
  std::vector<PanelScores> scores(all.size());
  method.fit(corpus_, work.estimate, all, [&](size_t setting, const Edit& edit) {
    const auto run = [&](const std::vector<int64_t>& entries) {
      return run_edit(in_.upper, corpus_, clean_, entries, edit, in_.config.batch);
    };
    scores[setting] = work.tune->score(run(work.tune_panel.train), run(work.tune_panel.test));
  });
  return scores;
}

void Run::tune_all() {
  const int64_t classes = std::ssize(work_);
  std::vector<std::vector<PanelScores>> scores(methods_.size() * work_.size());
  in_.context.pool().run(std::ssize(scores), [&](int64_t i, int) {
    scores[static_cast<size_t>(i)] =
        tune_class(*methods_[static_cast<size_t>(i / classes)], i % classes);
  });
  for (size_t m = 0; m < methods_.size(); ++m) add_tuning(m, scores.data() + m * work_.size());
}

/// scores: [classes][settings].
void Run::add_tuning(size_t method, const std::vector<PanelScores>* scores) {
  MethodOutcome& outcome = result_.methods.emplace_back();
  outcome.name = methods_[method]->name();
  outcome.dictionary = methods_[method]->dictionary();
  outcome.gated = methods_[method]->gated();
  outcome.settings = methods_[method]->settings();
  for (const ClassWork& work : work_)
    for (const auto& [count, match] : methods_[method]->match(corpus_, work.estimate))
      outcome.match[count].add(match);
  const auto classes = static_cast<double>(work_.size());
  for (size_t s = 0; s < outcome.settings.size(); ++s) {
    double drop = 0, damage = 0, squares = 0;
    for (size_t c = 0; c < work_.size(); ++c) {
      const PanelScores &edited = scores[c][s], &clean = work_[c].tune->clean();
      const double own = retain_damage(edited, clean);
      drop += forget_drop(edited.few_shot[0], clean.few_shot[0]) / classes;
      damage += own / classes;
      squares += own * own / classes;
    }
    outcome.tuning.drop.push_back(drop);
    outcome.tuning.damage.push_back(damage);
    outcome.tuning.error.push_back(
        std::sqrt(std::max(0.0, squares - damage * damage) / (classes - 1)));
  }
  for (const int64_t budget : in_.config.budgets)
    outcome.walks.push_back(
        choose_walk(methods_[method]->lines(), outcome.tuning, static_cast<double>(budget)));
}

ClassOutcome Run::test_class(int64_t c, const Edit& edit, bool gated) const {
  const ClassWork& work = work_[static_cast<size_t>(c)];
  const auto run = [&](const UnlearningCorpus& corpus, const Features& clean,
                       const std::vector<int64_t>& entries) {
    return run_edit(in_.upper, corpus, clean, entries, edit, in_.config.batch);
  };
  ClassOutcome outcome;
  outcome.scores = work.test->score(run(corpus_, clean_, work.test_panel.train),
                                    run(corpus_, clean_, work.test_panel.test));
  outcome.forget_edited = touched_share(corpus_, work.test_panel, edit, 1);
  outcome.retain_edited = touched_share(corpus_, work.test_panel, edit, 0);
  if (!gated || !work.padded) return outcome;
  const PanelScores padded =
      work.padded->score(run(padded_corpus_, padded_clean_, work.padded_panel.train),
                         run(padded_corpus_, padded_clean_, work.padded_panel.test));
  outcome.padded_auc = padded.few_shot[0];
  outcome.padded_edited = touched_share(padded_corpus_, work.padded_panel, edit, 1);
  return outcome;
}

/// Forget texts give way to retained ones of the same part: what a perfect edit would look like to
/// a probe.
ClassOutcome Run::oracle(int64_t c) const {
  const ClassWork& work = work_[static_cast<size_t>(c)];
  Rng rng(derive_seed(work.estimate.seed, {'o'}));
  const auto exchange = [&](const std::vector<int64_t>& entries,
                            const std::vector<uint8_t>& labels) {
    const auto kept = static_cast<size_t>(std::count(labels.begin(), labels.end(), 0));
    Features out{std::ssize(entries), clean_.cols, {}};
    for (size_t i = 0; i < entries.size(); ++i) {
      // make_panel lists the forget texts first.
      const int64_t entry =
          labels[i] ? entries[entries.size() - kept + rng.below(kept)] : entries[i];
      const float* row = clean_.view().row(entry);
      out.values.insert(out.values.end(), row, row + clean_.cols);
    }
    return out;
  };
  ClassOutcome outcome;
  const Features train = exchange(work.test_panel.train, work.test_panel.train_labels);
  outcome.scores =
      work.test->score(train, exchange(work.test_panel.test, work.test_panel.test_labels));
  outcome.forget_edited = 1;
  return outcome;
}

Damages Run::damages(const MethodOutcome& outcome) const {
  Damages means;
  for (const auto& [setting, by_class] : outcome.outcome) {
    if (!setting) continue;
    double sum = 0;
    for (size_t c = 0; c < work_.size(); ++c)
      sum += retain_damage(by_class[c].scores, work_[c].test->clean());
    means[*setting] = sum / static_cast<double>(work_.size());
  }
  return means;
}

/// What the walks still need; two budgets may ask for the same.
Run::Wanted Run::next_settings() const {
  Wanted wanted;
  for (size_t m = 0; m < methods_.size(); ++m) {
    const MethodOutcome& outcome = result_.methods[m];
    const Damages known = damages(outcome);
    for (size_t b = 0; b < outcome.walks.size(); ++b) {
      if (!outcome.walks[b]) continue;
      const Setting next =
          next_to_measure(*outcome.walks[b], known, static_cast<double>(in_.config.budgets[b]));
      if (next) wanted[m].insert(*next);
    }
  }
  return wanted;
}

/// A method is fitted once a class, for all its settings.
void Run::measure(const Wanted& wanted) {
  const int64_t classes = std::ssize(work_);
  for (const auto& [m, settings] : wanted)
    for (const size_t setting : settings) result_.methods[m].outcome[setting].resize(work_.size());
  in_.context.pool().run(std::ssize(wanted) * classes, [&](int64_t i, int) {
    const auto& [m, settings] = *std::next(wanted.begin(), i / classes);
    MethodOutcome& outcome = result_.methods[m];
    const int64_t c = i % classes;
    methods_[m]->fit(corpus_, work_[static_cast<size_t>(c)].estimate,
                     {settings.begin(), settings.end()}, [&](size_t setting, const Edit& edit) {
                       outcome.outcome.at(setting)[static_cast<size_t>(c)] =
                           test_class(c, edit, outcome.gated);
                     });
  });
}

void Run::test_all() {
  const int64_t classes = std::ssize(work_);
  std::vector<ClassOutcome> untouched(work_.size());
  for (size_t c = 0; c < work_.size(); ++c) untouched[c].scores = work_[c].test->clean();
  for (MethodOutcome& outcome : result_.methods) outcome.outcome[std::nullopt] = untouched;
  for (Wanted wanted = next_settings(); !wanted.empty(); wanted = next_settings()) measure(wanted);
  for (MethodOutcome& outcome : result_.methods) {
    const Damages known = damages(outcome);
    for (size_t b = 0; b < outcome.walks.size(); ++b)
      outcome.points.push_back(
          operating_point(outcome.walks[b], known, static_cast<double>(in_.config.budgets[b])));
  }
  const auto ablation = mean_ablation(in_.dataset.hook("activations").mean);
  result_.ablated.resize(work_.size());
  result_.oracle.resize(work_.size());
  result_.permuted.resize(work_.size());
  in_.context.pool().run(classes, [&](int64_t c, int) {
    const size_t at = static_cast<size_t>(c);
    result_.ablated[at] = test_class(c, *ablation, false);
    result_.oracle[at] = oracle(c);
    result_.permuted[at] = work_[at].test->permuted();
  });
}

RunOutcome Run::finish() {
  double success = 0;
  for (const ClassWork& work : work_) {
    result_.clean.push_back(work.test->clean());
    if (work.padded) result_.padded_clean.push_back(work.padded->clean().few_shot[0]);
    success += std::fabs(work.test->clean().few_shot[headline()] - 0.5) /
               static_cast<double>(work_.size());
  }
  if (!(success > 0.05))
    throw Error(fmt::format(
        "unlearning: probes with {} labels a class tell no class of '{}' apart on untouched texts "
        "(AUROC {:.3f} from chance on average): there is nothing to unlearn",
        in_.config.headline_labels, in_.config.class_label, success));
  tune_all();
  test_all();
  return std::move(result_);
}

}  // namespace

double retain_damage(const PanelScores& edited, const PanelScores& clean) {
  return 100 * (clean.retain_accuracy - edited.retain_accuracy);
}

RunOutcome run_unlearning(const UnlearningInputs& in, const UnlearningPlan& plan, uint64_t seed) {
  return Run(in, plan, seed).finish();
}

}  // namespace assay::eval::unlearning
