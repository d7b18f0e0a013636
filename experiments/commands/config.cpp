// assay config: the default configuration, or the reference page of all its fields.
#include "experiments/commands/config.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "experiments/commands/commands.h"

namespace assay::commands {
namespace {

void print_config(bool reference) {
  Config config;
  SweepConfig sweep;
  const auto all = [&](config::Fields& fields) { describe(fields, config); };
  const auto with_sweep = [&](config::Fields& fields) {
    describe(fields, config);
    describe(fields, sweep);
  };
  fmt::print("{}", reference ? config::document(with_sweep) : config::write_yaml(all));
}

}  // namespace

void register_config(CLI::App& app) {
  auto reference = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("config", "Print the default configuration as YAML");
  command->add_flag("--reference", *reference,
                    "Print the reference of all fields as Markdown instead");
  command->callback([reference] { print_config(*reference); });
}

}  // namespace assay::commands
