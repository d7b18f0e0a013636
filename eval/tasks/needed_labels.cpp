#include "eval/tasks/needed_labels.h"

#include <fmt/format.h>

#include "data/text_table.h"

namespace assay::eval {

std::string lacks_labels(const data::Dataset& dataset, const std::vector<NeededLabel>& labels) {
  for (const auto& [name, setting] : labels)
    if (!name.empty() && !has_label(dataset, name))
      return fmt::format("needs label '{}' ({})", name, setting);
  return dataset.info().has_text ? "" : "needs a column /text that says which text each row is of";
}

}  // namespace assay::eval
