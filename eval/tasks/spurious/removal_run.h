// One run of targeted removal: its texts, the probes that ask about them, and what every arm gets
// for SCR and TPP.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "eval/learners/matched_latents.h"
#include "eval/tasks/spurious/format_pool.h"
#include "eval/tasks/spurious/removal_scores.h"
#include "eval/tasks/task.h"

namespace assay::eval::spurious {

/// One run's texts, and who they are.
struct RemovalPart {
  std::vector<int64_t> texts;
  std::vector<int32_t> category;  // index into the plan's classes
  std::vector<Format> format;
};

struct RemovalRun {
  RemovalPart train, test;
};

/// The first `limit` texts of each of these classes in either format.
RemovalPart removal_part(const FormatFold& fold, const std::vector<int32_t>& classes,
                         int64_t limit);

constexpr uint64_t kDraws = 5;

/// One arm's values at every n of config.ablate, on the units of one run.
struct RemovalValues {
  std::string metric, method;
  std::optional<size_t> dictionary;
  std::vector<std::vector<double>> values;  // [n][units]
  std::vector<MatchQuality> match = {};     // [n], of "random_latents"
};

/// Pooled activations of a run, and the space of every arm.
struct RemovalData {
  Features train, test;
  std::vector<std::pair<std::string, std::optional<size_t>>> arms;  // method, dictionary
  std::vector<RemovalSpace>
      spaces;  // one an arm; without the oracle, which depends on the question
};

/// Of "neurons" and of every dictionary.
RemovalData gather_run(const Session& session, const EncodeCache& cache, const RemovalRun& run);

/// TPP over the classes and SCR over pairs of classes, of every arm, of "random_latents" of every
/// dictionary (the mean over kDraws draws of partners for the latents that its "latents" ablate)
/// and of "oracle". Pure and deterministic in `seed`.
std::vector<RemovalValues> score_run(const RemovalData& data, const RemovalRun& run,
                                     int64_t classes, const std::vector<int64_t>& ablate,
                                     uint64_t seed);

}  // namespace assay::eval::spurious
