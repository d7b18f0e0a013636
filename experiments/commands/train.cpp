#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/output_guard.h"
#include "data/base/stop_signal.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/config.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/context.h"
#include "sae/trainer.h"
#include "sae/unused_settings.h"

namespace assay::commands {

namespace {

struct Options {
  std::string config, out, resume = "never";
  std::vector<std::string> overrides;
  bool json = false;
};

void print(const sae::TrainSummary& s, const std::string& out, bool json) {
  const char* outcome = sae::name_of(s.outcome);
  if (json) {
    const nlohmann::json summary{
        {"outcome", outcome}, {"run", out},           {"step", s.step},
        {"tokens", s.tokens}, {"dead", s.dead},       {"train_fvu", s.train_fvu},
        {"l0", s.l0},         {"seconds", s.seconds}, {"warnings", s.warnings}};
    print_json(summary);
  } else if (s.outcome == sae::Outcome::already_finished) {
    fmt::print("{}: already finished ({} steps); nothing to do\n", out, s.step);
  } else {
    fmt::print("{}: {} at step {} ({} tokens), train FVU {:.4f}, L0 {:.1f}, dead {}, {:.0f} s\n",
               out, outcome, s.step, s.tokens, s.train_fvu, s.l0, s.dead, s.seconds);
  }
}

void run(const Options& options) {
  Config config;
  const auto describe_all = [&](config::Fields& fields) { describe(fields, config); };
  config::read_yaml(options.config, options.overrides, describe_all);
  check_data(options.config, config);
  sae::check_settings(config.model, config.train);
  data::guard_folder(options.out, {}, {data::FolderKind::run});
  data::stop_on_signals();
  Context context({Device::cpu, static_cast<int>(config.train.threads)});
  const sae::RunConfig run_config{config.data, config.model, config.train,
                                  config::write_yaml(describe_all)};
  const auto resume = options.resume == "auto" ? sae::Resume::automatic : sae::Resume::never;
  const sae::TrainSummary summary =
      sae::train(context, run_config, options.out, resume, data::stop_requested());
  print(summary, options.out, options.json);
  if (summary.outcome == sae::Outcome::interrupted) throw CLI::RuntimeError(data::kRequeue);
}

}  // namespace

void register_train(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Train a dictionary on cached activations.");
  command->footer(
      "SIGTERM, SIGHUP, SIGUSR1 and SIGINT checkpoint the run and exit with status 75, so that a "
      "scheduler can requeue it;\n"
      "--resume auto then goes on to the same bits. The settings are listed by: assay config "
      "--reference");
  command->add_option("config", options->config, "YAML configuration.")->required();
  command
      ->add_option("--out", options->out,
                   "Run folder: config.yaml, metrics.jsonl, checkpoints/, dictionary/.")
      ->required();
  command
      ->add_option("--resume", options->resume,
                   "auto: go on from the newest checkpoint, or start; never: refuse a folder that "
                   "holds a run.")
      ->check(CLI::IsMember({"auto", "never"}));
  add_overrides(*command, options->overrides, "train.steps=100");
  command->add_flag("--json", options->json, "Print the summary as JSON on stdout.");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
