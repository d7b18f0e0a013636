#include "sae/plan.h"

#include <algorithm>

#include "kernels/narrow_moments.h"
#include "sae/metrics_log.h"
#include "sae/tensorboard.h"

namespace assay::sae {

namespace {

constexpr int64_t kSample = 1 << 15;  // rows that initialising looks at
constexpr int64_t kJsonLine = 230;    // bytes of a line of metrics.jsonl, about

int64_t sum(const std::vector<PlanItem>& items) {
  int64_t total = 0;
  for (const PlanItem& item : items) total += item.bytes;
  return total;
}

/// Of both moments of n latents: W_enc's and W_dec's as stored, the biases' in fp32.
int64_t moments_bytes(const PlanInput& in, int64_t n) {
  return 2 * n * moment_bytes(parse_moment_type(in.train.optimizer_state), in.d) + 8 * (n + in.d);
}

int64_t state_bytes(const PlanInput& in, int64_t parameters, int64_t n) {
  return (in.train.ema > 0 ? 8 : 4) * parameters + moments_bytes(in, n) + 8 * n;
}

std::vector<PlanItem> resident_items(const PlanInput& in, int64_t parameters, int64_t n) {
  const int64_t rows = in.train.step_rows(), d = in.d;
  const bool aux = in.train.aux_coefficient > 0;
  const int64_t pairs = rows * (in.model.k + (aux ? in.train.aux_k : 0));
  std::vector<PlanItem> items{{"parameters and Adam's moments", 4 * parameters + moments_bytes(in, n)},
                              {"running average of the weights", in.train.ema > 0 ? 4 * parameters : 0},
                              {"bf16 copy for screening", (n + 31) / 32 * 32 * (d + d % 2) * 2 + 16 * n},
                              {"rows of a step, their errors and gradients", (aux ? 6 : 4) * 4 * rows * d},
                              {"active pairs", 24 * pairs}};
  // A lane holds two windows, and no more of a window than there is data.
  const int64_t windows = in.data.lanes * in.data.window_chunks * in.chunk_bytes;
  items.push_back({"stream windows", 2 * std::min(windows, in.stored_bytes)});
  items.push_back({"columns of the data set", 9 * in.rows});
  return items;
}

}  // namespace

int64_t Plan::peak() const {
  int64_t most = 0;
  for (const PlanItem& item : transient) most = std::max(most, item.bytes);
  return sum(resident) + most;
}

int64_t Plan::disk_bytes() const { return sum(disk); }

Plan plan_run(const PlanInput& in) {
  Plan plan;
  const TrainConfig& t = in.train;
  const int64_t n = (in.model.n + in.ranks - 1) / in.ranks, d = in.d, rows = t.step_rows();
  const int64_t own = 2 * n * d + n + d;
  plan.parameters = 2 * in.model.n * d + in.model.n + d;
  plan.steps = t.steps;
  plan.rows_a_step = rows;
  plan.tokens = t.steps * rows;
  if (in.rows_per_epoch > 0) plan.epochs = static_cast<double>(plan.tokens) / static_cast<double>(in.rows_per_epoch);
  plan.resident = resident_items(in, own, n);
  plan.transient = {{"sample that the weights start from", 4 * d * ((kSample + rows - 1) / rows) * rows},
                    {"writing a checkpoint", 2 * state_bytes(in, own, n)}};
  plan.aux_at_most = {"AuxK's copy of the dead latents, were all dead", t.aux_coefficient > 0 ? 6 * n * d : 0};
  const int64_t kept = t.keep_checkpoints + 1 + (t.keep_every > 0 ? t.steps / t.keep_every : 0);
  const int64_t lines = (t.steps + t.log_every - 1) / t.log_every;
  const auto event = static_cast<int64_t>(tf_record(scalar_event(0, t.steps, scalars_of({}))).size());
  plan.disk = {{"checkpoints kept, and one being written", kept * state_bytes(in, plan.parameters, in.model.n)},
               {"dictionary", 4 * plan.parameters},
               {"metrics.jsonl and TensorBoard events", lines * (kJsonLine + (t.tensorboard ? event : 0))}};
  const int64_t others = in.ranks - 1;
  plan.received = 8 * rows * in.model.k * others + 8 * rows * d * others / in.ranks;
  return plan;
}

const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> gpus{
      {"a100", 312e12, 2.039e12, 80e9}, {"h100", 989e12, 3.35e12, 80e9}, {"h200", 989e12, 4.8e12, 141e9}};
  return gpus;
}

double modelled_seconds(const PlanInput& in, const Gpu& gpu) {
  const auto rows = static_cast<double>(in.train.step_rows()), d = static_cast<double>(in.d);
  const double n = static_cast<double>(in.model.n) / static_cast<double>(in.ranks);
  const auto moments = static_cast<double>(moment_bytes(parse_moment_type(in.train.optimizer_state), in.d));
  const double bytes = 2 * n * (8 * d + 2 * moments) + 16 * rows * static_cast<double>(in.model.k) * d;
  return 2 * rows * d * n / (0.5 * gpu.flops) + bytes / (0.8 * gpu.bandwidth);
}

}  // namespace assay::sae
