#include "eval/tasks/unlearning/probes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::unlearning {
namespace {

/// One C for all of the attacker's probes: outputs differ by an edit, not by a search.
LogisticOptions probe_options() {
  LogisticOptions options;
  options.c_grid = {0.1};
  options.balanced = true;
  return options;
}

constexpr uint64_t kFitSeed = 0;  // no folds: nothing is drawn in a fit

/// Small probes vary from draw to draw; large ones cost time and vary little.
int64_t draws_of(int64_t labels, int64_t most) { return std::clamp<int64_t>(80 / labels, 1, most); }

Features gather(const Features& all, const std::vector<int64_t>& rows) {
  Features out{std::ssize(rows), all.cols, {}};
  out.values.reserve(static_cast<size_t>(out.rows * out.cols));
  for (const int64_t row : rows)
    out.values.insert(out.values.end(), all.values.begin() + row * all.cols,
                      all.values.begin() + (row + 1) * all.cols);
  return out;
}

/// An attacker's probe. Outputs that hardly vary are left out: MiniLM has one with a deviation of
/// 1e-33, and standardised it would drown every other as soon as training moves it by 1e-6.
LinearProbe fit(Features x, const std::vector<uint8_t>& labels) {
  constexpr double kLeastDeviation = 1e-6;  // of the median one
  std::vector<double> mean(static_cast<size_t>(x.cols)), deviation(mean.size());
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j)
      mean[j] += x.view().row(i)[j] / static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) deviation[j] += std::pow(x.view().row(i)[j] - mean[j], 2);
  const double least = kLeastDeviation * kLeastDeviation * quantile(deviation, 0.5);
  for (int64_t j = 0; j < x.cols; ++j)
    if (deviation[j] < least)
      for (int64_t i = 0; i < x.rows; ++i) x.values[i * x.cols + j] = 0;
  return fit_logistic(x.view(), labels, probe_options(), kFitSeed);
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double aa = 0, bb = 0, ab = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    aa += double(a[i]) * a[i];
    bb += double(b[i]) * b[i];
    ab += double(a[i]) * b[i];
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

std::span<const float> row_of(const Features& features, int64_t row) {
  return {features.values.data() + row * features.cols, static_cast<size_t>(features.cols)};
}

void add_part(const UnlearningPlan& plan, const TextRows& rows, int64_t forget, UnlearningPart part,
              int64_t retain, std::vector<int64_t>& entries, std::vector<int32_t>& classes,
              std::vector<uint8_t>& labels) {
  const auto add = [&](int64_t c, int64_t most) {
    const auto& texts = plan.texts[c][part];
    for (int64_t i = 0; i < std::ssize(texts) && (most == 0 || i < most); ++i) {
      entries.push_back(rows.entry(texts[i]));
      classes.push_back(static_cast<int32_t>(c));
      labels.push_back(c == forget);
    }
  };
  add(forget, 0);
  for (int64_t c = 0; c < std::ssize(plan.classes); ++c)
    if (c != forget) add(c, retain);
}

}  // namespace

UnlearningPanel make_panel(const UnlearningPlan& plan, const TextRows& rows, int64_t forget,
                           UnlearningPart train, UnlearningPart test, int64_t retain) {
  UnlearningPanel panel;
  panel.forget = forget;
  add_part(plan, rows, forget, train, retain, panel.train, panel.train_class, panel.train_labels);
  add_part(plan, rows, forget, test, retain, panel.test, panel.test_class, panel.test_labels);
  return panel;
}

double forget_drop(double auc, double auc_clean) {
  constexpr double kLeastSuccess = 0.05;
  return 1 - std::fabs(auc - 0.5) / std::max(kLeastSuccess, std::fabs(auc_clean - 0.5));
}

std::vector<LinearProbe> fit_class_probes(const Features& clean, const UnlearningPlan& plan,
                                          const TextRows& rows, UnlearningPart part) {
  const UnlearningPanel panel = make_panel(plan, rows, 0, part, part, 0);
  const Features x = gather(clean, panel.train);
  std::vector<LinearProbe> probes;
  for (int32_t c = 0; c < std::ssize(plan.classes); ++c) {
    std::vector<uint8_t> labels;
    for (const int32_t own : panel.train_class) labels.push_back(own == c);
    probes.push_back(fit(x, labels));
  }
  return probes;
}

