// Timed by events around each call, after two that warm up; steps follow one another without a
// pause, each timed from the end of the one before, with its batch travelling from pinned memory
// while the one before is worked on. The floor of a step: the bf16 product alone, the fastest over
// three tile sizes, its output overwritten; plus Adam's memory traffic alone (24 bytes a parameter
// over both matrices), by a kernel that does nothing else.
#include <algorithm>
#include <functional>
#include <random>

#include "kernels/cuda/cuda_machine.cuh"
#include "kernels/cuda/device_bench.h"
#include "kernels/cuda/topk.cuh"
#include "kernels/cuda/topk_step.cuh"

namespace assay {

namespace {

/// Adam with a constant gradient: the traffic and nothing else.
struct AdamStreamKernel {
  static constexpr const char* kName = "floor: Adam streaming";
  static constexpr int kThreads = 256;
  float *p, *m, *v;
  int64_t count;

  template <class Thread>
  ASSAY_DEVICE void operator()(Thread& t) const {
    const int64_t i = t.block() * kThreads + t.thread();
    if (i < count) adam_step({1e-9f, 0.9f, 0.999f, 1e-8f, 1.0f}, 1e-6f, p[i], m[i], v[i]);
  }
};

class Clock {
 public:
  explicit Clock(cudaStream_t stream) : stream_(stream) {}
  ~Clock() {
    for (cudaEvent_t e : events_) cudaEventDestroy(e);
  }
  void tick() {
    events_.push_back(nullptr);
    check_cuda(cudaEventCreate(&events_.back()), "event");
    check_cuda(cudaEventRecord(events_.back(), stream_), "event");
  }
  /// Milliseconds between ticks a and b.
  double between(size_t a, size_t b) const {
    check_cuda(cudaEventSynchronize(events_[b]), "wait");
    float ms = 0;
    check_cuda(cudaEventElapsedTime(&ms, events_[a], events_[b]), "event");
    return ms;
  }

 private:
  cudaStream_t stream_;
  std::vector<cudaEvent_t> events_;
};

std::vector<float> random_values(int64_t count, uint64_t seed, float scale) {
  std::mt19937 engine(static_cast<uint32_t>(seed));
  std::vector<float> values(count);
  for (float& v : values) v = scale * (static_cast<float>(engine() >> 8) * 0x1p-23f - 1);
  return values;
}

/// Not zeros: what a multiplier burns, and so its clock, depends on the bits that flip.
std::vector<bf16> random_bf16(int64_t count, uint64_t seed) {
  const std::vector<float> values = random_values(count, seed, 1);
  std::vector<bf16> rounded(count);
  std::transform(values.begin(), values.end(), rounded.begin(), [](float v) { return to_bf16(v); });
  return rounded;
}

class Bench {
 public:
  explicit Bench(const DeviceBenchOptions& o) : o_(o) {}

  DeviceBenchResult run() {
    DeviceBenchResult result;
    int device = 0;
    cudaDeviceProp about{};
    check_cuda(cudaGetDevice(&device), "device");
    check_cuda(cudaGetDeviceProperties(&about, device), "device");
    result.device = about.name;
    result.copied_gb_per_s = copy_bandwidth();
    if (o_.what == "step") {
      result.timings.push_back(step());
      result.timings.push_back(product());
      result.timings.push_back(adam());
    } else if (o_.what == "topk") {
      result.timings.push_back(selection());
    } else {
      result.timings.push_back(operation());
    }
    return result;
  }

 private:
  Timing time_it(const std::string& name, const std::function<void()>& body, double bytes = 0) {
    std::vector<double> ms;
    for (int64_t r = -2; r < o_.repeats; ++r) {
      Clock clock(machine_.stream());
      clock.tick();
      body();
      clock.tick();
      if (r >= 0) ms.push_back(clock.between(0, 1));
    }
    return summarise(name, ms, bytes);
  }

  double copy_bandwidth() {
    constexpr int64_t kBytes = int64_t{1} << 29;
    const Buffer<char> from(machine_, kBytes), to(machine_, kBytes);
    from.clear();
    const Timing t = time_it("copy", [&] {
      check_cuda(cudaMemcpyAsync(to.data(), from.data(), kBytes, cudaMemcpyDeviceToDevice,
                                 machine_.stream()),
                 "copy");
    });
    return 2.0 * kBytes / t.ms * 1e-6;
  }

