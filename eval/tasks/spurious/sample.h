// Texts of the spurious-correlation task: training parts in which a class goes with a format, and
// tests where it does not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/probing/sample.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

/// One class under one cut of the documents; "usual" and "other" are the two formats. Train and
/// tests share no document.
struct SpuriousCell {
  int64_t category = 0;  ///< index into SpuriousPlan::classes
  int64_t run = 0;       ///< 2 · evaluation seed + (roles swapped)
  /// One a share ρ of config.shares: a share ρ of the positives has the usual format, ρ of the
  /// negatives the other.
  std::vector<LabelledTexts> train;
  LabelledTexts anti;       ///< positives in the other format, negatives in the usual one
  LabelledTexts within[2];  ///< both classes in the usual format; in the other
};

struct SpuriousPlan {
  std::vector<std::string> classes;
  std::vector<int8_t> fold;  ///< [classes] 0 or 1: strengths for one fold are chosen on the other
  /// Texts that fixes learn the formats from (1 = usual), one part a run: another filter class,
  /// documents of the training fold.
  std::vector<LabelledTexts> formats;
  std::vector<SpuriousCell> cells;  ///< class by class, run by run
  int64_t runs = 0;
};

/// Documents are cut in folds by hash for each evaluation seed, then the folds swap roles.
/// Classes: those with min_texts texts of either format in every fold, the ones with most texts of
/// the other format first, ties to the smaller label. Throws Error naming what is missing.
SpuriousPlan plan_spurious(const data::Dataset& dataset, const TextTable& texts,
                           const SpuriousConfig& config, int64_t seeds, uint64_t seed);

/// Throws Error where a test document is also one of training or of the format texts.
void check_disjoint(const SpuriousCell& cell, const LabelledTexts& formats, const TextTable& texts);

}  // namespace assay::eval::spurious
