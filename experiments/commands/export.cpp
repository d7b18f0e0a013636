// assay export: a dictionary of ours in the form that another library loads.
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
#include "kernels/base/error.h"
#include "sae/formats/format.h"

namespace assay::commands {
namespace {

struct Options {
  std::filesystem::path dictionary, out;
  std::string format;
  bool json = false;
};

void run(const Options& options) {
  namespace fs = std::filesystem;
  data::guard_folder(options.out, {options.dictionary}, {});
  if (fs::exists(options.out) && (!fs::is_directory(options.out) || !fs::is_empty(options.out))) {
    throw UsageError(fmt::format("--out {}: is there already: name a new folder, or remove it",
                                 options.out.string()));
  }
  const auto lease = data::lease_of_file(options.out);
  const sae::Dictionary dictionary = sae::formats::open_dictionary(options.dictionary);
  sae::formats::export_dictionary(dictionary, options.format, options.out);
  if (!options.json) {
    fmt::print("{}: {}\n", options.out.string(), sae::formats::find(options.format).title);
    return;
  }
  print_json(nlohmann::ordered_json{{"out", options.out.string()},
                                    {"format", options.format},
                                    {"dictionary_hash", dictionary.hash()}});
}

}  // namespace

void register_export(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("export", "Write a dictionary in another library's format");
  command->footer(
      "The folder loads in the library itself, and gives the codes and reconstructions that Assay "
      "gives. A dictionary\n"
      "that a format cannot hold is refused.\n" +
      format_list());
  command
      ->add_option("dictionary", options->dictionary,
                   "Dictionary, run folder, or a folder to import")
      ->required();
  command->add_option("--format", options->format, "Format to write")->required();
  command->add_option("--out", options->out, "New folder to write")->required();
  command->add_flag("--json", options->json, "Print a summary as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
