// The registry of back ends: one constant table an operation, in the operation's own .cpp. There is
// no registration at start-up, which a static library's linker would drop: a back end that the
// table names is in the program.
#pragma once

#include <string>

#include "kernels/base/context.h"
#include "kernels/base/error.h"

/// A table's entry for a CUDA back end: null in a build without CUDA.
#ifdef ASSAY_CUDA
#define ASSAY_CUDA_BACK_END(function) (function)
#else
#define ASSAY_CUDA_BACK_END(function) nullptr
#endif

namespace assay {

/// An operation's name and its back ends, indexed by Device; null where there is none.
template <class Function>
struct Operation {
  const char* name;
  Function* back_ends[2];

  /// The back end for `device`. Throws UsageError naming what there is: never another device's back
  /// end.
  Function& on(Device device) const {
    if (Function* found = back_ends[static_cast<int>(device)]) return *found;
    constexpr const char* kNames[] = {"cpu", "cuda"};
    std::string message = std::string("operation ") + name + " has no " +
                          kNames[static_cast<int>(device)] + " back end in this build; it has:";
    for (int i = 0; i < 2; ++i) {
      if (back_ends[i] != nullptr) message += std::string(" ") + kNames[i];
    }
    throw UsageError(message);
  }
};

}  // namespace assay
