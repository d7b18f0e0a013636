// assay bench: one operation or the whole optimiser step on random data, beside the floor measured
// in the same run.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "experiments/commands/commands.h"
#include "experiments/commands/print_json.h"
#include "kernels/backward_update.h"
#include "kernels/base/random.h"
#ifdef ASSAY_CUDA
#include "kernels/cuda/device_bench.h"
#endif
#include "kernels/base/error.h"
#include "kernels/base/timing.h"
#include "kernels/screening.h"
#include "kernels/sparse_backward.h"
#include "kernels/sparse_decode.h"
#include "sae/variants/variants.h"

namespace assay::commands {

namespace {

struct Options {
  std::string what = "step", device = "cpu";
  int64_t rows = 2048, d = 384, n = 6144, k = 32, repeats = 15;
  int threads = 0;
  double dead = 0;
  std::string optimizer_state = "fp32";
  bool json = false;
};

/// `repeats` timed calls after two that warm up.
Timing time_it(const std::string& name, int64_t repeats, const std::function<void(int64_t)>& body) {
  std::vector<double> ms;
  for (int64_t r = -2; r < repeats; ++r) {
    const auto start = std::chrono::steady_clock::now();
    body(r + 2);
    const double elapsed =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    if (r >= 0) ms.push_back(elapsed);
  }
  return summarise(name, ms);
}

/// Fresh batches a real run would bring: uniform directions with E‖x‖² = 1.
std::vector<std::vector<float>> batches(const Options& o) {
  std::vector<std::vector<float>> all(4, std::vector<float>(o.rows * o.d));
  for (size_t b = 0; b < all.size(); ++b) {
    Random random{0x62656e63, b};
    const double half_width = std::sqrt(3.0 / static_cast<double>(o.d));
    for (float& v : all[b])
      v = static_cast<float>(half_width * (static_cast<double>(random.next() >> 11) * 0x1p-52 - 1));
  }
  return all;
}

class Bench {
 public:
  explicit Bench(const Options& o)
      : o_(o),
        context_({Device::cpu, o.threads}),
        x_(batches(o)),
        variant_(make(o)),
        state_(variant_->create()),
        center_(o.d) {
    const ConstMatrix x(x_[0].data(), o.rows, o.d);
    variant_->initialise(context_, state_, 0, {x, x});
    encode();
    out_.resize(o.rows * o.d);
    value_gradient(context_, codes_, {x_[1].data(), o.rows, o.d}, state_.decoder(), d_values_);
  }

  std::vector<Timing> run() {
    std::vector<Timing> timings;
    const auto add = [&](const char* name, const std::function<void(int64_t)>& body) {
      if (o_.what == name) timings.push_back(time_it(name, o_.repeats, body));
    };
    add("encode_topk", [&](int64_t r) { encode(r); });
    add("sparse_decode", [&](int64_t) {
      sparse_decode(context_, codes_, state_.decoder(), state_.decoder_bias(),
                    {out_.data(), o_.rows, o_.d});
    });
    add("value_gradient", [&](int64_t) {
      value_gradient(context_, codes_, {x_[1].data(), o_.rows, o_.d}, state_.decoder(), d_values_);
    });
    add("backward_update", [&](int64_t) { update(); });
    if (o_.what == "step") {
      timings.push_back(step());
      timings.push_back(time_it("floor: bf16 product", o_.repeats, [&](int64_t) { product(); }));
      timings.push_back(
          time_it("floor: Adam streaming", o_.repeats, [&](int64_t) { adam_streaming(); }));
    }
    return timings;
  }

 private:
  static std::unique_ptr<sae::Variant> make(const Options& o) {
    sae::ModelConfig model;
    model.n = o.n;
    model.k = o.k;
    sae::TrainConfig train;
    train.optimizer_state = o.optimizer_state;
    train.dead_after_tokens = int64_t{1} << 60;
    return sae::make_variant({model, with_defaults(train, model, o.d), o.d, o.d, 1});
  }

  void encode(int64_t r = 0) {
    NumericFlag flag;
    encode_topk(context_, {x_[r % 4].data(), o_.rows, o_.d},
                {state_.encoder(), state_.encoder_bias(), &state_.screen}, o_.k, codes_, flag);
  }

