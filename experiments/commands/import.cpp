// assay import: a dictionary that others published, as ours.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/lease.h"
#include "data/base/output_guard.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/format_list.h"
#include "experiments/commands/print_json.h"
#include "sae/formats/format.h"

namespace assay::commands {
namespace {

struct Options {
  std::filesystem::path source, out;
  sae::formats::ImportOptions import;
  bool json = false;
};

void run(const Options& options) {
  data::guard_folder(options.out, {options.source}, {data::FolderKind::dictionary});
  const auto lease = data::lease_of_file(options.out);
  const sae::Dictionary dictionary =
      sae::formats::import_dictionary(options.source, options.import);
  dictionary.save(options.out);
  const sae::DictionaryInfo& info = dictionary.info;
  if (!options.json) {
    fmt::print("{}: {} ({}), d = {}, n = {}{}\n", options.out.string(), info.variant, info.encoding,
               info.d, info.n, info.k > 0 ? fmt::format(", k = {}", info.k) : "");
    return;
  }
  print_json(nlohmann::ordered_json{{"out", options.out.string()},
                                    {"variant", info.variant},
                                    {"encoding", info.encoding},
                                    {"d", info.d},
                                    {"d_out", info.width()},
                                    {"n", info.n},
                                    {"k", info.k},
                                    {"model", info.model},
                                    {"hook", info.hook},
                                    {"hash", dictionary.hash()}});
}

}  // namespace

void register_import(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("import", "Read a dictionary that another library published");
  command->footer(
      "SRC is a folder or a file of tensors (.safetensors, .pt, .pth, .npz). Nothing in it is "
      "executed. Codes and\n"
      "reconstructions are those of the library that published it, from raw activations. Every "
      "command that takes a\n"
      "dictionary takes such a folder or file too; this one writes it down once.\n" +
      format_list());
  command->add_option("source", options->source, "Folder or file to read")->required();
  command
      ->add_option("--out", options->out,
                   "Dictionary folder to write; replaced when it is complete")
      ->required();
  command->add_option("--format", options->import.format,
                      "Format of SRC (told by its content where not given)");
  command
      ->add_option("--k", options->import.k,
                   "Latents that a row keeps, where the format does not say it")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--norm-scale", options->import.norm_scale,
                   "s where it was trained on activations times s and the files do not say it (√d "
                   "/ mean‖x‖)")
      ->check(CLI::PositiveNumber);
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
