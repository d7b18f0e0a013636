// The emulator is an instrument: these tests show that it measures (meetings do what a device's do)
// and that it alarms (divergence, a missing barrier and a stray write are caught).
#include "tests/support/cuda_emulator.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/emulated_machine.h"

namespace assay::emulator {
namespace {

class EmulatorTest : public testing::TestWithParam<Order> {
 protected:
  void run(const std::function<void(Thread&)>& body, int64_t blocks, int threads,
           size_t shared_bytes = 0) const {
    run_blocks(body, blocks, threads, shared_bytes, GetParam());
  }
};

int* ints(const Thread& t) { return reinterpret_cast<int*>(t.shared()); }

TEST_P(EmulatorTest, BarriersSeparateWritesFromReads) {
  std::vector<int> out(3 * 96);
  run(
      [&](Thread& t) {
        for (int round = 0; round < 3; ++round) {
          ints(t)[t.thread()] = 100 * round + t.thread();
          t.sync();
          out[t.block() * 96 + t.thread()] = ints(t)[95 - t.thread()];
          t.sync();
        }
      },
      3, 96, 96 * sizeof(int));
  for (int i = 0; i < 3 * 96; ++i) EXPECT_EQ(out[i], 200 + 95 - i % 96);
}

TEST_P(EmulatorTest, ShufflesStayWithinTheWarp) {
  std::vector<double> up(64), crossed(64);
  run(
      [&](Thread& t) {
        up[t.thread()] = t.shuffle_up(0.5 + t.thread(), 3);
        crossed[t.thread()] = t.shuffle_xor(0.5 + t.thread(), 5);
      },
      1, 64);
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(up[i], 0.5 + (i % 32 < 3 ? i : i - 3));
    EXPECT_EQ(crossed[i], 0.5 + (i / 32 * 32 + ((i % 32) ^ 5)));
  }
}

TEST_P(EmulatorTest, AShuffleReadsAnyLaneOfItsWarp) {
  std::vector<int> third(64), next(64);
  run(
      [&](Thread& t) {
        third[t.thread()] = t.shuffle(t.thread(), 3);
        next[t.thread()] = t.shuffle(t.thread(), (t.thread() + 1) % 32);
      },
      1, 64);
  for (int i = 0; i < 64; ++i) {
    EXPECT_EQ(third[i], i / 32 * 32 + 3);
    EXPECT_EQ(next[i], i / 32 * 32 + (i + 1) % 32);
  }
}

TEST_P(EmulatorTest, AtomicsCountWhatEveryThreadAdds) {
  int counted = 0;
  uint32_t bits = 0, most = 0;
  std::vector<int> places(96);
  run(
      [&](Thread& t) {
        places[Thread::fetch_add(&counted, 1)] += 1;
        Thread::atomic_or(&bits, 1u << t.thread() % 7);
        Thread::atomic_max(&most, static_cast<uint32_t>(t.thread()));
      },
      1, 96);
  EXPECT_EQ(places, std::vector<int>(96, 1));
  EXPECT_EQ(bits, 0x7fu);
  EXPECT_EQ(most, 95u);
}

TEST_P(EmulatorTest, ConsecutiveShufflesDoNotMix) {
  std::vector<int> sum(32);
  run(
      [&](Thread& t) {
        int value = t.thread();
        for (int mask = 16; mask > 0; mask /= 2) value += t.shuffle_xor(value, mask);
        sum[t.thread()] = value;
      },
      1, 32);
  EXPECT_EQ(sum, std::vector<int>(32, 31 * 32 / 2));
}

TEST_P(EmulatorTest, VotesCountTheirWarpAndTheBlock) {
  std::vector<uint32_t> ballots(64);
  std::vector<int> any(64), either(64), neither(64);
  run(
      [&](Thread& t) {
        ballots[t.thread()] = t.ballot(t.thread() % 3 == 0);
        any[t.thread()] = t.any(t.thread() == 40);
        either[t.thread()] = t.sync_or(t.thread() == 7);
        neither[t.thread()] = t.sync_or(false);
      },
      1, 64);
  for (int i = 0; i < 64; ++i) {
    uint32_t expected = 0;
    for (int lane = 0; lane < 32; ++lane)
      expected |= ((i / 32 * 32 + lane) % 3 == 0 ? 1u : 0u) << lane;
    EXPECT_EQ(ballots[i], expected);
    EXPECT_EQ(any[i], i / 32 == 1);
    EXPECT_EQ(either[i], 1);
    EXPECT_EQ(neither[i], 0);
  }
}

TEST_P(EmulatorTest, WarpsMayPartBetweenBarriers) {
  std::vector<int> out(64);
  run(
      [&](Thread& t) {
        int value = t.thread();
        if (t.thread() >= 32) value = t.shuffle_xor(value, 1);
        t.sync();
        out[t.thread()] = value;
      },
      1, 64);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(out[i], i < 32 ? i : i ^ 1);
}

TEST_P(EmulatorTest, SharedMemoryIsPoisonedForEachBlock) {
  run(
      [&](Thread& t) {
        EXPECT_EQ(ints(t)[t.thread()], -1);
        t.sync();
        ints(t)[t.thread()] = 5;
      },
      2, 32, 32 * sizeof(int));
}

TEST_P(EmulatorTest, ABarrierThatNotAllReachIsAnError) {
  const auto some_leave = [](Thread& t) {
    if (t.thread() != 13) t.sync();
  };
  EXPECT_THROW(run(some_leave, 1, 64), Violation);
  const auto two_barriers = [](Thread& t) {
    if (t.thread() < 32) {
      t.sync();
    } else {
      t.sync();
    }
  };
  EXPECT_THROW(run(two_barriers, 1, 64), Violation);
}

TEST_P(EmulatorTest, DivergenceAtAShuffleIsAnError) {
  const auto one_missing = [](Thread& t) {
    if (t.thread() != 3) t.shuffle_xor(1, 1);
    t.sync();
  };
  EXPECT_THROW(run(one_missing, 1, 32), Violation);
  const auto two_kinds = [](Thread& t) {
    if (t.thread() % 2 == 0) {
      t.shuffle_xor(1, 1);
    } else {
      t.ballot(true);
    }
  };
  EXPECT_THROW(run(two_kinds, 1, 32), Violation);
}

TEST_P(EmulatorTest, AnExceptionInAThreadReachesTheCaller) {
  const auto body = [](Thread& t) {
    t.sync();
    if (t.thread() == 5) throw std::out_of_range("five");
    t.sync();
  };
  EXPECT_THROW(run(body, 1, 32), std::out_of_range);
}

TEST_P(EmulatorTest, BlocksAreWholeWarps) {
  EXPECT_THROW(run([](Thread&) {}, 1, 33), Violation);
  EXPECT_THROW(run([](Thread&) {}, 1, 0), Violation);
}

// A write beside an array dies at once under AddressSanitizer, and is found by the guard words
// without it.
#ifdef __SANITIZE_ADDRESS__
#define EXPECT_STRAY_WRITE_CAUGHT(statement) EXPECT_DEATH(statement, "AddressSanitizer")
#else
#define EXPECT_STRAY_WRITE_CAUGHT(statement) EXPECT_THROW(statement, Violation)
#endif

TEST_P(EmulatorTest, AStrayWriteIsCaught) {
  const auto past_shared = [](Thread& t) {
    if (t.thread() == 31) ints(t)[t.thread() + 1] = 0;
  };
  EXPECT_STRAY_WRITE_CAUGHT(run(past_shared, 1, 32, 32 * sizeof(int)));
  const Guarded<float> array(std::vector<float>(5, 1.0f));
  const auto behind = [&](Thread& t) {
    if (t.thread() < 6) array.data()[t.thread()] = 2;
  };
  EXPECT_STRAY_WRITE_CAUGHT({
    run(behind, 1, 32);
    array.read();
  });
}

INSTANTIATE_TEST_SUITE_P(Orders, EmulatorTest, testing::ValuesIn(kOrders));

TEST(Emulator, ARemovedBarrierShowsInSomeOrder) {
  // Reverses a block's numbers through shared memory; without its barrier, in some order a thread
  // reads too early.
  const auto reverse = [](bool with_barrier, Order order) {
    std::vector<int> out(64);
    run_blocks(
        [&](Thread& t) {
          ints(t)[t.thread()] = t.thread();
          if (with_barrier) t.sync();
          out[t.thread()] = ints(t)[63 - t.thread()];
        },
        1, 64, 64 * sizeof(int), order);
    for (int i = 0; i < 64; ++i) {
      if (out[i] != 63 - i) return false;
    }
    return true;
  };
  // A race that the ascending order hides: each thread reads what an earlier one wrote.
  const auto from_below = [](Order order) {
    std::vector<int> out(64);
    run_blocks(
        [&](Thread& t) {
          ints(t)[t.thread()] = t.thread();
          out[t.thread()] = ints(t)[t.thread() / 2];
        },
        1, 64, 64 * sizeof(int), order);
    for (int i = 0; i < 64; ++i) {
      if (out[i] != i / 2) return false;
    }
    return true;
  };
  int right = 0, racy = 0, hidden = 0;
  for (const Order& order : kOrders) {
    right += reverse(true, order);
    racy += !reverse(false, order);
    hidden += !from_below(order);
  }
  EXPECT_EQ(right, 4);
  EXPECT_EQ(racy, 4);
  EXPECT_EQ(hidden, 3);
  EXPECT_TRUE(from_below(kOrders[0]));
}

TEST(Emulator, AWarpRunsAheadOfTheOthers) {
  // Each warp reads what warp 0 wrote; without a barrier behind the reading, warp 0 may write the
  // next round's first.
  const auto broadcast = [](bool with_barrier, Order order) {
    bool right = true;
    run_blocks(
        [&](Thread& t) {
          for (int round = 0; round < 2; ++round) {
            const uint32_t votes = t.ballot(round == 1);
            if (t.thread() == 0) *ints(t) = Thread::count_bits(votes);
            if (round == 0 || with_barrier) t.sync();
            if (round == 0 && *ints(t) != 0) right = false;
            if (with_barrier) t.sync();
          }
        },
        1, 96, sizeof(int), order);
    return right;
  };
  int caught = 0;
  for (const Order& order : kOrders) {
    EXPECT_TRUE(broadcast(true, order));
    caught += !broadcast(false, order);
  }
  EXPECT_GE(caught, 1);
}

/// Writes ones from `first` on.
struct OnesKernel {
  static constexpr const char* kName = "ones";
  static constexpr int kThreads = 32;
  float* to;
  int64_t first, end;