  std::vector<float> rows(uint64_t seed) const {
    return random_values(o_.rows * o_.d, seed, std::sqrt(3.0f / static_cast<float>(o_.d)));
  }
  std::vector<float> weights(uint64_t seed) const {
    return random_values(o_.n * o_.d, seed, std::sqrt(3.0f / static_cast<float>(o_.d)));
  }

  Timing step() {
    constexpr int64_t kDeadAfter = int64_t{1} << 30;
    const double aux = o_.dead > 0 ? 1.0 / 32 : 0;
    const TopKStepOptions options{
        o_.rows, o_.n, o_.d, o_.k, std::clamp<int64_t>(o_.d / 2, 1, o_.n), aux, kDeadAfter};
    check_topk_step(options);
    TopKStepOn<DeviceMachine> step(machine_, options);
    {
      std::vector<float> w = weights(1), zeros(o_.n * o_.d), b(o_.n), bm(o_.n), bv(o_.n), c(o_.d),
                         cm(o_.d), cv(o_.d);
      std::vector<float> w_m = zeros, w_v = zeros, d_m = zeros, d_v = zeros, dec = w;
      std::vector<int64_t> silent(o_.n);
      for (int64_t j = 0; j < static_cast<int64_t>(o_.dead * static_cast<double>(o_.n)); ++j) {
        silent[j] = kDeadAfter;
        for (int64_t i = 0; i < o_.d; ++i) w[j * o_.d + i] *= 1e-3f;  // too short ever to win
      }
      step.upload({{w.data(), w_m.data(), w_v.data()},
                   {dec.data(), d_m.data(), d_v.data()},
                   {b.data(), bm.data(), bv.data()},
                   {c.data(), cm.data(), cv.data()},
                   silent.data(),
                   0});
    }
    Clock clock(machine_.stream());
    const std::vector<float> batches[] = {rows(2), rows(3)};
    for (int64_t r = -3; r < o_.repeats; ++r) {
      if (r < -1)
        std::copy(batches[r + 3].begin(), batches[r + 3].end(),
                  step.input().data);  // then they alternate
      step.run(1e-5);
      clock.tick();
    }
    std::vector<double> ms;
    for (int64_t r = 0; r < o_.repeats; ++r) ms.push_back(clock.between(r + 2, r + 3));
    const TopKStepReport report = step.report();
    if (report.bad_step >= 0) throw Error("bench: a step on random data was not finite");
    return summarise("step", ms);
  }

  Timing product() {
    const int64_t width = padded_depth(o_.d), rows = std::min<int64_t>(o_.rows, 4096);
    const Buffer<bf16> x(machine_, random_bf16(o_.rows * width, 6)),
        w(machine_, random_bf16(o_.n * width, 7));
    Timing best;
    for (const int64_t bytes :
         {machine_.tile_bytes(), 4 * machine_.tile_bytes(), 16 * machine_.tile_bytes()}) {
      const int64_t latents =
          std::clamp<int64_t>(bytes / (4 * rows) / 64 * 64, std::min<int64_t>(64, o_.n), o_.n);
      const Buffer<float> out(machine_, rows * latents);
      const Timing t = time_it("floor: bf16 product", [&] {
        for (int64_t i = 0; i < o_.rows; i += rows) {
          for (int64_t j = 0; j < o_.n; j += latents) {
            machine_.product(x.data() + i * width, std::min(rows, o_.rows - i),
                             w.data() + j * width, std::min(latents, o_.n - j), width, out.data());
          }
        }
      });
      if (best.name.empty() || t.ms < best.ms) best = t;
    }
    return best;
  }

  Timing adam() {
    const int64_t count = 2 * o_.n * o_.d;
    const Buffer<float> p(machine_, count), m(machine_, count), v(machine_, count);
    for (const auto* buffer : {&p, &m, &v}) buffer->clear();
    const int64_t blocks = (count + AdamStreamKernel::kThreads - 1) / AdamStreamKernel::kThreads;
    return time_it(
        "floor: Adam streaming",
        [&] {
          machine_(AdamStreamKernel{p.data(), m.data(), v.data(), count}, blocks, 0);
        },
        24.0 * static_cast<double>(count));
  }