  void update() {
    const ConstMatrix x(x_[0].data(), o_.rows, o_.d), g(x_[1].data(), o_.rows, o_.d);
    backward_update(context_, {&codes_, &d_values_, g, x}, state_.latents(),
                    {{1e-7f, 0.9f, 0.999f, 1e-8f, 1.0f}, true}, center_.data());
  }

  Timing step() {
    NumericFlag flag;
    return time_it("step", o_.repeats, [&](int64_t r) {
      const ConstMatrix x(x_[r % 4].data(), o_.rows, o_.d);
      variant_->step(context_, state_, {x, x}, 1e-5, flag);
    });
  }

  /// The screening product alone, its output overwritten: the arithmetic no TopK step can leave
  /// out.
  void product() {
    const ScreenCopy& copy = state_.screen;
    const Screen& screen = primitives(context_.isa()).screen;
    const int64_t tile = Screening::kTileRows, size = screen.panel_size(copy.pairs());
    context_.pool().run((o_.rows + tile - 1) / tile, [&](int64_t task, int) {
      const int64_t panels =
          (std::min(tile, o_.rows - task * tile) + screen.rows - 1) / screen.rows;
      const std::vector<uint32_t> x(panels * size, 0x3c003c00u);
      const std::vector<float> one(kScreenGroup, 1.0f),
          never(screen.rows, std::numeric_limits<float>::infinity());
      std::vector<float> scores(screen.rows * kScreenGroup);
      std::vector<uint32_t> hits(screen.rows);
      for (int64_t b = 0; b < copy.blocks(); b += 2) {
        for (int64_t panel = 0; panel < panels; ++panel) {
          screen.product(x.data() + panel * size, copy.block(b), copy.block(b + 1), copy.pairs(),
                         one.data(), one.data(), never.data(), scores.data(), hits.data());
        }
      }
    });
  }

  /// Reads and writes what Adam must: 24 bytes a parameter over both matrices, with moments in
  /// fp32.
  void adam_streaming() {
    const Primitives& p = primitives(context_.isa());
    const std::vector<float> gradient(o_.d, 1e-6f);
    sae::Parameter* const weights[] = {&state_.at("W_enc"), &state_.at("W_dec")};
    constexpr int64_t kRows = 64;
    context_.pool().run((o_.n + kRows - 1) / kRows, [&](int64_t task, int) {
      for (int64_t j = task * kRows; j < std::min(o_.n, (task + 1) * kRows); ++j) {
        for (sae::Parameter* w : weights) {
          const AdamStep adam{1e-9f, 0.9f, 0.999f, 1e-8f, 1.0f};
          float* const row = w->value.data() + j * o_.d;
          if (w->narrow.empty()) {
            p.adam(adam, gradient.data(), row, w->m.data() + j * o_.d, w->v.data() + j * o_.d,
                   o_.d);
          } else {
            w->narrow.step(p, adam, static_cast<uint64_t>(j), j, gradient.data(), row);
          }
        }
      }
    });
  }

