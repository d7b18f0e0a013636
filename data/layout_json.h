// A file's layout as text, for the way out of the child process that read it.
#pragma once

#include <string>

#include "data/layout.h"

namespace assay::data {

std::string layout_to_json(const FileLayout& file);
/// Error "damaged" where the text is not a layout; `path` becomes the layout's path.
FileLayout layout_from_json(const std::string& text, const std::filesystem::path& path);

}  // namespace assay::data
