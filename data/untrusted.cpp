#include "data/untrusted.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <mutex>
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
  ::alarm(static_cast<unsigned>(limits.seconds) + 1);
}

/// The end of this process's parent is its own.
void end_with(pid_t parent) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) _exit(1);  // it had gone before
}

bool send_all(int fd, const char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t sent = ::send(fd, bytes, count, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes += sent;
    count -= static_cast<size_t>(sent);
  }
  return true;
}

bool receive_all(int fd, char* bytes, size_t count) {
  while (count > 0) {
    const ssize_t got = ::read(fd, bytes, count);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    count -= static_cast<size_t>(got);
  }
  return true;
}

/// What the helper is asked: this, and the descriptor that argument and answer go over.
struct Request {
  IsolatedWork work = nullptr;
  IsolationLimits limits;
  size_t argument_bytes = 0;
};

/// The child's whole life. The message ends with a mark, so that one cut short by a crash is known.
[[noreturn]] void be_child(int fd, const Request& request) {
  std::string argument(request.argument_bytes, '\0');
  if (!receive_all(fd, argument.data(), argument.size())) _exit(1);
  apply(request.limits);
  char kind = kAnswer;
  std::string text;
  try {
    text = request.work(argument);
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
  const bool sent =
      send_all(fd, &kind, 1) && send_all(fd, text.data(), text.size()) && send_all(fd, ".", 1);
  _exit(sent ? 0 : 1);
}

int wait_for(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// Has a child do the work, and says at the end how it died.
[[noreturn]] void supervise(int fd, const Request& request, pid_t helper) {
  end_with(helper);
  std::signal(SIGCHLD, SIG_DFL);
  const pid_t self = ::getpid(), child = ::fork();
  if (child == 0) {
    end_with(self);
    be_child(fd, request);
  }
  if (child < 0) _exit(1);
  const int status = wait_for(child);
  send_all(fd, reinterpret_cast<const char*>(&status), sizeof status);
  _exit(0);
}

/// One request and its descriptor; -1 where the other end has gone.
int receive_request(int control, Request& request) {
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))];
  iovec part{&request, sizeof request};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  ssize_t got = 0;
  do {
    got = ::recvmsg(control, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  const cmsghdr* header = got == sizeof request ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return -1;
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return fd;
}

bool send_request(int control, const Request& request, int fd) {
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  iovec part{const_cast<Request*>(&request), sizeof request};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
  return ::sendmsg(control, &message, MSG_NOSIGNAL) == sizeof request;
}

/// The helper's whole life: till the process that it serves closes its end, or ends.
[[noreturn]] void serve(int theirs) {
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE, SIGCHLD})
    std::signal(number, SIG_IGN);  // and of SIGCHLD: the system buries the supervisors
  // A library that dies says so on standard error, and nobody waits for these to be closed.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, stream);
  // Nor does it keep open what the process had open: whoever reads from that waits for its end.
  constexpr int control = STDERR_FILENO + 1;
  ::dup2(theirs, control);
  ::close_range(control + 1, ~0U, 0);
  const pid_t self = ::getpid();
  for (Request request;;) {
    const int fd = receive_request(control, request);
    if (fd < 0) _exit(0);
    if (::fork() == 0) {
      ::close(control);
      supervise(fd, request, self);
    }
    ::close(fd);
  }
}

/// The process's own end of the helper.
class Helper {
 public:
  ~Helper() { stop(); }

  /// Throws Error naming `where`.
  void ask(const std::string& where, const Request& request, int fd) {
    const std::lock_guard held(mutex_);
    if (control_ >= 0 && send_request(control_, request, fd)) return;
    stop();
    start(where);
    if (!send_request(control_, request, fd)) throw failure(where);
  }
  void ensure() {
    const std::lock_guard held(mutex_);
    if (control_ < 0) start("assay");
  }

 private:
  static Error failure(const std::string& where) {
    return Error(
        fmt::format("{}: cannot start a process to read it: {}", where, std::strerror(errno)));
  }

  void start(const std::string& where) {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) throw failure(where);
    const auto quiet =
        hdf5::lock();  // no other thread may be inside the library when the process is copied
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(ends[0]);
      serve(ends[1]);
    }
    const int failed = errno;
    ::close(ends[1]);
    control_ = ends[0];
    errno = failed;
    if (pid_ < 0) throw failure(where);
  }

  void stop() {
    if (control_ >= 0) ::close(control_);
    if (pid_ > 0) wait_for(pid_);
    control_ = pid_ = -1;
  }

  std::mutex mutex_;
  int control_ = -1;
  pid_t pid_ = -1;
};

Helper& helper() {
  static Helper one;
  return one;
}

constexpr int64_t kStatusBytes = sizeof(int);  // behind the answer

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
    if (static_cast<int64_t>(message.size()) > limits.answer_bytes + kStatusBytes)
      return Ended::too_long;
  }
}

std::string how_it_died(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("signal {}, {}", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("status {}", WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

struct Closing {
  explicit Closing(int file) : fd(file) {}
  ~Closing() { ::close(fd); }
  Closing(const Closing&) = delete;
  Closing& operator=(const Closing&) = delete;
  int fd;
};

}  // namespace

void start_isolation() { helper().ensure(); }

namespace {

std::string answer_of(const std::string& where, IsolatedWork work, std::string_view argument,
                      const IsolationLimits& limits) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw Error(fmt::format("{}: cannot make a socket: {}", where, std::strerror(errno)));
  const Closing own(ends[0]);
  {
    const Closing theirs(ends[1]);
    helper().ask(where, {work, limits, argument.size()}, theirs.fd);
  }
  send_all(own.fd, argument.data(), argument.size());  // where this fails the child has died
  std::string message;
  const Ended ended = receive(own.fd, limits, message);
  if (ended == Ended::too_long)
    throw Error(fmt::format("{}: holds more than {} bytes of it", where, limits.answer_bytes));
  int status = -1;
  if (message.size() >= sizeof status) {
    std::memcpy(&status, message.data() + message.size() - sizeof status, sizeof status);
    message.resize(message.size() - sizeof status);
  } else if (ended == Ended::whole) {
    throw Error(fmt::format("{}: the process that reads it has gone; run again", where));
  }
  if (ended == Ended::too_late || (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM))
    throw Error(fmt::format("{}: reading took more than {} s; gave up", where, limits.seconds));
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

std::string run_isolated(const std::string& where, IsolatedWork work, std::string_view argument,
                         const IsolationLimits& limits) {
  return within_memory(where, [&] { return answer_of(where, work, argument, limits); });
}

std::string pack(std::initializer_list<std::string> texts) {
  std::string argument;
  for (const std::string& text : texts) argument += text + '\0';
  return argument;
}

std::vector<std::string> unpack(std::string_view argument) {
  std::vector<std::string> texts;
  for (size_t end = 0; (end = argument.find('\0')) != std::string_view::npos;) {
    texts.emplace_back(argument.substr(0, end));
    argument.remove_prefix(end + 1);
  }
  return texts;
}

}  // namespace assay::data