std::vector<std::vector<int32_t>> nearest_classes(const Features& clean, const UnlearningPlan& plan,
                                                  const TextRows& rows, UnlearningPart part,
                                                  int64_t count) {
  const int64_t classes = std::ssize(plan.classes);
  Features means{classes, clean.cols,
                 std::vector<float>(static_cast<size_t>(classes * clean.cols))};
  for (int64_t c = 0; c < classes; ++c)
    for (const int64_t text : plan.texts[c][part])
      for (int64_t j = 0; j < clean.cols; ++j)
        means.values[c * clean.cols + j] += clean.view().row(rows.entry(text))[j];
  std::vector<std::vector<int32_t>> nearest(static_cast<size_t>(classes));
  for (int64_t c = 0; c < classes; ++c) {
    std::vector<std::pair<double, int32_t>> others;
    for (int32_t o = 0; o < classes; ++o)
      if (o != c) others.emplace_back(-cosine(row_of(means, c), row_of(means, o)), o);
    std::sort(others.begin(), others.end());
    others.resize(std::min(others.size(), static_cast<size_t>(count)));
    for (const auto& [distance, o] : others) nearest[c].push_back(o);
  }
  return nearest;
}

PanelJudge::PanelJudge(const UnlearningPanel& panel, const Features& clean,
                       const std::vector<LinearProbe>& probes,
                       const std::vector<int32_t>& neighbours, Options options)
    : panel_(panel),
      probes_(probes),
      neighbours_(neighbours),
      options_(std::move(options)),
      clean_train_(gather(clean, panel.train)),
      clean_test_(gather(clean, panel.test)),
      frozen_(fit(clean_train_, panel.train_labels)) {
  clean_scores_ = score(clean_train_, clean_test_);
}

PanelScores PanelJudge::score(const Features& train, const Features& test) const {
  PanelScores scores;
  scores.frozen = auroc(frozen_.score(test.view()), panel_.test_labels);
  retrain(train, test, panel_.train_class, scores);
  add_retained(train, test, scores);
  return scores;
}

PanelScores PanelJudge::permuted() const {
  std::vector<int32_t> classes = panel_.train_class;
  Rng(derive_seed(options_.seed, {'n'})).shuffle(std::span(classes));
  PanelScores scores;
  retrain(clean_train_, clean_test_, classes, scores);
  return scores;
}

void PanelJudge::retrain(const Features& train, const Features& test,
                         const std::vector<int32_t>& classes, PanelScores& scores) const {
  const auto read = [&](const std::vector<int64_t>& rows) {
    std::vector<uint8_t> labels;
    for (const int64_t i : rows) labels.push_back(classes[i] == panel_.forget);
    return auroc(fit(gather(train, rows), labels).score(test.view()), panel_.test_labels);
  };
  for (const int64_t count : options_.labels) {
    const int64_t draws = draws_of(count, options_.draws);
    double sum = 0;
    for (int64_t draw = 0; draw < draws; ++draw) {
      Rng rng(
          derive_seed(options_.seed, {static_cast<uint64_t>(count), static_cast<uint64_t>(draw)}));
      std::vector<int64_t> rows, taken(probes_.size(), 0);
      for (const int64_t i : rng.permutation(train.rows))
        if (taken[classes[i]]++ < count) rows.push_back(i);
      std::sort(rows.begin(), rows.end());
      sum += read(rows);
    }
    scores.few_shot.push_back(sum / static_cast<double>(draws));
  }
  if (!options_.all_labels) return;
  std::vector<int64_t> rows(static_cast<size_t>(train.rows));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  scores.retrained = read(rows);
}

void PanelJudge::add_retained(const Features& train, const Features& test,
                              PanelScores& scores) const {
  double right[2] = {}, cosines[2] = {}, count[2] = {};
  const auto add = [&](const std::vector<LinearProbe>& probes, const Features& edited,
                       const Features& clean, const std::vector<int32_t>& classes) {
    std::vector<std::vector<double>> by_class;
    for (const LinearProbe& probe : probes) by_class.push_back(probe.score(edited.view()));
    for (int64_t i = 0; i < edited.rows; ++i) {
      const int32_t own = classes[i];
      if (own == panel_.forget) continue;
      int32_t best = -1;
      for (int32_t c = 0; c < std::ssize(by_class); ++c)
        if (c != panel_.forget && (best < 0 || by_class[c][i] > by_class[best][i])) best = c;
      const double near = cosine(row_of(edited, i), row_of(clean, i));
      const bool neighbour =
          std::find(neighbours_.begin(), neighbours_.end(), own) != neighbours_.end();
      for (int set = 0; set <= neighbour; ++set) {
        right[set] += best == own;
        cosines[set] += near;
        count[set] += 1;
      }
    }
  };
  if (options_.train_probes) add(*options_.train_probes, train, clean_train_, panel_.train_class);
  add(probes_, test, clean_test_, panel_.test_class);
  scores.retain_accuracy = right[0] / count[0];
  scores.retain_cosine = cosines[0] / count[0];
  scores.neighbour_accuracy = right[1] / count[1];
  scores.neighbour_cosine = cosines[1] / count[1];
}

}  // namespace assay::eval::unlearning
