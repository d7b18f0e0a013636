// Which texts the unlearning task estimates edits on, tunes them on, trains probes on and tests on.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

/// The parts of an unlearning run; they share no document.
enum UnlearningPart : size_t {
  kEstimate,   ///< directions, gates, latents; benign neighbours
  kTuneTrain,  ///< probes that choose settings: trained …
  kTuneTest,   ///< … and tested
  kTrain,      ///< the published probes: trained …
  kTest,       ///< … and tested
  kUnlearningParts,
};

struct UnlearningPlan {
  std::vector<std::string> classes;
  /// [class][part]: indices into the text table, in the run's random order, exactly as many as the
  /// configuration says.
  std::vector<std::array<std::vector<int64_t>, kUnlearningParts>> texts;
  std::vector<std::string> left_out;  ///< one line a class that has too few texts
};

/// A document's part depends on its id and the seed alone; where the table holds texts back from
/// tests, kTest is made of the others, and of them alone. Texts have at most `longest` ordinary
/// tokens. Classes: those with enough texts in every part, the ones with most texts first, ties to
/// the smaller label. Throws Error naming what is missing: an unknown label or class, fewer than
/// three classes with enough texts.
UnlearningPlan plan_unlearning(const data::Dataset& dataset, const TextTable& texts,
                               const UnlearningConfig& config, uint64_t seed);

/// The published parts whose retained texts count for the damage: kTest, and kTrain too where no
/// text is held back from tests.
std::vector<UnlearningPart> damage_parts(const TextTable& texts);

/// Throws Error where two parts share a document.
void check_disjoint(const UnlearningPlan& plan, const TextTable& texts);

}  // namespace assay::eval::unlearning
