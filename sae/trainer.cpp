#include "sae/trainer.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "data/base/say.h"
#include "kernels/base/error.h"
#include "sae/batch_source.h"
#include "sae/member.h"
#include "sae/plan.h"
#include "sae/resume_check.h"

namespace assay::sae {

const char* name_of(Outcome outcome) {
  constexpr const char* kNames[] = {"finished", "interrupted", "already finished"};
  return kNames[static_cast<int>(outcome)];
}

namespace {

namespace fs = std::filesystem;

TrainSummary finished_before(const RunConfig& config) {
  TrainSummary done;
  done.outcome = Outcome::already_finished;
  done.step = config.train.steps;
  done.tokens = config.train.steps * config.train.step_rows();
  return done;
}

PlanInput plan_input(const RunConfig& config, const BatchSource& source) {
  check_hooks(config.data, config.model.variant);
  PlanInput input;
  input.data = config.data;
  input.window_chunks = std::max(config.data.window_chunks, source.stream().window_chunks());
  input.variant = variant_options(config.model, config.train, source.inputs(), source.targets());
  std::vector<data::HookInfo> hooks = source.inputs();
  if (source.transcodes())
    hooks.insert(hooks.end(), source.targets().begin(), source.targets().end());
  for (const data::Source& each : source.sources().all()) add_chunks(*each.dataset, hooks, input);
  return input;
}

/// Members that learn from the same batches, one after another on each.
class Lockstep {
 public:
  /// Told of a member that has diverged; where it returns, the others go on without it.
  using OnDivergence = std::function<void(Member&, const Diverged&)>;

  Lockstep(BatchSource& source, std::vector<Member*> members, OnDivergence failed)
      : source_(source), active_(std::move(members)), failed_(std::move(failed)) {}

  /// To the end of training. False where `stop` came first: the checkpoints that stand lead to the
  /// same bits.
  bool run(Resume resume, int64_t steps, const volatile std::sig_atomic_t& stop) {
    try {
      for (Member* member : active_) member->begin(resume);
      source_.tell_mixing();
      if (slowest().step() > 0) source_.seek(slowest().position());
      while (!active_.empty() && slowest().step() < steps) {
        std::vector<Member*> members = furthest_behind();
        learn(members);
        const bool stopping = stop != 0;
        each(members, [&](Member& member) { member.conclude(stopping); });
        if (stopping && !active_.empty() && slowest().step() < steps) return false;
      }
      for (Member* member : active_) member->finish();
      return true;
    } catch (const data::Interrupted&) {
      return false;
    } catch (const BadRow& bad) {
      throw Error(
          fmt::format("step {}: {}; {}", slowest().step() + 1, bad.what(), slowest().last_good()));
    }
  }

 private:
  Member& slowest() {
    return **std::min_element(active_.begin(), active_.end(), [](const Member* a, const Member* b) {
      return a->step() < b->step();
    });
  }

  /// Those whose turn it is; members restored further on wait.
  std::vector<Member*> furthest_behind() {
    const int64_t step = slowest().step();
    std::vector<Member*> members;
    std::copy_if(active_.begin(), active_.end(), std::back_inserter(members),
                 [&](const Member* member) { return member->step() == step; });
    return members;
  }

  void learn(std::vector<Member*>& members) {
    Batch batch;
    try {
      batch = source_.next(members.front()->place());
    } catch (const data::Interrupted&) {  // between two steps, so they may be kept
      each(members, [](Member& member) { member.save(); });
      throw;
    }
    each(members, [&](Member& member) { member.learn(batch); });
  }

  /// `what` of every one; those that diverge leave.
  template <class What>
  void each(std::vector<Member*>& members, const What& what) {
    for (Member* member : std::vector<Member*>(members)) {
      try {
        what(*member);
      } catch (const Diverged& error) {
        failed_(*member, error);
        members.erase(std::find(members.begin(), members.end(), member));
        active_.erase(std::find(active_.begin(), active_.end(), member));
      }
    }
  }

  BatchSource& source_;
  std::vector<Member*> active_;
  OnDivergence failed_;
};

/// What `make` returns; a fault of its configuration names the member of the sweep.
template <class Make>
auto of_member(const SweepMember& member, const Make& make) {
  try {
    return make();
  } catch (const UsageError& error) {
    throw UsageError(fmt::format("{}: {}", member.run.filename().string(), error.what()));
  }
}

}  // namespace

TrainSummary train(Context& context, const RunConfig& config, const fs::path& run, Resume resume,
                   const volatile std::sig_atomic_t& stop) {
  if (already_finished(run, config.resolved_yaml, resume)) return finished_before(config);
  BatchSource source(config.data, config.train, stop);
  require_memory({plan_input(config, source)});
  Member member(context, config, run, source);
  member.show_progress("train");
  Lockstep lockstep(source, {&member},
                    [](Member&, const Diverged& error) { throw Diverged(error); });
  const bool finished = lockstep.run(resume, config.train.steps, stop);
  return member.summary(finished ? Outcome::finished : Outcome::interrupted);
}

std::vector<SweepOutcome> train_sweep(Context& context, const std::vector<SweepMember>& members,
                                      Resume resume, const volatile std::sig_atomic_t& stop) {
  std::vector<SweepOutcome> outcomes(members.size());
  std::vector<size_t> open;
  for (size_t i = 0; i < members.size(); ++i) {
    const auto& [run, config] = members[i];
    if (already_finished(run, config.resolved_yaml, resume)) {
      outcomes[i].summary = finished_before(config);
    } else {
      open.push_back(i);
    }
  }
  if (open.empty()) return outcomes;
  const RunConfig& shared = members[open.front()].config;
  BatchSource source(shared.data, shared.train, stop);
  std::vector<PlanInput> plans;
  for (const size_t i : open) {
    plans.push_back(of_member(members[i], [&] { return plan_input(members[i].config, source); }));
  }
  require_memory(std::move(plans));
  std::vector<std::unique_ptr<Member>> learners(members.size());
  std::vector<Member*> active;
  for (const size_t i : open) {
    learners[i] = of_member(members[i], [&] {
      return std::make_unique<Member>(context, members[i].config, members[i].run, source);
    });
    active.push_back(learners[i].get());
  }
  active.front()->show_progress(
      fmt::format("sweep of {}, {}", active.size(), members[open.front()].run.filename().string()));
  Lockstep lockstep(source, active, [&](Member& member, const Diverged& error) {
    const auto at = std::find_if(learners.begin(), learners.end(),
                                 [&](const auto& l) { return l.get() == &member; });
    const auto i = static_cast<size_t>(at - learners.begin());
    outcomes[i].failure = error.what();
    data::note(fmt::format("{} is left out of the sweep: {}", members[i].run.filename().string(),
                           error.what()));
  });
  const bool finished = lockstep.run(resume, shared.train.steps, stop);
  for (const size_t i : open) {
    const bool whole = finished && outcomes[i].failure.empty();
    outcomes[i].summary = learners[i]->summary(whole ? Outcome::finished : Outcome::interrupted);
  }
  return outcomes;
}

}  // namespace assay::sae
