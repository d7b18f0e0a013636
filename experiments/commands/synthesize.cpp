// assay synthesize: activations with a known dictionary.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/output_guard.h"
#include "data/dataset.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/context.h"
#include "kernels/base/error.h"
#include "sae/planted.h"

namespace assay::commands {
namespace {

struct Options {
  std::string config, kind = "independent", out;
  std::vector<std::string> overrides;
  int threads = 0;
  int64_t rows_per_shard = 1 << 18, disk_limit = 0;
  bool json = false, reference = false;
};

void run(const Options& options) {
  sae::PlantedOptions planted = sae::planted_kind(options.kind);
  const auto describe_all = [&](config::Fields& fields) { sae::describe(fields, planted); };
  if (options.reference) return fmt::print("{}", config::document(describe_all));
  if (options.out.empty())
    throw UsageError("synthesize: --out is missing: name the folder to write");
  config::read_yaml(options.config, options.overrides, describe_all);
  data::guard_folder(options.out, {}, {data::FolderKind::dataset});
  Context context({Device::cpu, options.threads});
  sae::write_planted(context, planted, {options.out, options.rows_per_shard, options.disk_limit});
  const sae::PlantedModel model(planted);
  if (options.disk_limit > 0) return;  // by now the trainer may have deleted it all
  const data::Dataset dataset = data::Dataset::open(options.out);
  const data::HookInfo& hook = dataset.hook("activations");
  if (options.json) {
    print_json(nlohmann::ordered_json{{"path", options.out},
                                      {"rows", planted.rows},
                                      {"d", planted.d},
                                      {"n", planted.n},
                                      {"l0", model.l0()},
                                      {"variance", hook.variance},
                                      {"content_hash", dataset.info().content_hash}});
    return;
  }
  fmt::print(
      "{}: {} rows of d = {}, {} features, L0 {:.2f} expected, variance {:.4g}; the true "
      "dictionary is {}/truth\n",
      options.out, planted.rows, planted.d, planted.n, model.l0(), hook.variance, options.out);
}

void describe(CLI::App& command, const std::shared_ptr<Options>& options) {
  command.add_option("config", options->config, "YAML with options (default: the kind's)");
  command.add_option("--kind", options->kind, "Options to start from")
      ->check(CLI::IsMember(sae::planted_kinds()))
      ->capture_default_str();
  add_overrides(command, options->overrides, "n=800");
  command.add_option("--out", options->out, "Folder to write; a killed run continues");
  add_shards(command, options->rows_per_shard, options->disk_limit);
  add_threads(command, options->threads);
  command.add_flag("--reference", options->reference,
                   "Print the options of the kind as Markdown, write nothing");
  command.add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command.callback([options] { run(*options); });
}

}  // namespace

void register_synthesize(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "synthesize", "Write activations with a known dictionary, to test trainers on.");
  command->footer(
      "OUT is an ordinary data set with planted.yaml (the options) and truth/ (the true "
      "dictionary) beside "
      "it;\n`assay recover` measures what a trained dictionary found of it. See docs/planted.md.");
  describe(*command, options);
  // The name it had; hidden, so that old scripts go on.
  describe(*app.add_subcommand("plant")->group(""), options);
}

}  // namespace assay::commands
