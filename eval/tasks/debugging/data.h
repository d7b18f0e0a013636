// Artefacts of texts, and data sets that have them planted.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/hidden_goals/organisms.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::debugging {

using hidden_goals::GoalKind;
using hidden_goals::Organism;
using spurious::SpuriousConfig;

/// Which of a text's surface properties hold: question mark, digit, parenthesis, quotation mark,
/// comma, semicolon, capital (first letter, ASCII).
std::vector<std::pair<std::string, bool>> surface_of(std::string_view text);

/// Data sets of one run, and texts whose artefacts are known.
struct DebuggingRun {
  std::vector<LabelledTexts> sets;  ///< one an entry of DebuggingPlan::cases of this run
  /// planted: goal = the artefact; benign, calibration: clean data sets
  std::vector<Organism> cases;
  std::vector<int64_t> reference;             ///< texts of another filter class
  std::vector<uint8_t> has;                   ///< [reference, artefacts]
  std::vector<std::vector<uint8_t>> set_has;  ///< per data set: [texts, artefacts]
};

struct DebuggingPlan {
  std::vector<std::string> artefacts;
  std::vector<int8_t> fold;        ///< [artefacts]
  std::vector<DebuggingRun> runs;  ///< one an evaluation seed
};

/// Artefacts: the surface properties where the data set has texts, "short" and "long" (fewer tokens
/// than the lower quartile, more than the median of all texts) and the usual format; kept where at
/// least min_texts reference texts have and lack them. Data sets: of each class and artefact,
/// train_per_class / 2 positives that have it and as many negatives that lack it, where the class
/// has so many; and two clean data sets a class and seed, one to be scored and one for calibration.
/// Organism::replicate is class + classes · run. Throws Error where fewer than 3 artefacts are
/// left.
DebuggingPlan plan_debugging(const data::Dataset& dataset, const TextTable& table,
                             const SpuriousConfig& config, int64_t seeds, uint64_t seed);

}  // namespace assay::eval::debugging
