// cfg.json of a published dictionary.
#pragma once

#include <filesystem>

#include "sae/dictionary.h"

namespace assay::sae {

/// As hostile input; only what JSON can say of each field is checked. Throws Error naming the file
/// and the key.
DictionaryInfo read_info(const std::filesystem::path& file);
/// Written beside, fsynced, renamed.
void write_info(const DictionaryInfo& info, const std::filesystem::path& file);

}  // namespace assay::sae
