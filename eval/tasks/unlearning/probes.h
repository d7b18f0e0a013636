// What an attacker can still read from edited texts, and what the edit cost: the probes of the
// unlearning task.
#pragma once

#include <cstdint>
#include <vector>

#include "eval/encoding/pooled.h"
#include "eval/encoding/upper_run.h"
#include "eval/learners/linear.h"
#include "eval/tasks/unlearning/sample.h"

namespace assay::eval::unlearning {

/// The texts that one class's probes are trained and tested on: the class to forget first, then the
/// others in order.
struct UnlearningPanel {
  int64_t forget = 0;
  std::vector<int64_t> train, test;                ///< entries of the corpus
  std::vector<int32_t> train_class, test_class;    ///< index into the plan's classes
  std::vector<uint8_t> train_labels, test_labels;  ///< 1 = the class to forget
};

/// At most `retain` texts of each other class in either part (0 = all).
UnlearningPanel make_panel(const UnlearningPlan& plan, const TextRows& rows, int64_t forget,
                           UnlearningPart train, UnlearningPart test, int64_t retain);

/// Readings of one panel. AUROCs are against the true labels of the test texts.
struct PanelScores {
  /// probe trained on untouched training texts
  double frozen = 0.5;
  /// probe trained on edited training texts, all labels
  double retrained = 0.5;
  /// one a label count, mean over draws; trained on edited texts
  std::vector<double> few_shot;
  /// over retained classes only, by a frozen classifier
  double retain_accuracy = 0, neighbour_accuracy = 0;
  /// mean cosine with the untouched output, the same retained texts
  double retain_cosine = 1, neighbour_cosine = 1;
};

/// 1 − |auc − ½| / |auc₀ − ½|: the share of a probe's success that is gone; the sign of the success
/// does not matter, since an attacker may flip a probe. A clean success below .05 counts as .05:
/// there was little to take.
double forget_drop(double auc, double auc_clean);

/// Classifiers of untouched outputs that stay as they are: one against the rest a class.
std::vector<LinearProbe> fit_class_probes(const Features& clean, const UnlearningPlan& plan,
                                          const TextRows& rows, UnlearningPart part);

/// For each class the `count` others whose mean untouched outputs have the largest cosine with its
/// own, on `part`.
std::vector<std::vector<int32_t>> nearest_classes(const Features& clean, const UnlearningPlan& plan,
                                                  const TextRows& rows, UnlearningPart part,
                                                  int64_t count);

/// Scores edits of one panel.
class PanelJudge {
 public:
  struct Options {
    /// label counts n of the few-shot probes: n forget texts, n of each retained class
    std::vector<int64_t> labels;
    bool all_labels = true;  ///< PanelScores::retrained too
    int64_t draws = 10;      ///< of each small few-shot probe, at most
    uint64_t seed = 0;       ///< of the draws: the same for every method
    /// Judge retained training texts, which then count for the damage as test texts do; trained
    /// on neither. Must outlive the judge. Null = test texts alone count.
    const std::vector<LinearProbe>* train_probes = nullptr;
  };
  /// `probes` and `neighbours` must outlive the judge.
  PanelJudge(const UnlearningPanel& panel, const Features& clean,
             const std::vector<LinearProbe>& probes, const std::vector<int32_t>& neighbours,
             Options options);

  /// train [panel.train, d_out], test [panel.test, d_out]: outputs of the edited texts.
  PanelScores score(const Features& train, const Features& test) const;
  const PanelScores& clean() const { return clean_scores_; }
  /// The label null: few_shot and retrained of probes trained on untouched texts whose classes are
  /// permuted.
  PanelScores permuted() const;

 private:
  /// Fills few_shot and retrained by probes on `train` labelled by `classes`.
  void retrain(const Features& train, const Features& test, const std::vector<int32_t>& classes,
               PanelScores& scores) const;
  void add_retained(const Features& train, const Features& test, PanelScores& scores) const;

  const UnlearningPanel& panel_;
  const std::vector<LinearProbe>& probes_;
  const std::vector<int32_t>& neighbours_;
  Options options_;
  Features clean_train_, clean_test_;
  LinearProbe frozen_;
  PanelScores clean_scores_;
};

}  // namespace assay::eval::unlearning
