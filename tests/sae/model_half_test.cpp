// The exported halves against the eager, uncut model (model_half_reference.py), and what is
// refused.
#include "sae/model_half.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <nlohmann/json.hpp>
#include <thread>

#include "kernels/base/error.h"

namespace assay::sae {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

const fs::path kRepo = ASSAY_REPOSITORY;

std::string read_file(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void run_python(const std::string& arguments) {
  const std::string command =
      fmt::format("'{}' {}", (kRepo / ".venv/bin/python").string(), arguments);
  EXPECT_EQ(std::system(command.c_str()), 0)
      << command;  // an ASSERT in a suite's set-up would skip its tests
}

std::string message_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return "nothing was thrown";
}

/// The cached halves and one ragged batch.
class ModelHalf : public testing::Test {
 protected:
  static constexpr int64_t kBatch = 3, kLength = 7, kD = 384;

  static void SetUpTestSuite() {
    std::string name = (fs::temp_directory_path() / "assay-half-XXXXXX").string();
    scratch_ = mkdtemp(name.data());
    run_python(fmt::format("'{}' > '{}'", (kRepo / "tests/sae/model_half_cache.py").string(),
                           (scratch_ / "cache").string()));
    std::ifstream in(scratch_ / "cache");
    std::string folder, trust;
    std::getline(in, folder), std::getline(in, trust);
    folder_ = folder;
    setenv("ASSAY_TRUST_FILE", trust.c_str(), 1);
    make_inputs();
  }
  static void TearDownTestSuite() { fs::remove_all(scratch_); }

  static void make_inputs() {
    ids_.resize(kBatch * kLength), mask_.resize(ids_.size());
    residual_.resize(ids_.size() * kD), d_out_.resize(kBatch * kD);
    hidden_.resize(residual_.size()), embedding_.resize(d_out_.size()),
        gradient_.resize(residual_.size());
    const std::array<int64_t, kBatch> lengths = {7, 4, 1};
    for (size_t i = 0; i < ids_.size(); ++i) {
      ids_[i] = 1000 + static_cast<int64_t>(i * 997) % 20000;
      mask_[i] = static_cast<int64_t>(i % kLength) < lengths[i / kLength];
    }
    for (size_t i = 0; i < residual_.size(); ++i)
      residual_[i] = std::sin(0.7f * static_cast<float>(i));
    for (size_t i = 0; i < d_out_.size(); ++i) d_out_[i] = std::cos(1.3f * static_cast<float>(i));
  }

  static void ask_reference() {
    std::ofstream out(scratch_ / "input", std::ios::binary);
    const std::array<int64_t, 3> shape = {kBatch, kLength, kD};
    const auto put = [&](const auto& v) {
      out.write(reinterpret_cast<const char*>(v.data()),
                static_cast<std::streamsize>(v.size() * sizeof(v[0])));
    };
    put(shape), put(ids_), put(mask_), put(residual_), put(d_out_);
    out.close();
    run_python(fmt::format("'{}' '{}' '{}' 2> /dev/null",
                           (kRepo / "tests/sae/model_half_reference.py").string(),
                           (scratch_ / "input").string(), (scratch_ / "output").string()));
    const std::string bytes = read_file(scratch_ / "output");
    ASSERT_EQ(bytes.size(), 4 * (2 * residual_.size() + 2 * d_out_.size()));
    std::memcpy(hidden_.data(), bytes.data(), 4 * hidden_.size());
    std::memcpy(embedding_.data(), bytes.data() + 4 * hidden_.size(), 4 * embedding_.size());
    std::memcpy(gradient_.data(), bytes.data() + 4 * (hidden_.size() + embedding_.size()),
                4 * gradient_.size());
    trained_.resize(d_out_.size());
    std::memcpy(trained_.data(), bytes.data() + bytes.size() - 4 * trained_.size(),
                4 * trained_.size());
  }

  /// A copy of the folder whose manifest a test may spoil.
  static fs::path copy_with(const std::string& name, const std::function<void(json&)>& change) {
    const fs::path copy = scratch_ / name;
    fs::create_directories(copy);
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() == ".pt2" || entry.path().extension() == ".pt") {
        fs::create_symlink(fs::absolute(entry.path()), copy / entry.path().filename());
      }
    }
    json manifest = json::parse(read_file(folder_ / "manifest.json"));
    change(manifest);
    std::ofstream(copy / "manifest.json") << manifest.dump();
    return copy;
  }

  static void check_lower(const ModelFolder& folder);
  static void check_upper(const ModelFolder& folder);
  static void check_gradient(const ModelFolder& folder);
  static void check_training(const ModelFolder& folder);

  static double worst(const std::vector<float>& a, const std::vector<float>& b, bool tokens_only) {
    double most = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      if (!tokens_only || mask_[i / kD] != 0) most = std::max<double>(most, std::fabs(a[i] - b[i]));
    }
    return most;
  }

  static inline fs::path scratch_, folder_;
  static inline std::vector<int64_t> ids_, mask_;
  static inline std::vector<float> residual_, d_out_, hidden_, embedding_, gradient_, trained_;
};

