// Controls that are trained: like a dictionary in everything but what model.frozen holds at its
// random start (sae/frozen.h).
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/dictionaries.h"

namespace assay::eval {

/// The kinds that are trained. make_null knows the others.
std::vector<std::string> trained_null_kinds();

/// Appends them of every trained dictionary, named "<name>:<kind>". Each is a run in
/// FOLDER/<name>-<kind>, trained by the configuration that the dictionary's run folder keeps (same
/// variant, n, k, data, steps, batch and seed), on `dataset` where that is what the dictionary was
/// trained on, else where its configuration says. A run that is there goes on from its newest
/// checkpoint, and a finished one is taken as it is. `log`: a line each. Throws UsageError, before
/// anything is trained, where a dictionary does not say how it was trained, its variant or device
/// cannot, its data are not there, or FOLDER holds a run of another configuration.
void train_nulls(Context& context, std::vector<EvalDictionary>& dictionaries,
                 const std::vector<std::string>& kinds, const data::Dataset& dataset,
                 const std::filesystem::path& folder,
                 const std::function<void(const std::string&)>& log);

}  // namespace assay::eval
