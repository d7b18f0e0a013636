// assay finetune: a finished dictionary goes on training for a short while through the model's
// upper half.
#include "sae/finetune.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/stop_signal.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "sae/run_config.h"

namespace assay::commands {
namespace {

struct Options {
  sae::FinetunePaths paths;
  std::string data;  ///< empty: what the run was trained on
  std::string config, resume = "never";
  std::vector<std::string> overrides;
  int threads = 0;
  bool json = false, reference = false;
};

void print(const sae::FinetuneSummary& s, const std::string& out, bool json) {
  const char* outcome = sae::name_of(s.outcome);
  if (json) {
    print_json(nlohmann::ordered_json{{"outcome", outcome},
                                      {"run", out},
                                      {"steps", s.steps},
                                      {"tokens", s.tokens},
                                      {"output_loss_before", s.output_loss_before},
                                      {"output_loss_after", s.output_loss_after},
                                      {"fvu_before", s.fvu_before},
                                      {"fvu_after", s.fvu_after},
                                      {"seconds", s.seconds}});
  } else if (s.outcome == sae::Outcome::finished) {
    fmt::print(
        "{}: {} steps ({} tokens), output loss {:.4g} -> {:.4g}, train FVU {:.4f} -> {:.4f}, "
        "{:.0f} s\n",
        out, s.steps, s.tokens, s.output_loss_before, s.output_loss_after, s.fvu_before,
        s.fvu_after, s.seconds);
  } else {
    fmt::print("{}: {} at step {}\n", out, outcome, s.steps);
  }
}

/// The run's configuration, with the data where it lies now.
sae::RunConfig read_run(const Options& options) {
  const std::filesystem::path& run = options.paths.run;
  const std::filesystem::path file = run / "config.yaml";
  const bool whole = std::filesystem::exists(file) &&
                     std::filesystem::exists(run / "dictionary" / "cfg.json") &&
                     std::filesystem::is_directory(run / "checkpoints");
  if (!whole) {
    throw Error(
        fmt::format("{}: not a finished run: config.yaml, checkpoints/ and dictionary/ are needed",
                    run.string()));
  }
  sae::RunConfig config = sae::read_run_config(run);
  if (!options.data.empty()) config.data.path = options.data;
  config.resolved_yaml = sae::yaml_of(config.data, config.model, config.train);
  return config;
}

void run(const Options& options) {
  sae::FinetuneConfig config;
  const auto describe_all = [&](config::Fields& fields) { describe(fields, config); };
  if (options.reference) return fmt::print("{}", config::document(describe_all));
  if (options.paths.run.empty() || options.paths.model.empty() || options.paths.out.empty()) {
    throw UsageError("finetune: RUN, --model and --out are needed; see assay finetune --help");
  }
  config::read_yaml(options.config, options.overrides, describe_all);
  data::stop_on_signals();
  Context context({Device::cpu, options.threads});
  const auto resume = options.resume == "auto" ? sae::Resume::automatic : sae::Resume::never;
  const sae::FinetuneSummary summary = sae::finetune(context, read_run(options), config,
                                                     options.paths, resume, data::stop_requested());
  print(summary, options.paths.out.string(), options.json);
  if (summary.outcome == sae::Outcome::interrupted) throw CLI::RuntimeError(data::kRequeue);
}

}  // namespace

void register_finetune(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "finetune", "Fine-tune a finished dictionary end to end through the model.");
  command->footer(
      "The loss is the squared error and what the model's output changes by when reconstructions "
      "take the place of\n"
      "the activations. Before and after are means over the first and the last tenth of the steps. "
      "SIGTERM, SIGHUP, SIGUSR1\n"
      "and SIGINT checkpoint the run and exit with status 75; --resume auto then goes on to the "
      "same bits, as after "
      "any\n"
      "kill. See docs/variants.md; assay eval's task splice measures on held-out texts.");
  command->add_option("run", options->paths.run,
                      "Folder of a finished assay train: its last checkpoint goes on");
  command->add_option("--model", options->paths.model, "Folder of the model's exported halves");
  command->add_option("--out", options->paths.out,
                      "Folder to write: dictionary/, checkpoints/, metrics.jsonl, configurations");
  command->add_option("--data", options->data, "The run's shards, where they have moved");
  command
      ->add_option("--resume", options->resume,
                   "auto: go on from OUT's newest checkpoint, or start; never: refuse a folder "
                   "that holds a run")
      ->check(CLI::IsMember({"auto", "never"}));
  command->add_option("--config", options->config, "YAML with settings (default: see --reference)");
  add_overrides(*command, options->overrides, "steps=200");
  add_threads(*command, options->threads);
  command->add_flag("--trust-model-code", options->paths.trust_model_code,
                    "Run the halves though they are not on the trust list");
  command->add_flag("--reference", options->reference,
                    "Print the settings as Markdown, do nothing");
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
