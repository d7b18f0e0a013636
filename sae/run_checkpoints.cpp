#include "sae/run_checkpoints.h"

#include <fmt/core.h>

#include <chrono>
#include <new>
#include <system_error>
#include <utility>

#include "data/base/memory_room.h"
#include "data/base/say.h"
#include "kernels/base/error.h"

namespace assay::sae {

namespace {

using Clock = CheckpointClock::Clock;

constexpr int64_t kHeadroom = 256 << 20;  // bytes

std::optional<State> copy_if_room(const State& state) try {
  const int64_t aux = 6 * state.n * state.d_in;  // its copy of the dead latents, were all dead
  if (data::memory_left() < state.bytes() + aux + kHeadroom) return std::nullopt;
  return state.without_screen();
} catch (const std::bad_alloc&) {
  return std::nullopt;
}

}  // namespace

CheckpointPolicy policy_of(const TrainConfig& train) {
  return {train.checkpoint_every, train.checkpoint_minutes, train.keep_checkpoints,
          train.keep_every};
}

RunCheckpoints::RunCheckpoints(std::filesystem::path run, const CheckpointPolicy& policy)
    : run_(std::move(run)), policy_(policy), clock_(policy, Clock::now()) {}

void RunCheckpoints::claim() { lease_.emplace(run_); }

std::optional<Restored> RunCheckpoints::restore(Context& context, const CreateState& create,
                                                std::optional<int64_t> at) {
  clean_checkpoints(run_);
  std::optional<Restored> found;
  if (at) {
    if (*at > 0) found = load_checkpoint_of(run_, *at, create);
    remove_checkpoints_beyond(run_, *at);
  } else {
    found = load_checkpoint(run_, create, [](const std::string& message) { data::note(message); });
  }
  if (!found) return std::nullopt;
  found->state.screen.refresh(context, found->state.encoder());
  last_good_ = checkpoint_folder(run_, found->state.step).string();
  data::note(fmt::format("resuming {} at step {}", run_.string(), found->state.step));
  return found;
}

bool RunCheckpoints::due(int64_t step) {
  const bool written =
      behind_.valid() && behind_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  if (written) settle();
  return clock_.due(step, Clock::now());
}

void RunCheckpoints::settle() {
  if (behind_.valid()) last_good_ = behind_.get().string();
}

void RunCheckpoints::save(const State& state, const Checkpoint& checkpoint, Writing when) {
  settle();
  if (when == Writing::behind && write_behind(state, checkpoint)) return;
  lease_->check();
  last_good_ = save_checkpoint(run_, state, checkpoint, policy_).string();
  clock_.written(Clock::now());
}

bool RunCheckpoints::write_behind(const State& state, const Checkpoint& checkpoint) {
  std::optional<State> copy = copy_if_room(state);
  if (!copy) return false;
  lease_->check();
  try {
    behind_ = std::async(std::launch::async,
                         [copy = std::move(*copy), checkpoint, run = run_, policy = policy_] {
                           return save_checkpoint(run, copy, checkpoint, policy);
                         });
  } catch (const std::system_error&) {  // no thread to be had
    return false;
  }
  clock_.written(Clock::now());
  return true;
}

std::string RunCheckpoints::last_good() {
  try {
    settle();
  } catch (const std::exception& error) {
    data::note(error.what());
  }
  return last_good_.empty() ? "there is no checkpoint yet"
                            : "the last good checkpoint is " + last_good_;
}

void check_same_data(const Checkpoint& checkpoint, const std::string& data_hash,
                     const std::filesystem::path& path) {
  if (checkpoint.data_hash.empty() || data_hash.empty()) {
    throw Error(fmt::format(
        "{}: no checksums are known {}, so it cannot be told whether the activations are the "
        "run's: "
        "make them with `assay index FILES --out FOLDER` and train afresh",
        path.string(), data_hash.empty() ? "for it" : "of what the checkpoint was made with"));
  }
  if (checkpoint.data_hash == data_hash) return;
  throw Error(
      fmt::format("{}: the activations have changed since the run's checkpoint (content hash {}, "
                  "then {}): restore "
                  "them or train afresh",
                  path.string(), data_hash, checkpoint.data_hash));
}

void check_same_inputs(const Checkpoint& checkpoint,
                       const std::map<std::string, std::string>& inputs) {
  for (const auto& [name, hash] : inputs) {
    const auto then = checkpoint.inputs.find(name);
    if (then != checkpoint.inputs.end() && then->second == hash) continue;
    throw Error(
        fmt::format("{}: not what the run's checkpoint was made with (SHA-256 {}, then {}): "
                    "restore it or begin in another folder",
                    name, hash, then == checkpoint.inputs.end() ? "unknown" : then->second));
  }
}

}  // namespace assay::sae
