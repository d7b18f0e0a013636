// What --json prints.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace assay::commands {

/// One line on stdout. Bytes of names that are not UTF-8, which JSON has no form for, are shown as
/// U+FFFD.
void print_json(const nlohmann::ordered_json& value);

}  // namespace assay::commands
