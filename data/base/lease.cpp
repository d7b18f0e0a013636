#include "data/base/lease.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iterator>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "data/base/atomic_file.h"
#include "data/base/say.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = std::chrono::seconds(2);
constexpr auto kPoll = std::chrono::milliseconds(50);
constexpr auto kRenew = std::chrono::minutes(1);

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string first_line(const char* file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);
  return line;
}

/// When a process started, in ticks since the machine did; 0 where there is none any more (one that
/// has ended and was not waited for counts as gone).
int64_t starting_time(int64_t pid) {
  const std::string stat = text_of(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');  // a name may hold anything
  if (name_end == std::string::npos) return 0;
  char state = 'X';
  long long started = 0;
  // Field 22; state is field 3.
  const int read = std::sscanf(stat.c_str() + name_end + 1,
                               " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
                               "%*s %*s %*s %lld",
                               &state, &started);
  return read == 2 && state != 'Z' && state != 'X' ? started : 0;
}

Json own_facts() {
  char host[256] = "unknown";
  gethostname(host, sizeof host - 1);
  std::error_code failed;
  return {{"host", host},
          {"boot", first_line("/proc/sys/kernel/random/boot_id")},
          {"pids", fs::read_symlink("/proc/self/ns/pid", failed).string()},
          {"pid", getpid()},
          {"started", starting_time(getpid())},
          {"command", first_line("/proc/self/comm")},
          {"since", std::time(nullptr)}};
}

/// What stands in a lease. Texts of the wrong kind are a lease of nobody known.
struct Holder {
  std::string text;  ///< of the file
  std::string host = "an unknown host", boot, pids;
  int64_t pid = 0, started = 0;
  int64_t age = 0;  ///< seconds since it was renewed
};

std::optional<Holder> holder_of(const fs::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) != 0) return std::nullopt;
  Holder holder;
  holder.text = text_of(file);
  holder.age = std::time(nullptr) - info.st_mtime;
  const Json json = Json::parse(holder.text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return holder;
  const auto text = [&](const char* key, std::string& to) {
    if (const auto at = json.find(key); at != json.end() && at->is_string()) to = *at;
  };
  const auto number = [&](const char* key, int64_t& to) {
    if (const auto at = json.find(key); at != json.end() && at->is_number_integer()) to = *at;
  };
  text("host", holder.host), text("boot", holder.boot), text("pids", holder.pids);
  number("pid", holder.pid), number("started", holder.started);
  return holder;
}

/// Whether its process, if there still is one, is among those that we see.
bool is_here(const Holder& holder, const Json& own) {
  return holder.pid > 0 && holder.boot == own["boot"] && holder.pids == own["pids"];
}

/// Why the lease is of no force any more; "" where it is.
std::string why_stale(const Holder& holder, const Json& own) {
  if (is_here(holder, own)) {
    return starting_time(holder.pid) == holder.started ? "" : "that process has gone";
  }
  if (holder.age < kLeaseMinutes * 60) return "";
  return fmt::format("it was not renewed for {} minutes", holder.age / 60);
}

std::string name_of(const Holder& holder) {
  return fmt::format("process {} on {}", holder.pid, holder.host);
}

}  // namespace

struct Lease::State {
  fs::path folder, file;
  std::string text;
  bool made_folder = false;
  std::mutex mutex;
  std::condition_variable ended;
  bool stop = false;
  std::thread renewing;

  /// False where there is a file of that name.
  bool create() const {
    const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST) return false;
    int failed = fd < 0 ? errno : 0;
    if (failed == 0 && ::write(fd, text.data(), text.size()) != static_cast<ssize_t>(text.size()))
      failed = errno;
    if (fd >= 0 && ::close(fd) != 0 && failed == 0) failed = errno;
    if (failed == 0) return true;
    if (fd >= 0) ::unlink(file.c_str());
    throw Error(fmt::format("{}: cannot write the lease of this folder: {}", file.string(),
                            std::strerror(failed)));
  }

  /// Only one of several processes that want to gets the stale file out of the way; it may by then
  /// be a new one of another process, which goes back.
  void remove(const Holder& stale) const {
    fs::path aside = file;
    aside += fmt::format(".{}", getpid());
    if (::rename(file.c_str(), aside.c_str()) != 0) return;
    if (text_of(aside) != stale.text) {
      if (::link(aside.c_str(), file.c_str()) != 0) ::rename(aside.c_str(), file.c_str());
    }
    ::unlink(aside.c_str());
  }

  void take(const Json& own) {
    const auto begun = Clock::now();
    while (!create()) {
      const std::optional<Holder> holder = holder_of(file);
      if (!holder) continue;
      const std::string stale = why_stale(*holder, own);
      if (!stale.empty()) {
        note(fmt::format("{}: {} has left its lease ({}); taking it over", folder.string(),
                         name_of(*holder), stale));
        remove(*holder);
        continue;
      }
      // A process here may be on its way out, and a file just being written.
      const bool may_change = is_here(*holder, own) || holder->text.empty();
      if (!may_change || Clock::now() - begun > kPatience) {
        throw Error(fmt::format(
            "{}: {} is writing there (renewed {} s ago): wait for it, choose another --out, or, if "
            "it has gone for certain, delete {}",
            folder.string(), name_of(*holder), holder->age, file.string()));
      }
      std::this_thread::sleep_for(kPoll);
    }
  }

  bool is_ours() const { return text_of(file) == text; }

  void renew() {
    std::unique_lock held(mutex);
    while (!ended.wait_for(held, kRenew, [this] { return stop; })) {
      if (is_ours()) ::utimensat(AT_FDCWD, file.c_str(), nullptr, 0);
    }
  }
};

Lease::Lease(const fs::path& folder, const std::string& name) : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.folder = folder;
  s.file = folder / (name + ".lease");
  s.made_folder = !fs::exists(folder);
  make_folder(folder);
  const Json own = own_facts();
  s.text = own.dump() + "\n";
  s.take(own);
  s.renewing = std::thread([&s] { s.renew(); });
}

Lease::~Lease() {
  State& s = *state_;
  {
    const std::lock_guard held(s.mutex);
    s.stop = true;
  }
  s.ended.notify_all();
  s.renewing.join();
  if (s.is_ours()) ::unlink(s.file.c_str());
  if (s.made_folder) ::rmdir(s.folder.c_str());  // fails where there is anything in it
}

void Lease::check() const {
  if (state_->is_ours()) return;
  const auto holder = holder_of(state_->file);
  throw Error(
      fmt::format("{}: {}: nothing more is written", state_->folder.string(),
                  holder ? name_of(*holder) + " has taken this folder over" : "its lease is gone"));
}

std::unique_ptr<Lease> lease_of_file(const fs::path& file) {
  const fs::path folder = file.has_parent_path() ? file.parent_path() : fs::path(".");
  if (!fs::is_directory(folder)) return nullptr;
  return std::make_unique<Lease>(folder, file.filename().string());
}

}  // namespace assay::data
