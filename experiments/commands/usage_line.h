// What is wrong with a command line, in one line: the nearest command or option is named.
#pragma once

#include <string>
#include <vector>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace assay::commands {

/// `arguments`: of the program, without its name. An unknown command or option among them is what
/// is told, whatever CLI11 stumbled over first (as an option that is missing because it is
/// misspelt); else its own message, with bounds that can be read and the help to look at.
std::string usage_line(const CLI::App& app, const std::vector<std::string>& arguments,
                       const CLI::ParseError& error);

}  // namespace assay::commands
