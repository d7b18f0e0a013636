#include "experiments/commands/format_list.h"

#include <fmt/format.h>

#include "sae/formats/format.h"

namespace assay::commands {

std::string format_list() {
  std::string text = "Formats:";
  for (const sae::formats::Format* format : sae::formats::all()) {
    text += fmt::format("\n  {:<20}{}{}", format->name, format->title,
                        format->write == nullptr ? " (import only)" : "");
  }
  return text;
}

}  // namespace assay::commands
