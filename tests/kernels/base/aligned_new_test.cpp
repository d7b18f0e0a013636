#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

// A sanitizer brings its own operator new, which aborts where ours throws.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
namespace assay {
namespace {

TEST(AlignedNew, LargeVectorsStartAtACacheLine) {
  for (const size_t floats : {1024, 1025, 40'000, 3'000'000}) {
    const std::vector<float> values(floats);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(values.data()) % 64, 0u) << floats;
  }
}

TEST(AlignedNew, ImpossibleSizesAreRefused) {
  size_t huge = SIZE_MAX / 2;
  EXPECT_ANY_THROW(std::vector<char>{}.reserve(huge));
}

}  // namespace
}  // namespace assay
#endif
