#include "data/base/memory_room.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

class MemoryRoomTest : public testing::Test {
 protected:
  ~MemoryRoomTest() override { ::unsetenv("ASSAY_MEMORY_LIMIT"); }
};

TEST_F(MemoryRoomTest, ANumberTakesThePlaceOfWhatTheMachineHas) {
  ::setenv("ASSAY_MEMORY_LIMIT", "1000000000000000", 1);
  EXPECT_EQ(memory_room().bytes, 1'000'000'000'000'000);
  EXPECT_EQ(memory_room().limit, "ASSAY_MEMORY_LIMIT");
  ::setenv("ASSAY_MEMORY_LIMIT", "8GB", 1);
  EXPECT_THROW(memory_room(), UsageError);
}

TEST_F(MemoryRoomTest, WhatIsHeldAlreadyIsNotLeft) {
  ::setenv("ASSAY_MEMORY_LIMIT", "1000000000000000", 1);
  constexpr size_t kHeld = 100 << 20;
  const int64_t before = memory_left();
  // A mapping of its own: the allocator may hand out again what an earlier test gave back.
  void* held = ::mmap(nullptr, kHeld, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(held, MAP_FAILED);
  std::memset(held, 1, kHeld);
  EXPECT_LT(before, memory_room().bytes);
  EXPECT_GE(before - memory_left(), 90 << 20);  // a sanitizer's shadow comes on top
  ::munmap(held, kHeld);
}

TEST_F(MemoryRoomTest, TheMachineHasSome) {
  EXPECT_GT(memory_room().bytes, 0);
  EXPECT_GT(memory_left(), 0);
}

}  // namespace
}  // namespace assay::data
