// The formats of dictionaries, for the help of import and export.
#pragma once

#include <string>

namespace assay::commands {

/// A line a format: name, title, and whether it is written too.
std::string format_list();

}  // namespace assay::commands
