// Work on files from strangers in a child process with limits: a crash or a loop inside a library
// becomes one Error.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace assay::data {

struct IsolationLimits {
  int64_t memory_bytes = int64_t{2} << 30;  ///< address space beyond what the process has already
  int64_t answer_bytes = int64_t{1} << 30;  ///< longest answer
  int seconds = 120;                        ///< wall clock and processor time
};

/// Run `work` in a forked child and return its answer. An assay::Error (or UsageError) thrown in
/// the child is thrown here with the same text. A crash, an exhausted limit or any other exception
/// throws Error "WHERE: ...". The caller must not hold hdf5::lock(); inside `work` the HDF5 library
/// is free to use without it. `work` must not start threads.
std::string run_isolated(const std::string& where, const std::function<std::string()>& work,
                         const IsolationLimits& limits = {});

}  // namespace assay::data