  Options o_;
  Context context_;
  std::vector<std::vector<float>> x_;
  std::unique_ptr<sae::Variant> variant_;
  sae::State state_;
  SparseCodes codes_;
  std::vector<float> out_, d_values_, center_;
};

/// The first timing over the sum of the others: a step over its floors; 0 where there are none.
double over_floor(const std::vector<Timing>& timings) {
  double floor = 0;
  for (size_t i = 1; i < timings.size(); ++i) floor += timings[i].ms;
  return floor > 0 ? timings[0].ms / floor : 0;
}

/// What is known of the machine: a name and how fast it copies, where that was measured.
struct Where {
  std::string device;
  double copied_gb_per_s = 0;
};

void print_as_json(const Options& o, const Where& where, const std::vector<Timing>& timings) {
  nlohmann::json json{{"rows", o.rows}, {"d", o.d}, {"n", o.n}, {"k", o.k}, {"device", o.device}};
  json["optimizer_state"] = o.optimizer_state;
  if (where.copied_gb_per_s > 0) {
    json.update({{"device_name", where.device},
                 {"dead", o.dead},
                 {"copied_gb_per_s", where.copied_gb_per_s}});
  }
  for (const Timing& t : timings) {
    auto& entry = json["ms"][t.name] = {{"median", t.ms}, {"min", t.low}, {"max", t.high}};
    const double rate = t.bytes / t.ms * 1e-6;
    if (t.bytes > 0)
      entry.update({{"gb_per_s", rate}, {"share_of_copied", rate / where.copied_gb_per_s}});
  }
  if (const double ratio = over_floor(timings); ratio > 0) json["step_over_floor"] = ratio;
  print_json(json);
}

void print(const Options& o, const Where& where, const std::vector<Timing>& timings) {
  if (o.json) return print_as_json(o, where, timings);
  fmt::print("B {}  d {}  n {}  k {}  device {}  moments {}", o.rows, o.d, o.n, o.k, where.device,
             o.optimizer_state);
  if (where.copied_gb_per_s > 0) fmt::print("  (copies {:.0f} GB/s)", where.copied_gb_per_s);
  fmt::print("\n");
  const int digits = o.device == "cuda" ? 4 : 2;
  for (const Timing& t : timings) {
    fmt::print("{:<24} {:>9.{}f} ms  [{:.{}f}, {:.{}f}]", t.name, t.ms, digits, t.low, digits,
               t.high, digits);
    const double rate = t.bytes / t.ms * 1e-6;
    if (t.bytes > 0)
      fmt::print("  {:.0f} GB/s, {:.0f} % of a copy's", rate, 100 * rate / where.copied_gb_per_s);
    fmt::print("\n");
  }
  if (const double ratio = over_floor(timings); ratio > 0)
    fmt::print("{:<24} {:>9.2f}\n", "step / floor", ratio);
}

/// Times on a device are by its own events, in kernels/cuda/device_bench.cu.
void run_on_cuda([[maybe_unused]] const Options& o) {
  const Context available({Device::cuda, 1});  // says what is missing, where something is
#ifdef ASSAY_CUDA
  const DeviceBenchResult result = bench_device({o.what, o.rows, o.d, o.n, o.k, o.repeats, o.dead});
  print(o, {result.device, result.copied_gb_per_s}, result.timings);
#endif
}

void run(const Options& o) {
  if (o.k > o.n)
    throw UsageError(
        fmt::format("--k {} is larger than --latents {}: give at most that many", o.k, o.n));
  if (o.device == "cuda") {
    if (o.optimizer_state != "fp32")
      throw UsageError("bench: --device cuda has moments in fp32 only");
    if (o.threads != 0)
      throw UsageError("bench: --threads is the CPU's; leave it out with --device cuda");
    if (o.dead > 0 && o.what != "step") {
      throw UsageError(fmt::format("bench: --dead is of a step; leave it out for {}", o.what));
    }
    return run_on_cuda(o);
  }
  if (o.what == "topk" || o.dead != 0)  // NaN too, which passes every range
    throw UsageError("bench: topk and --dead are timed with --device cuda");
  print(o, {o.device}, Bench(o).run());
}

}  // namespace

void register_bench(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "bench", "Time one operation, or the whole step beside its floor, on random data.");
  command->footer(
      "Times are medians over the repeats, with the least and the most. The floor of a step is the "
      "bf16\n"
      "product alone plus Adam's memory traffic alone, taken in the same run. With --device cuda "
      "times are the\n"
      "device's own, and what memory bounds is compared with a copy within the device's memory.");
  command
      ->add_option(
          "operation", o->what,
          "step, encode_topk, sparse_decode, value_gradient, backward_update; on cuda also topk")
      ->check(CLI::IsMember(
          {"step", "topk", "encode_topk", "sparse_decode", "value_gradient", "backward_update"}));
  command->add_option("--rows", o->rows, "Rows B of a batch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--dims", o->d, "Dimensions d")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--latents", o->n, "Latents n")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--k", o->k, "Latents a row")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--repeats", o->repeats, "Timed calls")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command->add_option("--threads", o->threads, "Compute threads on cpu; 0 = all processors")
      ->check(CLI::Range(0, 1024));
  command->add_option("--device", o->device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->capture_default_str();
  command
      ->add_option("--dead", o->dead,
                   "Share of latents that are dead in a cuda step, which AuxK then takes up")
      ->check(CLI::Range(0.0, 1.0));
  command
      ->add_option("--optimizer-state", o->optimizer_state,
                   "Adam's moments of the matrices: fp32, bf16 or 8bit")
      ->check(CLI::IsMember({"fp32", "bf16", "8bit"}))
      ->capture_default_str();
  command->add_flag("--json", o->json, "Print the timings as JSON on stdout");
  command->callback([o] { run(*o); });
}

}  // namespace assay::commands
