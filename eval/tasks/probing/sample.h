// Which texts each probe of the OOD probing task trains on and is tested on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/probing/settings.h"

namespace assay::eval::probing {

/// One class under one cut of the documents. Train and tests share no document.
struct ProbingCell {
  int64_t category = 0;  ///< index into ProbingPlan::classes
  int64_t run = 0;       ///< 2 · evaluation seed + (roles swapped)
  LabelledTexts train, id, ood;
};

struct ProbingPlan {
  std::vector<std::string> classes;
  std::vector<ProbingCell> cells;  ///< class by class, run by run
  /// 2 · evaluation seeds: each seed's folds, then the same folds swapped
  int64_t runs = 0;
  std::vector<std::string> left_out;  ///< what was asked for and cannot be had, a line each
};

/// Each evaluation seed cuts the documents in two folds by hash. Train = source texts of one fold;
/// ID test = source texts of the other; OOD test = target texts of the other. Positives: the first
/// of a seeded order, up to the limits; train has as many negatives as positives; negatives come
/// from all other classes in their natural shares. Classes: those with at least min_target
/// positives in either test of every fold and 10 to train on, whose training part (as limited) has
/// two documents of positives and two of negatives; the ones with most target texts first, ties to
/// the smaller label. Tests hold no text that the table holds back.
/// Throws Error naming what is missing: an unknown label or class, fewer than two classes with
/// enough texts.
ProbingPlan plan_probing(const data::Dataset& dataset, const TextTable& texts,
                         const OodConfig& config, int64_t seeds, uint64_t seed);

/// Probes across word classes: train and ID test on source texts of filter class `themes.source`,
/// OOD test on source texts of filter class `themes.target`; a theme's positives are its two
/// classes, the negatives all other texts of the same side. Documents are cut as in plan_probing.
/// Themes with too few texts are left out and named. Throws Error on an unknown label or class, a
/// pair that is not "SOURCE=TARGET", fewer than two themes with enough texts.
ProbingPlan plan_themes(const data::Dataset& dataset, const TextTable& texts,
                        const OodConfig& config, const ThemesConfig& themes, int64_t seeds,
                        uint64_t seed);

/// All texts of a cell, those to train on first.
std::vector<int64_t> texts_of(const ProbingCell& cell);
/// Every text of the plan's cells, once, ascending.
std::vector<int64_t> all_texts(const ProbingPlan& plan);
/// The documents of all test texts.
std::vector<int64_t> tested_documents(const ProbingPlan& plan, const TextTable& texts);

/// Throws Error where a training document is also a test document.
void check_disjoint(const ProbingCell& cell, const TextTable& texts);

}  // namespace assay::eval::probing
