// assay: one file a subcommand. Exit status 2 for unusable input (command line, configuration), 1
// for a failure.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string>

#include "experiments/commands/commands.h"
#include "experiments/commands/usage_line.h"
#include "kernels/base/error.h"

namespace {

/// The one line that a command which fails leaves, whatever stands in the names that it quotes.
int refuse(int status, std::string message) {
  std::replace_if(
      message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; }, '?');
  std::fprintf(stderr, "assay: %s\n", message.c_str());
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  // A file-size limit is an error like a full disk, reported by the write that fails.
  std::signal(SIGXFSZ, SIG_IGN);
  // Standard output is for results: everything said on the way goes to stderr.
  spdlog::set_default_logger(spdlog::stderr_color_mt("assay"));
  spdlog::set_pattern("assay: %v");

  CLI::App app{
      "Assay trains sparse autoencoders on cached activations and finds out what they are worth.",
      "assay"};
  app.set_version_flag("--version", "assay " ASSAY_VERSION);
  app.require_subcommand(1);
  app.fallthrough(false);

#define ASSAY_REGISTER(name) assay::commands::register_##name(app);
  ASSAY_COMMANDS(ASSAY_REGISTER)
#undef ASSAY_REGISTER

  try {
    app.parse(argc, argv);
    return 0;
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();  // a command's own status
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help, --version
    return refuse(2, assay::commands::usage_line(app, {argv + 1, argv + argc}, error));
  } catch (const assay::UsageError& error) {
    return refuse(2, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    return refuse(1, error.path1().string() + ": " + error.code().message());
  } catch (const std::exception& error) {
    return refuse(1, error.what());
  }
}
