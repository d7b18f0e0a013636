// Work on files from strangers in a child process with limits: a crash or a loop inside a library
// becomes one Error.
//
// Children come from a small helper process that is forked once, before there is anything large to
// copy. The signals that ask a run to stop are the run's: helper and children ignore them, and end
// with the process that they serve.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

namespace assay::data {

struct IsolationLimits {
  int64_t memory_bytes = int64_t{2} << 30;  ///< address space beyond what the helper has already
  int64_t answer_bytes = int64_t{1} << 30;  ///< longest answer
  int seconds = 120;                        ///< wall clock and processor time
};

/// A function of its argument alone: it runs in a process that was forked before, and knows nothing
/// of what the caller has made since. It must not start threads.
using IsolatedWork = std::string (*)(std::string_view argument);

/// Starts the helper; main's first act. Without it the first run_isolated() does, at whatever size
/// the process has then.
void start_isolation();

/// Run `work` in a child and return its answer. An assay::Error (or UsageError) thrown in the child
/// is thrown here with the same text. A crash, an exhausted limit or any other exception throws
/// Error "WHERE: ...". The caller must not hold hdf5::lock(); inside `work` the HDF5 library is
/// free to use without it. Threads may call it at the same time.
std::string run_isolated(const std::string& where, IsolatedWork work, std::string_view argument,
                         const IsolationLimits& limits = {});

/// Several texts without NUL as one argument, and back.
std::string pack(std::initializer_list<std::string> texts);
std::vector<std::string> unpack(std::string_view argument);

}  // namespace assay::data
