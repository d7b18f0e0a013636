// SIGTERM, SIGUSR1, SIGINT and SIGHUP (unless nohup has it ignored) ask a run to checkpoint and
// stop.
#pragma once

#include <csignal>

namespace assay::data {

/// EX_TEMPFAIL, the exit status then: a scheduler may queue the run again
constexpr int kRequeue = 75;

void stop_on_signals();
/// Non-zero from the first signal on.
const volatile std::sig_atomic_t& stop_requested();

}  // namespace assay::data
