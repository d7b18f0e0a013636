#include "eval/report/report.h"

#include <algorithm>
#include <utility>

#include "data/base/atomic_file.h"
#include "eval/report/page.h"
#include "eval/report/sections.h"
#include "eval/results/compare.h"
#include "fmt/format.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

namespace fs = std::filesystem;
using report::Page;
using report::Run;

Run read_run(const fs::path& folder) {
  if (!fs::is_directory(folder)) {
    throw UsageError(fmt::format(
        "{}: no such folder; expected a run with metrics.jsonl or results.json", folder.string()));
  }
  Run run;
  run.name = fs::weakly_canonical(folder).filename().string();
  if (const fs::path file = folder / "results.json"; fs::exists(file))
    run.results = read_results(file);
  if (const fs::path file = folder / "metrics.jsonl"; fs::exists(file))
    run.log = report::read_training_log(file);
  if (!run.results && !run.log) {
    throw UsageError(
        fmt::format("{}: expected metrics.jsonl or results.json here: train or evaluate first",
                    folder.string()));
  }
  return run;
}

/// Two runs of one name in different folders are told apart by a number.
std::vector<Run> read_runs(const std::vector<fs::path>& folders) {
  std::vector<Run> runs;
  for (const fs::path& folder : folders) {
    Run run = read_run(folder);
    const std::string name = run.name;
    const auto taken = [&runs](const std::string& candidate) {
      for (const Run& other : runs) {
        if (other.name == candidate) return true;
      }
      return false;
    };
    for (int i = 2; taken(run.name); ++i) run.name = fmt::format("{} ({})", name, i);
    runs.push_back(std::move(run));
  }
  return runs;
}

std::string or_unknown(const std::string& text, const char* what) {
  return text.empty() ? what : text;
}

/// The last part of a path: a title names the data, the provenance says where they lie.
std::string last_part(const std::string& path) {
  const size_t end = path.find_last_not_of('/');
  const size_t slash = path.find_last_of('/', end);
  return path.substr(slash == std::string::npos ? 0 : slash + 1,
                     end == std::string::npos ? 0 : end - slash);
}

std::string title_of(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (!run.results) continue;
    const Results& r = *run.results;
    return fmt::format("Dictionaries of {}, {}, on {}", or_unknown(r.model, "an unnamed model"),
                       or_unknown(r.hook, "an unnamed hook"),
                       or_unknown(last_part(r.dataset), "an unnamed data set"));
  }
  return "Training of " + runs.front().name;
}

std::string names_of(const std::vector<Run>& runs) {
  std::string names;
  for (const Run& run : runs) names += (names.empty() ? "" : ", ") + run.name;
  return names;
}

/// `runs` is empty where the training curves stand elsewhere.
void add_results(Page& page, const Run& run, bool several, const std::vector<Run>& runs) {
  const Results& results = *run.results;
  if (several) {
    page.heading(2, fmt::format("{}: {}, {}, on {}", run.name, results.model, results.hook,
                                last_part(results.dataset)));
  } else {
    page.heading(2, "Summary");
  }
  const Comparison comparison = compare(results);
  report::add_summary(page, results, comparison);
  report::add_checks(page, results, comparison);
  report::add_comparison(page, results, comparison);
  report::add_training(page, runs);
  for (const TaskResult& task : results.tasks)
    if (task.name != kComparisonTask) report::add_task(page, results, task);
  report::add_numbers(page, results);
  report::add_provenance(page, results);
}

/// Where several runs were evaluated alike, their results become one, in the first; else the page
/// says why not.
void merge_runs(Page& page, std::vector<Run>& runs) {
  std::vector<const Results*> parts;
  for (const Run& run : runs)
    if (run.results) parts.push_back(&*run.results);
  if (parts.size() < 2) return;
  std::string why;
  std::optional<Results> merged = merge_results(parts, why);
  if (!merged) {
    page.paragraph("These evaluations stand apart and are not compared: " + why + ".", "notice");
    return;
  }
  page.paragraph("Evaluated alike, these runs are compared as one.", "small");
  for (Run& run : runs)
    if (run.results) run.results = std::exchange(merged, std::nullopt);
}

}  // namespace

void write_report(const std::vector<fs::path>& folders, const fs::path& out) {
  if (folders.empty()) throw UsageError("report: no run given");
  std::vector<Run> runs = read_runs(folders);
  const std::string runtime = report::chart_runtime();
  const std::string title = title_of(runs);
  Page page;
  page.heading(1, title);
  page.paragraph(fmt::format("Assay report of {}.", names_of(runs)), "lead");
  merge_runs(page, runs);
  const auto evaluated = std::count_if(runs.begin(), runs.end(),
                                       [](const Run& run) { return run.results.has_value(); });
  if (evaluated != 1) report::add_training(page, runs);
  for (const Run& run : runs) {
    if (run.results)
      add_results(page, run, evaluated > 1, evaluated == 1 ? runs : std::vector<Run>{});
  }
  data::make_folder(out);
  data::write_file_atomically(out / "report.html", page.render(title, runtime));
}

}  // namespace assay::eval
