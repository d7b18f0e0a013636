// Files of tensors, damaged at random: whatever happens, it is a value or an Error.
// ASSAY_FUZZ_MUTATIONS says how many; the seeds are fixed.
#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "data/npz.h"
#include "data/pickle.h"
#include "data/safetensors.h"
#include "data/tensor_formats.h"
#include "data/torch_file.h"
#include "tests/data/archive_support.h"

namespace assay::data {
namespace {

using testing::deflated;
using testing::p_int;
using testing::p_name;
using testing::p_text;
using testing::p_tuple;
using testing::pickled;
using testing::RawEntry;
using testing::RawTensor;
using testing::write_bytes;
using testing::zip_of;

int mutations() {
  const char* text = std::getenv("ASSAY_FUZZ_MUTATIONS");
  return text != nullptr ? std::atoi(text) : 3000;
}

/// Changes a text in a few places.
class Mutator {
 public:
  explicit Mutator(uint32_t seed) : engine_(seed) {}
  size_t below(size_t n) { return n == 0 ? 0 : engine_() % n; }

  void damage(std::string& bytes) {
    for (size_t i = 1 + below(4); i > 0 && !bytes.empty(); --i) damage_once(bytes);
  }

 private:
  void damage_once(std::string& bytes) {
    const size_t at = below(bytes.size()),
                 count = 1 + below(std::min<size_t>(16, bytes.size() - at));
    switch (below(8)) {
      case 0:
        bytes[at] = static_cast<char>(engine_());
        break;
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
        break;
      case 2:
        put_number(bytes, at);
        break;
      case 3:
        bytes.erase(at, count);
        break;
      case 4:
        bytes.insert(at, bytes.substr(below(bytes.size()), count));
        break;
      case 5:
        bytes.replace(at, count, bytes.substr(below(bytes.size()), count));
        break;
      case 6:
        bytes.insert(at, count, static_cast<char>(engine_()));
        break;
      default:
        if (below(8) == 0) bytes.resize(at);
    }
  }
  /// A number at the edges of what its field holds.
  void put_number(std::string& bytes, size_t at) {
    const uint64_t edges[] = {0,
                              1,
                              0x7f,
                              0x80,
                              0xff,
                              0x7fff,
                              0xffff,
                              0x7fffffff,
                              0x80000000,
                              0xffffffff,
                              0x7fffffffffffffff,
                              0x8000000000000000,
                              ~uint64_t{0}};
    const size_t width = size_t{1} << below(4);
    const std::string number =
        testing::little(edges[below(std::size(edges))] + below(3) - 1, static_cast<int>(width));
    bytes.replace(at, std::min(width, bytes.size() - at), number.substr(0, bytes.size() - at));
  }

  std::mt19937 engine_;
};

/// Reads all there is. Only Errors may leave it.
int64_t read_everything(const std::filesystem::path& path) {
  int64_t read = 0;
  try {
    const TensorFile file = read_tensors(path);
    for (const auto& [name, tensor] : file.tensors) {
      try {
        if (tensor.is_float()) read += std::ssize(file.floats(name, tensor.shape));
        if (tensor.is_float() && tensor.shape.size() == 2)
          read += std::ssize(file.transposed(name, tensor.shape));
        if (tensor.dtype.front() == 'I') read += std::ssize(file.integers(name, tensor.shape));
      } catch (const Error& error) {
        EXPECT_STRNE(error.what(), "");
      }
    }
  } catch (const Error& error) {
    EXPECT_STRNE(error.what(), "");
  }
  return read;
}

/// The entries of an archive, to be damaged one by one and put together with true checksums.
std::vector<RawEntry> entries_of(const std::filesystem::path& file) {
  const ZipArchive archive(file);
  std::vector<RawEntry> entries;
  for (const ZipEntry& entry : archive.entries())
    entries.emplace_back(entry.name, archive.text(entry, 1 << 20));
  return entries;
}

class TensorFuzz : public ::testing::Test {
 protected:
  void SetUp() override {
    write_torch(tensors_, {{"k", 32}}, folder_ / "torch");
    write_npz(tensors_, folder_ / "npz");
    write_safetensors(tensors_, folder_ / "safetensors");
    write_bytes(folder_ / "packed",
                zip_of({deflated("a.npy", entries_of(folder_ / "npz")[1].packed), {"b.npy", ""}}));
    write_bytes(folder_ / "nested", zip_of(nested()));
  }

