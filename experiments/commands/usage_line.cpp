#include "experiments/commands/usage_line.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdlib>
#include <regex>

#include "data/base/config_fields.h"

namespace assay::commands {
namespace {

std::string hint(const std::string& word, const std::vector<std::string>& known) {
  const std::string near = config::nearest(word, known);
  return near.empty() ? "" : fmt::format(" (nearest: {})", near);
}

std::vector<std::string> option_names(const CLI::App& command) {
  std::vector<std::string> names;
  for (const CLI::Option* option : command.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string unknown_command(const CLI::App& app, const std::string& word) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({}))
    if (!command->get_group().empty()) names.push_back(command->get_name());  // none that is hidden
  return fmt::format("unknown command '{}'{}; see assay --help", word, hint(word, names));
}

/// The first option that the command does not have; empty where all are known.
std::string unknown_option(const CLI::App& command, const std::vector<std::string>& arguments) {
  const std::vector<std::string> known = option_names(command);
  for (const std::string& argument : arguments) {
    std::string name = argument.substr(0, argument.find('='));
    if (name == "--") return {};
    if (name.rfind("--", 0) != 0) continue;
    if (std::find(known.begin(), known.end(), name) == known.end()) return name;
  }
  return {};
}

/// CLI11 writes the bounds of a range with all their digits, 309 for the largest number.
std::string with_short_bounds(const CLI::App& command, const std::string& message) {
  static const std::regex range("(--\\S+): Value (.*) not in range (\\S+) to (\\S+)");
  std::smatch found;
  if (!std::regex_match(message, found, range)) return message;
  const double low = std::strtod(found[3].str().c_str(), nullptr);
  const double high = std::strtod(found[4].str().c_str(), nullptr);
  std::string expected = fmt::format("a number from {:.15g} to {:.15g}", low, high);
  if (high > 1e300) {
    const CLI::Option* option = command.get_option_no_throw(found[1]);
    const bool zero = option && option->get_type_name().find("NONNEGATIVE") != std::string::npos;
    expected = zero ? "a number of at least 0" : "a positive number";
  }
  return fmt::format("{}: expected {}, found {}", found[1].str(), expected, found[2].str());
}

}  // namespace

std::string usage_line(const CLI::App& app, const std::vector<std::string>& arguments,
                       const CLI::ParseError& error) {
  if (arguments.empty()) return "no command given; see assay --help";
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (chosen.empty() && arguments[0].rfind('-', 0) != 0) return unknown_command(app, arguments[0]);
  const CLI::App& command = chosen.empty() ? app : *chosen.front();
  const std::string name = chosen.empty() ? "assay" : "assay " + command.get_name();
  const std::string prefix = chosen.empty() ? "" : command.get_name() + ": ";
  const std::string unknown = unknown_option(command, arguments);
  if (!unknown.empty()) {
    return fmt::format("{}unknown option {}{}; see {} --help", prefix, unknown,
                       hint(unknown, option_names(command)), name);
  }
  return fmt::format("{}{}; see {} --help", prefix, with_short_bounds(command, error.what()), name);
}

}  // namespace assay::commands