void ModelHalf::check_lower(const ModelFolder& folder) {
  EXPECT_EQ(folder.d, kD);
  EXPECT_EQ(folder.hook(), "layer 4");
  for (const HalfKind kind : {HalfKind::compiled, HalfKind::script}) {
    std::vector<float> out(hidden_.size());
    load_lower_half(folder, kind, 1)->run(ids_.data(), mask_.data(), kBatch, kLength, out.data());
    EXPECT_LT(worst(out, hidden_, true), 5e-5) << static_cast<int>(kind);
  }
}

void ModelHalf::check_upper(const ModelFolder& folder) {
  for (const HalfKind kind : {HalfKind::compiled, HalfKind::script}) {
    std::vector<float> out(embedding_.size());
    load_upper_half(folder, kind, 1)
        ->run(residual_.data(), mask_.data(), kBatch, kLength, out.data());
    EXPECT_LT(worst(out, embedding_, false), 1e-5) << static_cast<int>(kind);
  }
}

void ModelHalf::check_gradient(const ModelFolder& folder) {
  std::vector<float> out(embedding_.size()), gradient(gradient_.size());
  load_upper_half(folder, HalfKind::script, 1)
      ->gradient(residual_.data(), mask_.data(), kBatch, kLength, d_out_.data(), out.data(),
                 gradient.data());
  EXPECT_LT(worst(out, embedding_, false), 1e-5);
  double size = 0;
  for (const float g : gradient_) size = std::max<double>(size, std::fabs(g));
  EXPECT_GT(size, 1e-3);
  EXPECT_LT(worst(gradient, gradient_, false), 1e-5 * std::max(1.0, size));  // at padding too: zero
}

void ModelHalf::check_training(const ModelFolder& folder) {
  const auto half = load_trainable_half(folder);
  const auto ascend = [](const float*, float* g) { std::copy(d_out_.begin(), d_out_.end(), g); };
  for (int i = 0; i < 3; ++i)
    half->step(residual_.data(), mask_.data(), kBatch, kLength, ascend, 1e-4);
  std::vector<float> out(embedding_.size());
  half->run(residual_.data(), mask_.data(), kBatch, kLength, out.data());
  // Adam divides by |gradient|: where that is rounding noise a weight may go the other way, by
  // 1e-4.
  const double moved = worst(trained_, embedding_, false);
  EXPECT_GT(moved, 1e-3);
  EXPECT_LT(worst(out, trained_, false), 0.02 * moved);
  load_upper_half(folder, HalfKind::script, 1)
      ->run(residual_.data(), mask_.data(), kBatch, kLength, out.data());
  EXPECT_LT(worst(out, embedding_, false), 1e-5) << "training changes its own copy alone";
}

TEST_F(ModelHalf, MatchesTheEagerModel) {  // one test: the reference takes seconds
  ask_reference();
  const ModelFolder folder = ModelFolder::open(folder_, false);
  check_lower(folder);
  check_upper(folder);
  check_gradient(folder);
  check_training(folder);
}

TEST_F(ModelHalf, CompiledHasNoGradient) {
  const auto half = load_upper_half(ModelFolder::open(folder_, false), HalfKind::compiled, 1);
  std::vector<float> out(embedding_.size()), gradient(gradient_.size());
  EXPECT_THROW(half->gradient(residual_.data(), mask_.data(), kBatch, kLength, d_out_.data(),
                              out.data(), gradient.data()),
               UsageError);
}

