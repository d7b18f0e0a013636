#include "eval/tasks/spurious/fix_entries.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::eval::spurious {

const std::vector<FixEntry>& fix_entries() {
  static const std::vector<FixEntry> entries = {
      {{"mean_difference", "mean difference", "baseline", "activations", "mean_projection"},
       nullptr,
       "direction",
       "dense"},
      {{"leace", "LEACE", "baseline", "activations", "leace"}, nullptr, "direction", "dense"},
      {{"inlp", "INLP", "baseline", "activations", "inlp"}, &Grids::inlp, "directions", "dense"},
      {{"neurons_drop", "neurons dropped", "baseline", "neurons", "drop"},
       &Grids::neurons,
       "neurons",
       "dense"},
      {{"paired", "paired differences", "baseline", "activations", "paired_projection"},
       &Grids::paired,
       "directions",
       "dense"},
      {{"covariate", "format as a covariate", "baseline", "activations", "covariate"},
       &Grids::covariate,
       "times",
       "dense"},
      {{"paired_covariate", "paired differences, format as a covariate", "baseline", "activations",
        "paired_projection_and_covariate"},
       &Grids::paired,
       "directions",
       "dense"},
      {{"latents_drop", "latents dropped", "headline", "latents", "drop"},
       &Grids::latents,
       "latents",
       "latents"},
      {{"latents_random", "random latents dropped", "control", "latents", "drop_random"},
       &Grids::latents,
       "latents",
       "latents"},
      {{"edit", "latents edited out", "", "latents", "edit"}, &Grids::latents, "latents", "edit"},
      {{"edit_covariate", "latents edited out, format as a covariate", "", "latents",
        "edit_and_covariate"},
       &Grids::latents,
       "latents",
       "edit"}};
  return entries;
}

const FixEntry& find_fix_entry(const std::string& fix) {
  const auto& entries = fix_entries();
  const auto found = std::find_if(entries.begin(), entries.end(),
                                  [&](const FixEntry& entry) { return entry.arm.name == fix; });
  if (found == entries.end()) throw Error(fmt::format("spurious: no fix '{}'", fix));
  return *found;
}

std::string fix_name(const std::string& fix, int64_t strength) {
  return strength == 0 ? fix : fmt::format("{}_{}", fix, strength);
}

}  // namespace assay::eval::spurious
