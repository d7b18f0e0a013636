// Memory that a file's contents ask for and that there is not: an Error that names the file.
#pragma once

#include <fmt/core.h>

#include <new>
#include <stdexcept>
#include <string>

#include "kernels/base/error.h"

namespace assay::data {

/// What `work` returns, which reads `where`, a file.
template <class Work>
auto within_memory(const std::string& where, const Work& work) {
  constexpr const char* kText = "{}: there is not enough memory to read it";
  try {
    return work();
  } catch (const std::bad_alloc&) {
    throw Error(fmt::format(kText, where));
  } catch (const std::length_error&) {  // a size that no memory has
    throw Error(fmt::format(kText, where));
  }
}

}  // namespace assay::data
