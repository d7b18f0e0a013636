// assay sweep: a grid of dictionaries trained on one pass over the activations, and the page that
// shows them together.
#include "eval/sweep/sweep.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/lease.h"
#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/base/stop_signal.h"
#include "eval/report/page.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/config.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/context.h"
#include "kernels/base/error.h"
#include "sae/batch_source.h"
#include "sae/trainer.h"
#include "sae/unused_settings.h"
#include "sae/variants/variants.h"

namespace assay::commands {

namespace {

namespace fs = std::filesystem;

struct Options {
  std::string config, out, resume = "never";
  std::vector<std::string> overrides;
  bool json = false;
};

/// Throws UsageError where no variant takes an axis that is given.
void check_axis(const char* axis, bool given, const SweepConfig& sweep,
                bool (sae::VariantEntry::*takes)() const) {
  const auto does = [&](const std::string& name) { return (sae::variant_entry(name).*takes)(); };
  if (!given || std::any_of(sweep.variant.begin(), sweep.variant.end(), does)) return;
  throw UsageError(fmt::format("sweep.{}: {} does not take it; leave it out", axis,
                               fmt::join(sweep.variant, ", ")));
}

/// The grid's axes; one that is not given holds the configuration's own value.
void complete(SweepConfig& sweep, const Config& config) {
  if (sweep.variant.empty()) sweep.variant = {config.model.variant};
  check_axis("k", !sweep.k.empty(), sweep, &sae::VariantEntry::takes_k);
  check_axis("sparsity", !sweep.sparsity.empty(), sweep, &sae::VariantEntry::takes_sparsity);
  if (sweep.n.empty()) sweep.n = {config.model.n};
  if (sweep.k.empty()) sweep.k = {config.model.k};
  if (sweep.sparsity.empty()) sweep.sparsity = {config.model.sparsity};
  if (sweep.seed.empty()) sweep.seed = {config.train.seed};
}

void check(const std::string& file, const Config& config, const SweepConfig& sweep) {
  check_data(file, config);
  if (config.data.rolling) {
    throw UsageError(
        "data.rolling: a sweep cannot train on a rolling cache; harvest without --disk-limit");
  }
  if (!(config.data.validation > 0)) {
    throw UsageError(
        "data.validation = 0: a sweep compares its dictionaries on validation rows; set it > 0");
  }
  for (const std::string& name : sweep.variant) sae::require_one_hook("sweep.variant", name);
  sae::refuse_unused(config.model, config.train, sweep.variant);
}

struct Grid {
  std::vector<sae::SweepMember> members;
  std::vector<eval::SweepDictionary> entries;
};

void add_member(Grid& grid, Config config, const fs::path& out) {
  const sae::ModelConfig& model = config.model;
  const double sparsity = sae::variant_entry(model.variant).takes_sparsity() ? model.sparsity : 0;
  const std::string weight = sparsity > 0 ? fmt::format("-w{}", sparsity) : "";
  const std::string name =
      fmt::format("{}-n{}-k{}{}-s{}", model.variant, model.n, model.k, weight, config.train.seed);
  eval::SweepDictionary entry;
  entry.name = name;
  entry.variant = model.variant;
  entry.n = model.n;
  entry.k = model.k;
  entry.sparsity = sparsity;
  entry.seed = static_cast<uint64_t>(config.train.seed);
  const std::string yaml =
      config::write_yaml([&](config::Fields& fields) { describe(fields, config); });
  grid.members.push_back({out / entry.name, {config.data, config.model, config.train, yaml}});
  grid.entries.push_back(entry);
}

Grid make_grid(Config config, const SweepConfig& sweep, const fs::path& out) {
  Grid grid;
  // All seeds must meet the same batches.
  if (config.data.order_seed < 0) config.data.order_seed = config.train.seed;
  for (const std::string& variant : sweep.variant) {
    const sae::VariantEntry& takes = sae::variant_entry(variant);
    const auto ks = takes.takes_k() ? sweep.k : std::vector<double>{config.model.k};
    const auto weights = takes.takes_sparsity() ? sweep.sparsity : std::vector<double>{0};
    Config own = config;
    own.model.variant = variant;
    sae::drop_unused(own.model, own.train);
    for (const int64_t n : sweep.n) {
      for (const double k : ks) {
        for (const double sparsity : weights) {
          for (const int64_t seed : sweep.seed) {
            own.model.n = n;
            own.model.k = k;
            own.model.sparsity = sparsity;
            own.train.seed = seed;
            add_member(grid, own, out);
          }
        }
      }
    }
  }
  return grid;
}

/// Throws UsageError where the folder's sweep.json has dictionaries that this grid has not: they
/// would be missing from the new one.
void keep_earlier(const fs::path& file, const fs::path& config, const Grid& grid) {
  std::vector<std::string> earlier;
  data::guard_file(file, {config}, "a sweep's results", [&](const fs::path&) {
    const auto names = eval::names_in_sweep(file);
    if (names) earlier = *names;
    return names.has_value();
  });
  for (const std::string& name : earlier) {
    const bool again = std::any_of(grid.entries.begin(), grid.entries.end(),
                                   [&](const auto& entry) { return entry.name == name; });
    if (again) continue;
    throw UsageError(fmt::format(
        "{}: has {}, which this grid does not train: keep it in the grid, or choose another --out",
        file.string(), name));
  }
}

void measure(Context& context, const Config& config, const fs::path& out,
             eval::SweepResults& results) {
  sae::BatchSource source(config.data, config.train, data::stop_requested());
  const data::DatasetInfo& about = source.sources().info();
  results.dataset =
      (about.path.has_filename() ? about.path : about.path.parent_path()).filename().string();
  results.model = about.model;
  const data::HookInfo& hook = source.inputs().front();
  results.hook = hook.name == "activations" ? about.hook : hook.name;
  results.tokens = config.train.steps * config.train.step_rows();
  const std::vector<float> rows = source.validation(/*raw=*/true);
  eval::measure_sweep(context, out, {rows.data(), sae::kSampleTokens, hook.d}, results);
  eval::write_sweep(results, out);
}

void print(const eval::SweepResults& results, const std::string& out, bool json) {
  if (json) {
    const nlohmann::json summary{{"outcome", "finished"},
                                 {"sweep", out + "/sweep.json"},
                                 {"report", out + "/report.html"},
                                 {"dictionaries", results.dictionaries.size()},
                                 {"seconds", results.seconds}};
    print_json(summary);
    return;
  }
  fmt::print("{:>7} {:>8} {:>10}  dictionary\n", "FVU", "L0", "dead share");
  for (const eval::SweepDictionary& d : results.dictionaries) {
    if (d.failure.empty()) {
      fmt::print("{:7.4f} {:8.2f} {:10.4f}  {}\n", d.fvu, d.l0, d.dead_share, d.name);
    } else {
      fmt::print("{:>7} {:>8} {:>10}  {} (left out)\n", "-", "-", "-", d.name);
    }
  }
  fmt::print("wrote {}/sweep.json and {}/report.html\n", out, out);
}

/// The status says so where any dictionary is missing.
void complain(const eval::SweepResults& results) {
  for (const eval::SweepDictionary& d : results.dictionaries) {
    if (!d.failure.empty())
      throw Error(fmt::format("{} was left out of the sweep: {}", d.name, d.failure));
  }
}

void run(const Options& options) {
  Config config;
  SweepConfig sweep;
  config::read_yaml(options.config, options.overrides, [&](config::Fields& fields) {
    describe(fields, config);
    describe(fields, sweep);
  });
  complete(sweep, config);
  check(options.config, config, sweep);
  const fs::path out = options.out;
  data::guard_folder(out, {}, {data::FolderKind::sweep});
  data::guard_file(out / "report.html", {options.config}, "a report", eval::report::is_page);
  data::stop_on_signals();
  Context context({Device::cpu, static_cast<int>(config.train.threads)});
  Grid grid = make_grid(config, sweep, options.out);
  keep_earlier(out / "sweep.json", options.config, grid);
  const data::Lease lease(out);
  const auto resume = options.resume == "auto" ? sae::Resume::automatic : sae::Resume::never;
  const auto begun = std::chrono::steady_clock::now();
  const std::vector<sae::SweepOutcome> outcomes =
      sae::train_sweep(context, grid.members, resume, data::stop_requested());
  eval::SweepResults results;
  results.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  for (size_t i = 0; i < outcomes.size(); ++i) {
    if (outcomes[i].failure.empty() && outcomes[i].summary.outcome == sae::Outcome::interrupted) {
      data::note(fmt::format("the sweep is interrupted at step {}; --resume auto goes on",
                             outcomes[i].summary.step));
      throw CLI::RuntimeError(data::kRequeue);
    }
    grid.entries[i].failure = outcomes[i].failure;
  }
  results.dictionaries = std::move(grid.entries);
  measure(context, config, options.out, results);
  print(results, options.out, options.json);
  complain(results);
}

}  // namespace

void register_sweep(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "sweep", "Train a grid of dictionaries on one pass over the activations, and compare them.");
  command->footer(
      "The section sweep of the configuration lists variant, n, k, sparsity and seed; every "
      "combination is trained\n"
      "(k and sparsity by the variants that take them), in a run folder of its own whose "
      "dictionary has the bits that\n"
      "assay train of its config.yaml gives. Then FVU, L0, dead latents and the agreement of seeds "
      "on validation rows\n"
      "are written to sweep.json and report.html. SIGTERM, SIGHUP, SIGUSR1 and SIGINT checkpoint "
      "all of them and exit with\n"
      "status 75; --resume auto goes on to the same bits. A dictionary that diverges is left out, "
      "the others go on,\n"
      "and the status is 1. See docs/sweeps.md.");
  command->add_option("config", options->config, "YAML configuration with a section sweep.")
      ->required();
  command
      ->add_option("--out", options->out,
                   "Folder of the sweep: a run folder each dictionary, sweep.json, report.html.")
      ->required();
  command
      ->add_option("--resume", options->resume,
                   "auto: go on from the newest checkpoints, or start; never: refuse folders that "
                   "hold runs.")
      ->check(CLI::IsMember({"auto", "never"}));
  add_overrides(*command, options->overrides, "train.steps=100");
  command->add_flag("--json", options->json, "Print where the results are as JSON on stdout.");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
