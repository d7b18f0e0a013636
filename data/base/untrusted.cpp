#include "data/base/untrusted.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <new>
#include <stdexcept>

#include "data/base/within_memory.h"
#include "data/hdf5.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

// First byte of the child's message.
constexpr char kAnswer = 'A', kError = 'E', kUsageError = 'U', kMemory = 'M', kOther = 'O';

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kLimitMemory = false;  // sanitizers reserve terabytes of address space
#else
constexpr bool kLimitMemory = true;
#endif

void limit(int resource, uint64_t value) {
  rlimit now{};
  if (getrlimit(static_cast<__rlimit_resource>(resource), &now) != 0) return;
  now.rlim_cur = now.rlim_max == RLIM_INFINITY ? value : std::min<uint64_t>(value, now.rlim_max);
  setrlimit(static_cast<__rlimit_resource>(resource), &now);
}

void apply(const IsolationLimits& limits) {
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  if (kLimitMemory)
    limit(RLIMIT_AS, static_cast<uint64_t>(pages * sysconf(_SC_PAGESIZE) + limits.memory_bytes));
  limit(RLIMIT_CPU, static_cast<uint64_t>(limits.seconds));
  limit(RLIMIT_CORE, 0);
  for (const int signal :
       {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGXCPU, SIGTERM, SIGINT, SIGUSR1}) {
    std::signal(signal, SIG_DFL);
  }
}

bool send(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t sent = ::write(fd, bytes, count);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

/// The child's whole life. The message ends with a mark, so that one cut short by a crash is known.
[[noreturn]] void be_child(int fd, const std::function<std::string()>& work,
                           const IsolationLimits& limits) {
  apply(limits);
  char kind = kAnswer;
  std::string text;
  try {
    text = work();
  } catch (const UsageError& error) {
    kind = kUsageError;
    text = error.what();
  } catch (const std::bad_alloc&) {
    kind = kMemory;
  } catch (const Error& error) {
    kind = kError;
    text = error.what();
  } catch (const std::length_error&) {  // a size that no memory has
    kind = kMemory;
  } catch (const std::exception& error) {
    kind = kOther;
    text = error.what();
  }
  const bool sent = send(fd, &kind, 1) && send(fd, text.data(), text.size()) && send(fd, ".", 1);
  _exit(sent ? 0 : 1);
}

enum class Ended { whole, too_long, too_late };

/// Everything the child sends until it closes the pipe.
Ended receive(int fd, const IsolationLimits& limits, std::string& message) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(limits.seconds);
  std::string buffer(1 << 20, '\0');
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return Ended::too_late;
    pollfd waiting{fd, POLLIN, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return Ended::too_late;
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return Ended::whole;
    message.append(buffer.data(), static_cast<size_t>(got));
    if (static_cast<int64_t>(message.size()) > limits.answer_bytes) return Ended::too_long;
  }
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string how_it_died(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("signal {}, {}", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("status {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

}  // namespace

namespace {

std::string answer_of(const std::string& where, const std::function<std::string()>& work,
                      const IsolationLimits& limits) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw Error(fmt::format("{}: cannot make a pipe: {}", where, std::strerror(errno)));
  pid_t child = -1;
  {
    const auto quiet =
        hdf5::lock();  // no other thread may be inside the library when the process is copied
    child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      be_child(ends[1], work, limits);
    }
  }
  const int failed = errno;
  ::close(ends[1]);
  if (child < 0) {
    ::close(ends[0]);
    throw Error(
        fmt::format("{}: cannot start a process to read it: {}", where, std::strerror(failed)));
  }
  std::string message;
  const Ended ended = receive(ends[0], limits, message);
  ::close(ends[0]);
  if (ended != Ended::whole) ::kill(child, SIGKILL);
  const int status = wait_for(child);
  if (ended == Ended::too_late)
    throw Error(fmt::format("{}: reading took more than {} s; gave up", where, limits.seconds));
  if (ended == Ended::too_long)
    throw Error(fmt::format("{}: holds more than {} bytes of it", where, limits.answer_bytes));
  if (status != 0 || message.size() < 2 || message.back() != '.') {
    throw Error(fmt::format("{}: damaged: the library that read it crashed ({})", where,
                            how_it_died(status)));
  }
  message.pop_back();
  const char kind = message.front();
  message.erase(0, 1);
  if (kind == kUsageError) throw UsageError(message);
  if (kind == kError) throw Error(message);
  if (kind == kOther) throw Error(fmt::format("{}: damaged: {}", where, message));
  if (kind == kMemory)
    throw Error(fmt::format("{}: reading it needs more than {} bytes of memory", where,
                            limits.memory_bytes));
  return message;
}

}  // namespace

std::string run_isolated(const std::string& where, const std::function<std::string()>& work,
                         const IsolationLimits& limits) {
  return within_memory(where, [&] { return answer_of(where, work, limits); });
}

}  // namespace assay::data
