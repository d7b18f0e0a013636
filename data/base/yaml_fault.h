// What is wrong with a text that is no YAML, in one line.
#pragma once

#include <yaml-cpp/exceptions.h>

#include <string>

namespace assay::data {

/// "FILE:LINE: not valid YAML: ..." of what yaml-cpp threw while it read `text`. Tabs that indent
/// and quotes that never close, which it reports as something else or somewhere else, are named on
/// their own line.
std::string yaml_fault(const std::string& file, const std::string& text,
                       const YAML::Exception& error);

}  // namespace assay::data
