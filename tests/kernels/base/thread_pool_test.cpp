#include "kernels/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <vector>

namespace assay {
namespace {

TEST(ThreadPool, RunsEveryTaskOnceWithValidWorkers) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.threads(), threads);
    for (int round = 0; round < 200; ++round) {
      std::vector<std::atomic<int>> seen(37);
      pool.run(37, [&](int64_t task, int worker) {
        EXPECT_LT(worker, threads);
        ++seen[task];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, RethrowsTheLowestTasksExceptionAndGoesOn) {
  ThreadPool pool(3);
  try {
    pool.run(20, [](int64_t task, int) {
      if (task >= 4) throw std::runtime_error(std::to_string(task));
    });
    FAIL() << "nothing was thrown";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "4");
  }
  std::atomic<int> done{0};
  pool.run(5, [&](int64_t, int) { ++done; });
  EXPECT_EQ(done, 5);
}

TEST(ThreadPool, NoTasksIsNoWork) {
  ThreadPool pool(2);
  pool.run(0, [](int64_t, int) { FAIL(); });
}

}  // namespace
}  // namespace assay
