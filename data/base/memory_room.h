// How much memory a process may still take, asked before something large is made: the system kills
// without a word where there is none left.
#pragma once

#include <cstdint>
#include <string>

namespace assay::data {

struct MemoryRoom {
  int64_t bytes = 0;
  std::string limit;   ///< what sets it, for messages
  bool given = false;  ///< by ASSAY_MEMORY_LIMIT
};

/// The least of what the machine has available, what the control groups (version 2) of this process
/// leave it, and its address space (ulimit -v). Where the environment variable ASSAY_MEMORY_LIMIT
/// holds a number of bytes, that takes the place of all of them. Throws UsageError where it holds
/// anything else.
MemoryRoom memory_room();

/// What is left of it to a process at work: where ASSAY_MEMORY_LIMIT sets it, less what the process
/// holds already.
int64_t memory_left();

/// Throws UsageError where `bytes` are more than there is room for: WHAT needs so much, what sets
/// the limit, and `advice`.
void require_room(int64_t bytes, const std::string& what, const std::string& advice);

}  // namespace assay::data
