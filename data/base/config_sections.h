// Some sections of a configuration that another version, or another command, may have written.
#pragma once

#include <string>
#include <vector>

#include "data/base/config_fields.h"

namespace assay::config {

/// As read_yaml, of these sections at the top of the file alone: whatever else stands there is
/// passed over, unread.
void read_sections(const std::string& file, const std::vector<std::string>& sections,
                   const Describe& describe);

}  // namespace assay::config
