// The dictionaries of an evaluation: loaded, named apart, and their controls built.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/results/results.h"
#include "sae/dictionary.h"

namespace assay::eval {

/// A dictionary under evaluation, trained or control (entry.null_kind, entry.parent).
struct EvalDictionary {
  DictionaryEntry entry;
  sae::Dictionary dictionary;
  std::filesystem::path path = {};  ///< as given; empty of one that was built
};

/// A control that was trained elsewhere: "frozen_decoder=runs/frozen".
struct TrainedNull {
  std::string kind;
  std::filesystem::path path;
};
/// Throws UsageError where the text is not KIND=PATH, or KIND is not lower-case letters, digits and
/// underscores.
TrainedNull parse_trained_null(const std::string& text);

/// Loads each path (a dictionary or a run folder). Names are the folders' ("dictionary" inside a
/// run takes the run's), made unique by "-2", "-3" … `nulls` come last, as controls of their kind
/// for every dictionary of their width; their name is "folder:kind".
std::vector<EvalDictionary> load_dictionaries(const std::vector<std::filesystem::path>& paths,
                                              const std::vector<TrainedNull>& nulls,
                                              const data::Dataset& dataset);

/// Takes out what does not read and write activations of the data's width, and says so. Throws
/// UsageError where nothing is left.
std::vector<LeftOut> leave_out_other_widths(std::vector<EvalDictionary>& dictionaries,
                                            const data::Dataset& dataset);

/// Appends the controls of every trained dictionary, named "<name>:<kind>". Their seeds derive from
/// `seed`.
void add_nulls(std::vector<EvalDictionary>& dictionaries, const std::vector<std::string>& kinds,
               const data::Dataset& dataset, uint64_t seed);

}  // namespace assay::eval
