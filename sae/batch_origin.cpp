#include "sae/batch_origin.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

namespace assay::sae {

std::string batch_origin(const data::ActivationStream& stream, int64_t rows) {
  constexpr size_t kNamed = 6;
  struct Range {
    int64_t count = 0, first = INT64_MAX, last = 0;
  };
  std::map<std::string, Range> files;
  for (int64_t i = 0; i < rows; ++i) {
    const data::RowOrigin origin = stream.origin(i);
    Range& range = files[origin.file];
    ++range.count;
    range.first = std::min(range.first, origin.row);
    range.last = std::max(range.last, origin.row);
  }
  std::string text;
  size_t named = 0;
  for (const auto& [file, range] : files) {
    if (named++ == kNamed) return text + fmt::format(", and {} more files", files.size() - kNamed);
    text += fmt::format("{}{} ({} rows of {}…{})", text.empty() ? "" : ", ", file, range.count,
                        range.first, range.last);
  }
  return text;
}

}  // namespace assay::sae
