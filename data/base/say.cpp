#include "data/base/say.h"

#include <cstdio>

namespace assay::data {

void say(std::string_view text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  std::clearerr(stderr);
}

}  // namespace assay::data
