// Where the rows of a batch came from, for the messages of a run that stops.
#pragma once

#include <cstdint>
#include <string>

#include "data/stream.h"

namespace assay::sae {

/// "shard-00000.h5 (128 rows of 17…4981), shard-00001.h5 (…)" for the `rows` rows that next()
/// delivered last, by file in order; beyond six files the rest are counted.
std::string batch_origin(const data::ActivationStream& stream, int64_t rows);

}  // namespace assay::sae
