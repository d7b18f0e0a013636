#include "sae/plan.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "data/base/memory_room.h"
#include "kernels/base/error.h"
#include "kernels/narrow_moments.h"
#include "sae/batch_source.h"
#include "sae/metrics_log.h"
#include "sae/tensorboard.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

// Bytes that an active pair takes with what encoding and the backward pass hold beside it, as
// measured: 22 to 47 where k are chosen, 58 to 92 where a penalty decides.
constexpr int64_t kChosenPair = 24, kPenalisedPair = 72;
constexpr int64_t kJsonLine = 230;  // bytes of a line of metrics.jsonl, about

int64_t sum(const std::vector<PlanItem>& items) {
  int64_t total = 0;
  for (const PlanItem& item : items) total += item.bytes;
  return total;
}

/// Elements of the parameters besides the common four, where a rank holds n of the latents.
int64_t own_elements(const Variant& variant, int64_t n) {
  int64_t total = 0;
  for (const auto& [name, shape] : variant.own_parameters()) {
    int64_t elements = shape.front() == variant.options().model.n ? n : shape.front();
    for (size_t axis = 1; axis < shape.size(); ++axis) elements *= shape[axis];
    total += elements;
  }
  return total;
}

int64_t elements(const Variant& variant, int64_t n) {
  const VariantOptions& o = variant.options();
  return n * (o.d_in + o.d_out + 1) + o.d_out + own_elements(variant, n);
}

/// W_enc's and W_dec's as stored, all others in fp32.
int64_t moments_bytes(const Variant& variant, int64_t n) {
  const VariantOptions& o = variant.options();
  const MomentType type = parse_moment_type(o.train.optimizer_state);
  return n * (moment_bytes(type, o.d_in) + moment_bytes(type, o.d_out)) +
         8 * (n + o.d_out + own_elements(variant, n));
}

int64_t state_bytes(const Variant& variant, int64_t n) {
  return (variant.options().train.ema > 0 ? 8 : 4) * elements(variant, n) +
         moments_bytes(variant, n) + 8 * n;
}

std::vector<PlanItem> resident_items(const PlanInput& in, const Variant& variant, int64_t n) {
  const VariantOptions& o = in.variant;
  const int64_t rows = o.train.step_rows(), d = o.d_in, parameters = elements(variant, n);
  const bool aux = o.train.aux_coefficient > 0;
  const int64_t pair =
      variant_entry(o.model.variant).takes_sparsity() ? kPenalisedPair : kChosenPair;
  const int64_t pairs =
      rows * (pair * variant.pairs_a_row() + (aux ? kChosenPair * o.train.aux_k : 0));
  // x and x − b_dec; y where it is another hook; the gradient of every reconstruction, the
  // residual, and AuxK's two.
  const int64_t targets =
      (in.data.target_hook.empty() ? 0 : 1) + variant.groups() + 1 + (aux ? 2 : 0);
  std::vector<PlanItem> items{
      {"parameters and Adam's moments", 4 * parameters + moments_bytes(variant, n)},
      {"running average of the weights", o.train.ema > 0 ? 4 * parameters : 0},
      {"start of the decoder, which a soft freeze keeps to",
       o.model.frozen == "soft_decoder" ? 4 * n * o.d_out : 0},
      {"bf16 copy for screening", (n + 31) / 32 * 32 * (d + d % 2) * 2 + 16 * n},
      {"rows of a step, their errors and gradients", 4 * rows * (2 * d + targets * o.d_out)},
      {"active pairs", pairs}};
  // A lane holds two windows, and no more of a window than there is data.
  const int64_t windows = in.data.lanes * in.window_chunks * in.chunk_bytes;
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
  const VariantOptions& o = in.variant;
  const TrainConfig& t = o.train;
  const auto variant = make_variant(o);
  const int64_t n = (o.model.n + in.ranks - 1) / in.ranks, rows = t.step_rows();
  const int64_t width = o.d_in + (in.data.target_hook.empty() ? 0 : o.d_out);
  plan.parameters = elements(*variant, o.model.n);
  plan.steps = t.steps;
  plan.rows_a_step = rows;
  plan.tokens = t.steps * rows;
  if (in.rows_per_epoch > 0)
    plan.epochs = static_cast<double>(plan.tokens) / static_cast<double>(in.rows_per_epoch);
  plan.resident = resident_items(in, *variant, n);
  plan.transient = {{"sample that the weights start from",
                     4 * width * ((kSampleTokens + rows - 1) / rows) * rows},
                    {"dictionary that is published", 4 * elements(*variant, n)}};
  plan.aux_at_most = {"AuxK's copy of the dead latents, were all dead",
                      t.aux_coefficient > 0 ? 6 * n * o.d_in : 0};
  const bool behind = t.checkpoint_every > 0 || t.checkpoint_minutes > 0 || t.keep_every > 0;
  plan.checkpoint_copy = {"copy of the state that a checkpoint is written from",
                          behind ? state_bytes(*variant, n) : 0};
  const int64_t kept = t.keep_checkpoints + 1 + (t.keep_every > 0 ? t.steps / t.keep_every : 0);
  const int64_t lines = (t.steps + t.log_every - 1) / t.log_every;
  const auto event =
      static_cast<int64_t>(tf_record(scalar_event(0, t.steps, scalars_of({}))).size());
  plan.disk = {
      {"checkpoints kept, and one being written", kept * state_bytes(*variant, o.model.n)},
      {"dictionary", 4 * plan.parameters},
      {"metrics.jsonl and TensorBoard events", lines * (kJsonLine + (t.tensorboard ? event : 0))}};
  const int64_t others = in.ranks - 1;
  plan.received = 8 * rows * o.model.row_k() * others + 8 * rows * o.d_out * others / in.ranks;
  return plan;
}