  template <class AnyThread>
  void operator()(AnyThread& t) const {
    if (first + t.thread() < end) to[first + t.thread()] = 1;
  }
};

TEST(EmulatedMachine, MemoryIsPoisonedAndStrayWritesAreCaught) {
  EmulatedMachine machine;
  const Buffer<float> array(machine, 7);
  for (const float v : array.read()) EXPECT_TRUE(std::isnan(v));
  machine(OnesKernel{array.data(), 0, 7}, 1, 0);
  EXPECT_EQ(array.read(), std::vector<float>(7, 1.0f));
  array.clear();
  EXPECT_EQ(array.read(), std::vector<float>(7, 0.0f));
  EXPECT_STRAY_WRITE_CAUGHT(machine(OnesKernel{array.data(), 3, 8}, 1, 0));
#ifndef __SANITIZE_ADDRESS__
  EXPECT_STRAY_WRITE_CAUGHT(machine(OnesKernel{array.data(), -1, 2}, 1, 0));
#endif
}

TEST(EmulatedMachine, ABatchTravelsWhileTheOneBeforeIsThere) {
  EmulatedMachine machine;
  const auto ring = machine.input_ring(sizeof(float));
  *static_cast<float*>(ring->host()) = 3;
  const auto* first = static_cast<const float*>(ring->send());
  *static_cast<float*>(ring->host()) = 4;
  const auto* second = static_cast<const float*>(ring->send());
  EXPECT_EQ(*first, 3);
  EXPECT_EQ(*second, 4);
  EXPECT_TRUE(
      std::isnan(*static_cast<float*>(ring->host())));  // nobody may count on what was there
}

TEST(EmulatedMachine, CountsTheHostsWaits) {
  EmulatedMachine machine;
  const Buffer<float> array(machine, std::vector<float>(3));
  const auto ring = machine.input_ring(sizeof(float));
  const auto reading = machine.reading(array.data(), sizeof(float));
  EXPECT_EQ(machine.waits(), 1);  // the upload
  ring->host();
  ring->send();
  machine(OnesKernel{array.data(), 0, 3}, 1, 0);
  reading->request();
  while (!reading->arrived()) {
  }
  reading->wait();
  EXPECT_EQ(machine.waits(), 1);
  reading->request();
  reading->wait();
  array.read();
  EXPECT_EQ(machine.waits(), 3);
}

}  // namespace
}  // namespace assay::emulator
