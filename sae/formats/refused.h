// What is published and known, and cannot be represented.
#pragma once

#include "sae/formats/source.h"

namespace assay::sae::formats {

/// Throws Error naming it where the source is one of them.
void refuse_known(const Source& source);

}  // namespace assay::sae::formats
