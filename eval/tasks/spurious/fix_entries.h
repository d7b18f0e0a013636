// The fixes of the spurious-correlation task: their words, and the grids that their strengths stand
// in.
#pragma once

#include <string>
#include <vector>

#include "eval/results/results.h"
#include "eval/tasks/spurious/settings.h"

namespace assay::eval::spurious {

struct FixEntry {
  ArmEntry arm;
  std::vector<int64_t> Grids::*grid;  ///< nullptr: its one strength is 1
  const char* unit;                   ///< what a strength counts
  const char* none;                   ///< the arm that is this fix at strength 0

  bool on_latents() const { return arm.space == "latents"; }
};

/// In the order of the report.
const std::vector<FixEntry>& fix_entries();
/// Throws Error where there is none of that name.
const FixEntry& find_fix_entry(const std::string& fix);
/// "leace_1": the name of a fix at one strength; a strength of 0 is no fix, and has its name.
std::string fix_name(const std::string& fix, int64_t strength);

}  // namespace assay::eval::spurious