TEST_F(ModelHalf, RunsOnSeveralThreadsWithTheSameBits) {
  const ModelFolder folder = ModelFolder::open(folder_, false);
  for (const HalfKind kind : {HalfKind::compiled, HalfKind::script}) {
    const auto half = load_lower_half(folder, kind, 2);
    std::vector<std::vector<float>> out(4, std::vector<float>(hidden_.size()));
    std::vector<std::thread> threads;
    for (auto& mine : out) {
      threads.emplace_back([&] {
        for (int i = 0; i < 3; ++i)
          half->run(ids_.data(), mask_.data(), kBatch, kLength, mine.data());
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& mine : out)
      EXPECT_EQ(0, std::memcmp(mine.data(), out[0].data(), 4 * mine.size()));
  }
}

TEST_F(ModelHalf, RefusesUntrustedCodeUnlessVouchedFor) {
  const fs::path copy = copy_with("untrusted", [](json& m) { m["revision"] = "another"; });
  EXPECT_THAT(message_of([&] { ModelFolder::open(copy, false); }), HasSubstr("--trust-model-code"));
  EXPECT_EQ(ModelFolder::open(copy, true).revision, "another");
}

TEST_F(ModelHalf, RefusesAChangedFile) {
  const fs::path copy = copy_with("changed", [](json&) {});
  const std::string bytes = read_file(folder_ / "upper.ts.pt");
  fs::remove(copy / "upper.ts.pt");
  std::ofstream(copy / "upper.ts.pt", std::ios::binary) << bytes << "x";
  const ModelFolder folder = ModelFolder::open(copy, true);
  EXPECT_THAT(message_of([&] { load_upper_half(folder, HalfKind::script, 1); }),
              HasSubstr("SHA-256"));
  fs::remove(copy / "upper.ts.pt");
  EXPECT_THAT(message_of([&] { load_upper_half(folder, HalfKind::script, 1); }),
              HasSubstr("no such file"));
}

TEST_F(ModelHalf, RefusesAMisfit) {
  const fs::path copy = copy_with("misfit", [](json& m) { m["d"] = 768; });
  const ModelFolder folder = ModelFolder::open(copy, true);
  EXPECT_THAT(message_of([&] { load_lower_half(folder, HalfKind::script, 1); }),
              HasSubstr("does not fit"));
  EXPECT_NE(message_of([&] { load_upper_half(folder, HalfKind::script, 1); }),
            "nothing was thrown");
  const ModelFolder good = ModelFolder::open(folder_, false);
  EXPECT_NO_THROW(check_fit(good, 384, good.model, "layer 4", "set"));
  EXPECT_THAT(message_of([&] { check_fit(good, 768, good.model, "layer 4", "set"); }),
              HasSubstr("d is 768 there, 384 in"));
  EXPECT_THAT(message_of([&] { check_fit(good, 384, good.model, "layer 5", "set"); }),
              HasSubstr("'layer 5' there"));
  EXPECT_THAT(message_of([&] { check_fit(good, 384, "other", "layer 4", "set"); }),
              HasSubstr("'other' there"));
}

TEST_F(ModelHalf, RefusesAnotherMachineOrTorch) {
  const fs::path flags = copy_with("flags", [](json& m) { m["cpu_flags"].push_back("avx9000"); });
  EXPECT_THAT(
      message_of([&] { load_lower_half(ModelFolder::open(flags, true), HalfKind::compiled, 1); }),
      HasSubstr("avx9000"));
  EXPECT_NO_THROW(load_lower_half(ModelFolder::open(flags, true), HalfKind::script, 1));
  const fs::path torch = copy_with("torch", [](json& m) { m["torch_version"] = "1.0.0"; });
  EXPECT_THAT(
      message_of([&] { load_lower_half(ModelFolder::open(torch, true), HalfKind::compiled, 1); }),
      HasSubstr("torch 1.0.0"));
}

TEST_F(ModelHalf, RefusesBadManifests) {
  const auto refused = [&](const std::string& name, const std::function<void(json&)>& change) {
    const fs::path copy = copy_with(name, change);
    return message_of([&] { ModelFolder::open(copy, true); });
  };
  EXPECT_THAT(refused("m1", [](json& m) { m["d"] = -1; }), HasSubstr("manifest.json: d: expected"));
  EXPECT_THAT(refused("m2", [](json& m) { m["d"] = 1e300; }), HasSubstr("d: expected an integer"));
  EXPECT_THAT(refused("m3", [](json& m) { m.erase("layer"); }), HasSubstr("layer: expected"));
  EXPECT_THAT(refused("m4", [](json& m) { m["format_version"] = 2; }), HasSubstr("format_version"));
  EXPECT_THAT(refused("m5", [](json& m) { m["files"]["lower_script"]["name"] = "../x"; }),
              HasSubstr("within the folder"));
  EXPECT_THAT(refused("m6", [](json& m) { m = json::array(); }),
              HasSubstr("expected a JSON object"));
  EXPECT_THAT(refused("m7", [](json& m) { m["layer"] = 7; }), HasSubstr("layer: expected 0 to 6"));
  EXPECT_THAT(message_of([&] { ModelFolder::open(scratch_ / "none", true); }),
              HasSubstr("no such folder"));
}

TEST(CpuFlags, NamesWhatIsMissing) {
  const std::string cpuinfo = "vendor : x\nflags\t\t: fpu avx avx2 fma\nbugs : avx512f\n";
  EXPECT_THAT(missing_cpu_flags({"avx2", "fma"}, cpuinfo), testing::IsEmpty());
  EXPECT_THAT(missing_cpu_flags({"avx2", "avx512f"}, cpuinfo), testing::ElementsAre("avx512f"));
  EXPECT_THAT(missing_cpu_flags({"avx"}, ""), testing::ElementsAre("avx"));
}

}  // namespace
}  // namespace assay::sae
