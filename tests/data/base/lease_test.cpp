// Leases between processes: who holds one, what a kill leaves, what another machine left.
#include "data/base/lease.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "tests/support/files.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

class LeaseTest : public testing::Test {
 protected:
  std::string refusal() const {
    try {
      const Lease second(folder_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  nlohmann::json facts() const { return nlohmann::json::parse(std::ifstream(file_)); }
  void leave(const nlohmann::json& facts, int64_t age) const {
    std::ofstream(file_) << facts.dump();
    const timespec then{std::time(nullptr) - age, 0}, times[2]{then, then};
    ASSERT_EQ(utimensat(AT_FDCWD, file_.c_str(), times, 0), 0);
  }
  /// What a process of this machine that runs writes.
  nlohmann::json own_facts() const {
    const Lease lease(folder_);
    return facts();
  }

  support::TemporaryFolder root_;
  fs::path folder_ = root_.path(), file_ = folder_ / "assay.lease";
};

TEST_F(LeaseTest, NamesItsHolderAndGoesWithIt) {
  {
    const Lease lease(folder_);
    EXPECT_EQ(facts()["pid"], getpid());
    EXPECT_THAT(refusal(), AllOf(HasSubstr(folder_.string()), HasSubstr(file_.string()),
                                 HasSubstr("process " + std::to_string(getpid()) + " on ")));
    EXPECT_NO_THROW(lease.check()) << "who was refused leaves the holder alone";
  }
  EXPECT_FALSE(fs::exists(file_));
  const Lease again(folder_), other(folder_, "consumer");
}

TEST_F(LeaseTest, AFolderThatItMadeGoesIfNothingCameIntoIt) {
  { const Lease lease(folder_ / "new"); }
  EXPECT_FALSE(fs::exists(folder_ / "new"));
  {
    const Lease lease(folder_ / "new");
    std::ofstream(folder_ / "new" / "file") << "x";
  }
  EXPECT_TRUE(fs::exists(folder_ / "new" / "file"));
}

TEST_F(LeaseTest, WhatAKilledProcessLeftIsTakenOver) {
  const pid_t child = fork();
  if (child == 0) {
    const Lease* lease = new Lease(folder_);
    lease->check();
    kill(getpid(), SIGKILL);
  }
  siginfo_t info{};
  waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);  // it stays a zombie
  ASSERT_EQ(facts()["pid"], child);
  const Lease lease(folder_);
  EXPECT_EQ(facts()["pid"], getpid());
  waitpid(child, nullptr, 0);
}

TEST_F(LeaseTest, ANumberThatAnotherProcessHasNowIsNotTheHolder) {
  nlohmann::json there = own_facts();
  there["started"] = there["started"].get<int64_t>() - 1;
  leave(there, 0);
  EXPECT_EQ(refusal(), "");
}

TEST_F(LeaseTest, AnotherMachinesLeaseHoldsWhileItIsRenewed) {
  nlohmann::json there = own_facts();
  there["boot"] = "another";
  there["host"] = "node7";
  leave(there, 60);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("on node7"), HasSubstr("renewed 6")));
  leave(there, 60 * kLeaseMinutes + 1);
  EXPECT_EQ(refusal(), "");
  there["boot"] = own_facts()["boot"];
  there["pids"] = "pid:[1]";  // a container of this machine, whose numbers are its own
  leave(there, 60);
  EXPECT_THAT(refusal(), HasSubstr("on node7"));
}

TEST_F(LeaseTest, DamagedOnesHoldAsLongAsOthers) {
  leave(nlohmann::json::array(), 1);
  EXPECT_THAT(refusal(), HasSubstr("an unknown host"));
  leave(nlohmann::json{{"pid", "x"}, {"boot", 3}}, 60 * kLeaseMinutes + 1);
  EXPECT_EQ(refusal(), "");
}

TEST_F(LeaseTest, OneThatWasTakenOverStopsItsHolder) {
  const Lease lease(folder_);
  nlohmann::json other = facts();
  other["host"] = "node8";
  leave(other, 0);
  try {
    lease.check();
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("node8 has taken this folder over"));
  }
  fs::remove(file_);
  EXPECT_THROW(lease.check(), Error);
}

TEST_F(LeaseTest, WhyItCannotBeWrittenIsSaid) {
  if (geteuid() == 0) {
    std::ofstream(folder_ / "file") << "x";
    EXPECT_THROW(Lease(folder_ / "file"), Error);
    return;
  }
  chmod(folder_.c_str(), 0500);
  EXPECT_THAT(refusal(), HasSubstr("Permission denied"));
  chmod(folder_.c_str(), 0700);
}

}  // namespace
}  // namespace assay::data
