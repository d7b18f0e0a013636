// What a command says of its progress. Nobody may be there to read it (a closed or full stream, a
// terminal that has gone); that is never a failure of the work.
#pragma once

#include <string_view>

namespace assay::data {

/// Writes `text` to standard error as it is; what cannot be written is dropped.
void say(std::string_view text) noexcept;
/// Says "assay: LINE" in one line, whatever stands in the names that it quotes.
void note(std::string_view line);

}  // namespace assay::data
