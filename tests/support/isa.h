// The instruction sets this processor can be forced to, for tests that run on each.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/error.h"

namespace assay::support {

inline std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  Context context({Device::cpu, 1});
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::amx}) {
    try {
      context.force_isa(isa);
      found.push_back(isa);
    } catch (const UsageError&) {
      break;  // levels are ordered: a processor without this one has none above
    }
  }
  return found;
}

inline std::string isa_name(const testing::TestParamInfo<Isa>& info) { return name_of(info.param); }

}  // namespace assay::support
