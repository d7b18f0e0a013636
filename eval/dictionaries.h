// The dictionaries of an evaluation: loaded, named apart, and their controls built.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "eval/tasks.h"

namespace assay::eval {

/// Loads each path (a dictionary or a run folder). Names are the folders' ("dictionary" inside a run takes the run's),
/// made unique by "-2", "-3" …
std::vector<EvalDictionary> load_dictionaries(const std::vector<std::filesystem::path>& paths,
                                              const data::Dataset& dataset);

/// Appends the controls of every trained dictionary, named "<name>:<kind>". Their seeds derive from `seed`.
void add_nulls(std::vector<EvalDictionary>& dictionaries, const std::vector<std::string>& kinds,
               const data::Dataset& dataset, uint64_t seed);

}  // namespace assay::eval