  Timing selection() {
    const Buffer<float> z(machine_, random_values(o_.rows * o_.n, 4, 1)),
        values(machine_, o_.rows * o_.k);
    const Buffer<int32_t> indices(machine_, o_.rows * o_.k);
    const Buffer<long long> bad(machine_, 1);
    return time_it(
        "topk",
        [&] {
          machine_(TopkKernel{{z.data(), o_.rows, o_.n},
                              o_.k,
                              false,
                              indices.data(),
                              values.data(),
                              bad.data()},
                   o_.rows, sizeof(TopkKernel::Shared));
        },
        4.0 * static_cast<double>(o_.rows) * static_cast<double>(o_.n));
  }

  /// One operation of the step, on what an encoding has left.
  Timing operation() {
    const int64_t pairs = o_.rows * o_.k;
    const Buffer<float> x(machine_, rows(2)), g(machine_, rows(3)), values(machine_, pairs),
        d_values(machine_, pairs);
    const ParameterOn enc(machine_, o_.n, o_.d), bias(machine_, 1, o_.n);
    start(enc, weights(1));
    start(bias, std::vector<float>(o_.n));
    const ScreenCopyOn copy(machine_, o_.n, o_.d);
    const Buffer<int32_t> indices(machine_, pairs);
    const long long none = NumericFlag::kNone;
    const Buffer<long long> bad(machine_, &none, 1);
    std::vector<int64_t> offsets(o_.rows + 1);
    for (int64_t i = 0; i <= o_.rows; ++i) offsets[i] = i * o_.k;
    const Buffer<int64_t> row_offsets(machine_, offsets);
    const Matrix batch(x.data(), o_.rows, o_.d), gradient(g.data(), o_.rows, o_.d),
        w = enc.view().value;
    copy.refresh(machine_, w);
    EncodeTopkOn<DeviceMachine> encoder(machine_, o_.rows, o_.n, o_.d, o_.k);
    const auto encode = [&] {
      encoder.run({w, bias.value.data(), copy.view()}, batch, nullptr, batch, {}, true,
                  indices.data(), values.data(), {bad.data()});
    };
    encode();
    if (o_.what == "encode_topk") return time_it("encode_topk", encode);
    if (o_.what == "sparse_decode") {
      const SparseDecodeKernel kernel{
          row_offsets.data(), indices.data(), values.data(), w, nullptr, gradient};
      return time_it("sparse_decode",
                     [&] { machine_(kernel, o_.rows, sizeof(SparseDecodeKernel::Shared)); });
    }
    const ValueGradientKernel kernel{row_offsets.data(), indices.data(), values.data(), gradient, w,
                                     d_values.data()};
    const auto differentiate = [&] { machine_(kernel, o_.rows, 0); };
    if (o_.what == "value_gradient") return time_it("value_gradient", differentiate);
    differentiate();
    return update(
        batch, gradient, enc.view(), bias.view(), copy.view(),
        {row_offsets.data(), indices.data(), values.data(), d_values.data(), d_values.data()});
  }

  Timing update(ConstMatrix x, ConstMatrix g, const DeviceParameter& enc,
                const DeviceParameter& bias, const DeviceCopy& copy, const PairSource& pairs) {
    const ParameterOn dec(machine_, o_.n, o_.d);
    start(dec, weights(5));
    const Buffer<float> parts(machine_, center_parts_of(o_.n) * o_.d), center(machine_, o_.d);
    SortByLatentOn<DeviceMachine> sort(machine_, o_.n, o_.rows * o_.k);
    const DeviceUpdate u{g,
                         x,
                         sort.sorted(),
                         nullptr,
                         enc,
                         dec.view(),
                         bias,
                         copy,
                         {{1e-7f, 0.9f, 0.999f, 1e-8f, 1.0f}},
                         parts.data(),
                         center.data()};
    return time_it(
        "backward_update",
        [&] {
          sort.run(pairs, o_.rows);
          launch_backward_update(machine_, u);
        },
        24.0 * 2 * static_cast<double>(o_.n * o_.d));
  }

  /// With moments of zero.
  static void start(const ParameterOn& parameter, const std::vector<float>& values) {
    parameter.value.upload(values.data());
    parameter.m.clear();
    parameter.v.clear();
  }

  DeviceBenchOptions o_;
  DeviceMachine machine_;
};

}  // namespace

DeviceBenchResult bench_device(const DeviceBenchOptions& options) { return Bench(options).run(); }

}  // namespace assay
