// One process at a time writes into an output folder. The lease is an ordinary file, so it works on
// file systems without locks, and it says who holds it:
//
//   NAME.lease    {"host", "boot", "pids", "pid", "started", "command", "since"}
//
// It is renewed every minute (its time of change) and removed at the end. What a kill leaves is
// stale, and taken over with a warning: on the same machine where no such process runs any more (a
// process is known by number and starting time), elsewhere where it was not renewed for
// kLeaseMinutes.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace assay::data {

constexpr int kLeaseMinutes = 10;

class Lease {
 public:
  /// Makes the folder where it is missing. Throws Error naming the holder where another process has
  /// FOLDER/NAME.lease (after two seconds of trying where it is of this machine: a process that was
  /// killed takes a while to go), and the system's reason where the file cannot be made.
  explicit Lease(const std::filesystem::path& folder, const std::string& name = "assay");
  /// Removes the file, and the folder if the lease has made it and nothing else came into it.
  ~Lease();
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  /// Throws Error where another process has taken the lease over: nothing may be written any more.
  void check() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The same for one output file, whose lease lies beside it; null where its folder is missing,
/// which writing will say.
std::unique_ptr<Lease> lease_of_file(const std::filesystem::path& file);

}  // namespace assay::data