namespace {

/// Of runs in one process: all that they hold, and the largest of what they hold for a while.
int64_t peak_of(const std::vector<PlanInput>& runs) {
  int64_t resident = 0, transient = 0;
  for (const PlanInput& run : runs) {
    const Plan plan = plan_run(run);
    resident += sum(plan.resident);
    transient = std::max(transient, plan.peak() - sum(plan.resident));
  }
  return resident + transient;
}

/// Whether they fit after a change, which may be one that the variant cannot take.
template <class Change>
bool fit_after(std::vector<PlanInput> runs, int64_t room, const Change& change) {
  try {
    for (PlanInput& run : runs) change(run.variant);
    return peak_of(runs) <= room;
  } catch (const Error&) {
    return false;
  }
}

/// The settings that would fit, each alone.
std::string what_fits(const std::vector<PlanInput>& runs) {
  const int64_t room = data::memory_room().bytes;
  std::vector<std::string> ways;
  const auto try_way = [&](const std::string& way, const auto& change) {
    const bool fits = fit_after(runs, room, change);
    if (fits) ways.push_back(way);
    return fits;
  };
  int64_t most = 1;
  for (const PlanInput& run : runs) most = std::max(most, run.variant.model.n);
  for (int64_t n = most * 7 / 8; n >= 32; n = n * 7 / 8) {
    const int64_t round = n / 32 * 32;
    if (try_way(fmt::format("model.n = {}", round),
                [&](VariantOptions& o) { o.model.n = std::min(o.model.n, round); }))
      break;
  }
  for (int64_t batch = runs.front().variant.train.batch / 2; batch >= 16; batch /= 2) {
    if (try_way(fmt::format("train.batch = {}", batch),
                [&](VariantOptions& o) { o.train.batch = batch; }))
      break;
  }
  for (const char* moments : {"bf16", "8bit"}) {
    if (try_way(fmt::format("train.optimizer_state = {}", moments),
                [&](VariantOptions& o) { o.train.optimizer_state = moments; }))
      break;
  }
  if (ways.empty()) return "no smaller n, batch or optimizer_state alone would fit";
  return fmt::format("{} would fit", fmt::join(ways, ", or "));
}

}  // namespace

void add_chunks(const data::Dataset& dataset, const std::vector<data::HookInfo>& hooks,
                PlanInput& input) {
  int64_t row_bytes = 0;
  for (const data::HookInfo& hook : hooks) row_bytes += hook.d * size_of(hook.dtype);
  input.rows += dataset.info().rows;
  for (const data::ChunkInfo& chunk : dataset.chunks()) {
    input.chunk_bytes = std::max(input.chunk_bytes, chunk.rows * row_bytes);
    input.stored_bytes += chunk.rows * row_bytes;
  }
}

void require_memory(std::vector<PlanInput> runs) {
  for (size_t i = 1; i < runs.size(); ++i) {  // the stream is shared
    runs[i].rows = runs[i].chunk_bytes = runs[i].stored_bytes = 0;
  }
  const int64_t need = peak_of(runs);
  if (need <= data::memory_room().bytes) return;
  data::require_room(need, runs.size() > 1 ? "this sweep" : "this run", what_fits(runs));
}

const std::vector<Gpu>& known_gpus() {
  static const std::vector<Gpu> gpus{{"a100", 312e12, 2.039e12, 80e9},
                                     {"h100", 989e12, 3.35e12, 80e9},
                                     {"h200", 989e12, 4.8e12, 141e9}};
  return gpus;
}

double modelled_seconds(const PlanInput& in, const Gpu& gpu) {
  const VariantOptions& o = in.variant;
  const auto rows = static_cast<double>(o.train.step_rows()), d_in = static_cast<double>(o.d_in);
  const double n = static_cast<double>(o.model.n) / static_cast<double>(in.ranks),
               both = d_in + static_cast<double>(o.d_out);
  const MomentType type = parse_moment_type(o.train.optimizer_state);
  const auto moments =
      static_cast<double>(moment_bytes(type, o.d_in) + moment_bytes(type, o.d_out));
  const double bytes = n * (8 * both + 2 * moments) + 8 * rows * o.model.k * both;
  return 2 * rows * d_in * n / (0.5 * gpu.flops) + bytes / (0.8 * gpu.bandwidth);
}

}  // namespace assay::sae
