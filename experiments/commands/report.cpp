// assay report: one self-contained HTML file from what runs and evaluations left behind.
#include "eval/report/report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "data/base/output_guard.h"
#include "eval/report/page.h"
#include "eval/results/results.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/print_json.h"

namespace assay::commands {
namespace {

struct Options {
  std::vector<std::filesystem::path> runs;
  std::filesystem::path out;
  bool json = false;
};

void report(const Options& options) {
  using data::FolderKind;
  data::guard_folder(options.out, {}, {FolderKind::run, FolderKind::finetune});
  data::guard_file(options.out / "report.html", {}, "a report", eval::report::is_page);
  eval::write_report(options.runs, options.out);
  const std::string file = (options.out / "report.html").string();
  if (options.json) {
    const nlohmann::json answer = {{"report", file}, {"bytes", std::filesystem::file_size(file)}};
    print_json(answer);
  } else {
    for (const std::filesystem::path& run : options.runs) {
      const std::filesystem::path results = run / "results.json";
      if (std::filesystem::exists(results))
        fmt::print("{}", eval::summary_table(eval::read_results(results)));
    }
    fmt::print("wrote {}\n", file);
  }
}

}  // namespace

void register_report(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "report", "Write report.html, one file that opens offline, and print the summary");
  command->add_option("runs", options->runs, "Folders with results.json, metrics.jsonl or both")
      ->required();
  command->add_option("--out", options->out, "Folder for report.html")->required();
  command->add_flag("--json", options->json, "Print where the report is as JSON");
  command->callback([options] { report(*options); });
}

}  // namespace assay::commands
