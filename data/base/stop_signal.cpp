#include "data/base/stop_signal.h"

#include <initializer_list>

namespace assay::data {

namespace {

volatile std::sig_atomic_t requested = 0;
void request_stop(int) { requested = 1; }

}  // namespace

void stop_on_signals() {
  struct sigaction hang_up {};
  sigaction(SIGHUP, nullptr, &hang_up);
  if (hang_up.sa_handler != SIG_IGN) std::signal(SIGHUP, request_stop);
  for (const int number : {SIGTERM, SIGUSR1, SIGINT}) std::signal(number, request_stop);
}

const volatile std::sig_atomic_t& stop_requested() { return requested; }

}  // namespace assay::data
