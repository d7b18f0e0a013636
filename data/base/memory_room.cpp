#include "data/base/memory_room.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

constexpr const char* kVariable = "ASSAY_MEMORY_LIMIT";

namespace fs = std::filesystem;

/// The number behind `key` in a file of such lines; the file's first number where `key` is "".
std::optional<int64_t> number_in(const fs::path& file, const std::string& key) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    if (!key.empty() && word != key) continue;
    if (!key.empty() && !(in >> word)) return std::nullopt;
    int64_t value = 0;
    const auto [rest, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc()) return std::nullopt;
    return value;
  }
  return std::nullopt;
}

void lower(MemoryRoom& room, int64_t bytes, const std::string& limit) {
  if (bytes < room.bytes) room = {std::max<int64_t>(0, bytes), limit};
}

/// The control groups from that of this process upwards.
void ask_groups(MemoryRoom& room) {
  const fs::path root = "/sys/fs/cgroup";
  std::ifstream in("/proc/self/cgroup");
  std::string line, own;
  while (std::getline(in, line)) {
    if (line.rfind("0::/", 0) == 0) own = line.substr(4);
  }
  for (fs::path group = root / own;; group = group.parent_path()) {
    const auto most = number_in(group / "memory.max", ""),
               used = number_in(group / "memory.current", "");
    if (most && used) {
      // What files are cached gives way.
      const int64_t cached = number_in(group / "memory.stat", "inactive_file").value_or(0) +
                             number_in(group / "memory.stat", "active_file").value_or(0);
      lower(room, *most - (*used - cached), "the control group's memory.max");
    }
    if (group == root || !group.has_relative_path()) return;
  }
}

void ask_address_space(MemoryRoom& room) {
  rlimit limit{};
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return;
  const int64_t pages = number_in("/proc/self/statm", "").value_or(0);
  lower(room, static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE), "ulimit -v");
}

}  // namespace

MemoryRoom memory_room() {
  if (const char* text = std::getenv(kVariable); text != nullptr && *text != '\0') {
    int64_t bytes = 0;
    const char* end = text + std::strlen(text);
    const auto [rest, error] = std::from_chars(text, end, bytes);
    if (error != std::errc() || rest != end || bytes < 0) {
      throw UsageError(
          fmt::format("{}={}: expected a number of bytes, such as 8000000000", kVariable, text));
    }
    return {bytes, kVariable, true};
  }
  MemoryRoom room{INT64_MAX, "nothing"};
  if (const auto free = number_in("/proc/meminfo", "MemAvailable:"))
    lower(room, *free << 10, "what this machine has available");
  ask_groups(room);
  ask_address_space(room);
  return room;
}

int64_t memory_left() {
  const MemoryRoom room = memory_room();
  if (!room.given) return room.bytes;
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return room.bytes - resident * sysconf(_SC_PAGESIZE);
}

void require_room(int64_t bytes, const std::string& what, const std::string& advice) {
  const MemoryRoom room = memory_room();
  if (bytes <= room.bytes) return;
  throw UsageError(
      fmt::format("{} needs {:.2f} GB of memory, there is room for {:.2f} GB ({}): {}; "
                  "ASSAY_MEMORY_LIMIT=BYTES sets another limit",
                  what, static_cast<double>(bytes) / 1e9, static_cast<double>(room.bytes) / 1e9,
                  room.limit, advice));
}

}  // namespace assay::data
