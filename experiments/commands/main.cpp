// assay: one file a subcommand. Exit status 2 for unusable input (command line, configuration), 1
// for a failure.
#include <fcntl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <string>

#include "data/base/say.h"
#include "data/untrusted.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/usage_line.h"
#include "kernels/base/error.h"

namespace {

/// A closed standard stream gets a stand-in that cannot be used either: else the next file that is
/// opened, a checkpoint say, would get its number, and what is said would go into it.
void occupy_closed_streams() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(stream, F_GETFD) >= 0) continue;
    [[maybe_unused]] const int same =
        ::open("/dev/null", stream == STDIN_FILENO ? O_WRONLY : O_RDONLY);
  }
}

/// The exit status: results that could not be written are a failure.
int end(int status) {
  const bool failed = std::ferror(stdout) != 0;
  errno = 0;
  if (std::fflush(stdout) == 0 && !failed) return status;
  std::fprintf(stderr,
               "assay: standard output cannot be written: %s; what was printed is not whole\n",
               errno != 0 ? std::strerror(errno) : "a write failed");
  return status == 0 ? 1 : status;
}

/// The one line that a command which fails leaves, whatever stands in the names that it quotes.
int refuse(int status, const std::string& message) {
  if (std::ferror(stdout) != 0) return end(1);  // it is what failed
  assay::data::note(message);
  return end(status);
}

/// Everything said on the way goes to stderr: standard output is for results.
void prepare_streams() {
  // A file-size limit is an error like a full disk, and a reader that has gone like any failure to
  // write: reported by the write that fails.
  std::signal(SIGXFSZ, SIG_IGN);
  std::signal(SIGPIPE, SIG_IGN);
  static char results[1 << 16];
  std::setvbuf(stdout, results, _IOFBF, sizeof results);  // end() writes, and sees whether it could
}

int run(int argc, char** argv) {
  CLI::App app{
      "Assay trains sparse autoencoders on cached activations and finds out what they are worth.",
      "assay"};
  try {
    occupy_closed_streams();
    assay::data::start_isolation();
    prepare_streams();
    app.set_version_flag("--version", "assay " ASSAY_VERSION);
    app.require_subcommand(1);
    app.fallthrough(false);
#define ASSAY_REGISTER(name) assay::commands::register_##name(app);
    ASSAY_COMMANDS(ASSAY_REGISTER)
#undef ASSAY_REGISTER
    app.parse(argc, argv);
    return end(0);
  } catch (const CLI::RuntimeError& error) {
    return end(error.get_exit_code());  // a command's own status
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return end(app.exit(error));  // --help, --version
    return refuse(2, assay::commands::usage_line(app, {argv + 1, argv + argc}, error));
  } catch (const assay::UsageError& error) {
    return refuse(2, error.what());
  } catch (const std::filesystem::filesystem_error& error) {
    return refuse(1, error.path1().string() + ": " + error.code().message() + "; check the path");
  } catch (const std::exception& error) {
    return refuse(1, error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (...) {
    std::fputs("assay: no memory is left, not even for a line about it\n", stderr);
    return 1;
  }
}
