// Numbers to draw.
#pragma once

#include <string>

#include "eval/results/results.h"

namespace assay::eval::test {

/// With the interval value ± half.
inline Number number(const std::string& metric, const std::string& method,
                     const std::string& dictionary, const std::string& part, double value,
                     double half) {
  Number n;
  n.metric = metric;
  n.method = method;
  n.dictionary = dictionary;
  n.part = part;
  n.value = value;
  n.interval = {{value - half, value + half}};
  return n;
}

}  // namespace assay::eval::test
