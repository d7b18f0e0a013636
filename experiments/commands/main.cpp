// assay: one file a subcommand. Exit status 2 for unusable input (command line, configuration), 1
// for a failure.
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <exception>

#include "experiments/commands/commands.h"
#include "kernels/base/error.h"

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
    const int status = app.exit(error);
    return status == 0 ? 0 : 2;
  } catch (const assay::UsageError& error) {
    std::fprintf(stderr, "assay: %s\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "assay: %s\n", error.what());
    return 1;
  }
}