  /// Views, parameters, lists and values, which our writer does not make.
  static std::vector<RawEntry> nested() {
    RawTensor view, cube;
    view.shape = p_tuple({3, 2});
    view.strides = p_tuple({1, 3});
    cube.shape = p_tuple({1, 2, 2});
    cube.strides = p_tuple({0, 1, 3});
    cube.storage = p_name("torch", "IntStorage");
    const std::string parameter =
        p_name("torch._utils", "_rebuild_parameter") + "(" + view.pickle() + "\x88NtR";
    const std::string pickle =
        p_name("collections", "OrderedDict") + ")Rq\x01(" + p_text("a") + parameter + p_text("l") +
        "]q\x02(" + cube.pickle() + "}" + p_text("k") + "K\x05se" + p_text("s") +
        p_name("torch", "Size") + p_tuple({1, 2}) + "\x85R" + p_text("f") + "G" +
        std::string(8, '\1') + p_text("m") + "(NK\x01\x88l" + "u}" + p_text("v") + p_int(1) + "sb";
    return {{"n/data.pkl", pickled(pickle)},
            {"n/data/0", std::string(24, 'f')},
            {"n/byteorder", "little"}};
  }

  const support::TemporaryFolder folder_{"fuzz"};
  const std::vector<float> floats_{1, 2, 3, 4, 5, 6};
  const std::vector<int64_t> counts_{-7, 5};
  const std::map<std::string, TensorView> tensors_{
      {"weight", view_of(floats_, {2, 3})},
      {"counts", view_of(counts_)},
      {"scalar", {"F32", {}, floats_.data(), 4}},
      {"half", {"F16", {2, 2, 2}, floats_.data(), 16}}};
};

TEST_F(TensorFuzz, SeedsAreRead) {
  for (const char* seed : {"torch", "npz", "safetensors"})
    EXPECT_EQ(read_everything(folder_ / seed), 6 + 6 + 2 + 1 + 8) << seed;
  EXPECT_EQ(read_everything(folder_ / "nested"), 6 + 6 + 4);
}

TEST_F(TensorFuzz, DamagedFiles) {
  Mutator mutator(11);
  const auto file = folder_ / "damaged";
  const char* seeds[] = {"torch", "npz", "safetensors", "packed", "nested"};
  int64_t read = 0;
  for (int i = 0; i < mutations() / 2; ++i) {
    std::string bytes = support::bytes_of(folder_ / seeds[mutator.below(std::size(seeds))]);
    mutator.damage(bytes);
    write_bytes(file, bytes);
    read += read_everything(file);
    ASSERT_FALSE(HasFailure()) << "mutation " << i;
  }
  EXPECT_GT(read, 0);
}

TEST_F(TensorFuzz, DamagedEntriesWithTrueChecksums) {
  Mutator mutator(12);
  const auto file = folder_ / "damaged";
  const std::vector<RawEntry> seeds[] = {entries_of(folder_ / "torch"), entries_of(folder_ / "npz"),
                                         nested()};
  int64_t read = 0;
  for (int i = 0; i < mutations() / 2; ++i) {
    std::vector<RawEntry> entries = seeds[mutator.below(std::size(seeds))];
    RawEntry& damaged_one = entries[mutator.below(2) * mutator.below(entries.size())];
    mutator.damage(damaged_one.packed);
    damaged_one = mutator.below(4) == 0 ? deflated(damaged_one.name, damaged_one.packed)
                                        : RawEntry(damaged_one.name, damaged_one.packed);
    write_bytes(file, zip_of(entries));
    read += read_everything(file);
    ASSERT_FALSE(HasFailure()) << "mutation " << i;
  }
  EXPECT_GT(read, 0);
}

}  // namespace
}  // namespace assay::data
