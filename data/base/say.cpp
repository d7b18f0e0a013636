#include "data/base/say.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <string>

namespace assay::data {

void say(std::string_view text) noexcept {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
  std::clearerr(stderr);
}

void note(std::string_view line) {
  std::string text = fmt::format("assay: {}", line);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  say(text + "\n");
}

}  // namespace assay::data
