#include "eval/encoding/trained_nulls.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "data/sources.h"
#include "kernels/base/error.h"
#include "sae/frozen.h"
#include "sae/run_config.h"

namespace assay::eval {
namespace {

namespace fs = std::filesystem;

/// A control to be trained.
struct Job {
  size_t parent;  // index into the dictionaries
  std::string kind;
  fs::path run;
  sae::RunConfig config;
};

[[noreturn]] void refuse(const EvalDictionary& like, const std::string& kind,
                         const std::string& why) {
  throw UsageError(
      fmt::format("--null {}: {} {}; leave it out, or pass a control of your own with "
                  "--null-dictionary",
                  kind, like.entry.path, why));
}

/// How the dictionary was trained.
sae::RunConfig config_of(const EvalDictionary& like, const std::string& kind) {
  fs::path folder = sae::dictionary_folder(fs::absolute(like.path).lexically_normal());
  if (folder.filename().empty()) folder = folder.parent_path();
  const fs::path run = folder.parent_path();
  if (folder.filename() != "dictionary" || !fs::exists(run / "config.yaml"))
    refuse(like, kind, "does not say how it was trained: it is no run folder with a config.yaml");
  if (fs::exists(run / "finetune.yaml"))
    refuse(like, kind, "was fine-tuned after its training, as its control would not be");
  return sae::read_run_config(run);
}

/// The data that the dictionary was trained on, where they lie now.
void set_data(const EvalDictionary& like, const std::string& kind, const data::Dataset& dataset,
              sae::DataConfig& data) {
  if (data.rolling) refuse(like, kind, "was trained on a rolling cache, which is gone");
  const std::string& wanted = like.dictionary.info.data_hash;
  if (wanted.empty())
    refuse(like, kind, "was trained on data without checksums, so that they may be any");
  if (!data.mixture.empty()) {
    if (data::Sources::open_mixture(data.mixture).info().content_hash != wanted)
      refuse(like, kind, "was trained on a mixture that data.mixture no longer holds");
  } else if (wanted == dataset.info().content_hash) {
    data.path = dataset.info().path.string();
  } else if (!fs::exists(data.path) ||
             data::Dataset::open(data.path).info().content_hash != wanted) {
    refuse(like, kind,
           fmt::format("was trained on data that neither --data nor its data.path, '{}', holds",
                       data.path));
  }
}

Job plan_job(const std::vector<EvalDictionary>& dictionaries, size_t parent,
             const sae::FrozenPart& part, const data::Dataset& dataset, const fs::path& folder) {
  const EvalDictionary& like = dictionaries[parent];
  Job job{parent, part.null_kind, folder / fmt::format("{}-{}", like.entry.name, part.null_kind),
          config_of(like, part.null_kind)};
  sae::RunConfig& config = job.config;
  set_data(like, job.kind, dataset, config.data);
  config.model.frozen = part.frozen;
  config.train.device = "cpu";  // a device's step holds nothing
  config.resolved_yaml = sae::yaml_of(config.data, config.model, config.train);
  try {
    sae::check_frozen(config.model, config.train, sae::variant_entry(config.model.variant));
  } catch (const UsageError& error) {
    refuse(like, job.kind, fmt::format("has no such control: {}", error.what()));
  }
  if (fs::exists(job.run / "config.yaml"))
    sae::check_same_configuration(job.run, config.resolved_yaml);
  return job;
}

/// Trains it, or goes on with it, or finds it finished.
std::string train_job(Context& context, const Job& job) {
  // No signal is waited for: a run that is killed goes on from its newest checkpoint.
  static const volatile std::sig_atomic_t never = 0;
  const sae::TrainSummary done =
      sae::train(context, job.config, job.run, sae::Resume::automatic, never);
  if (done.outcome == sae::Outcome::already_finished) return "is there";
  return fmt::format("trained, {} steps in {:.0f} s, train FVU {:.4f}", done.step, done.seconds,
                     done.train_fvu);
}

}  // namespace

std::vector<std::string> trained_null_kinds() {
  std::vector<std::string> kinds;
  for (const sae::FrozenPart& part : sae::frozen_parts()) kinds.emplace_back(part.null_kind);
  return kinds;
}

void train_nulls(Context& context, std::vector<EvalDictionary>& dictionaries,
                 const std::vector<std::string>& kinds, const data::Dataset& dataset,
                 const fs::path& folder, const std::function<void(const std::string&)>& log) {
  std::vector<Job> jobs;
  for (size_t i = 0; i < dictionaries.size(); ++i) {
    if (!dictionaries[i].entry.null_kind.empty()) continue;
    for (const sae::FrozenPart& part : sae::frozen_parts())
      if (std::find(kinds.begin(), kinds.end(), part.null_kind) != kinds.end())
        jobs.push_back(plan_job(dictionaries, i, part, dataset, folder));
  }
  for (const Job& job : jobs) {
    const std::string parent = dictionaries[job.parent].entry.name;
    const std::string name = fmt::format("{}:{}", parent, job.kind);
    log(fmt::format("control {}: {}, in {}", name, train_job(context, job), job.run.string()));
    EvalDictionary null = load_dictionaries({}, {{job.kind, job.run}}, dataset).front();
    null.entry.name = name;
    null.entry.parent = parent;
    if (null.dictionary.info.data_hash != dictionaries[job.parent].dictionary.info.data_hash)
      throw UsageError(fmt::format(
          "{}: this control was trained on other data than its dictionary: choose another --out",
          job.run.string()));
    dictionaries.push_back(std::move(null));
  }
}

}  // namespace assay::eval
