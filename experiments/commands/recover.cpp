// assay recover: how much of a planted dictionary trained ones have found.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/context.h"
#include "sae/formats/format.h"
#include "sae/planted.h"
#include "sae/recovery.h"

namespace assay::commands {
namespace {

struct Options {
  std::vector<std::string> dictionaries;
  std::string planted;
  int64_t rows = 100'000;
  int threads = 0;
  bool json = false;
};

nlohmann::ordered_json to_json(const std::string& name, const sae::Dictionary& dictionary,
                               const sae::Recovery& r) {
  return {{"dictionary", name},
          {"hash", dictionary.hash()},
          {"variant", dictionary.info.variant},
          {"seed", dictionary.info.seed},
          {"n", dictionary.info.n},
          {"mcc", r.directions.mcc},
          {"recovered", r.directions.recovered},
          {"uniqueness", r.directions.uniqueness},
          {"f1", r.f1},
          {"ev", r.ev},
          {"l0", r.l0},
          {"true_l0", r.true_l0},
          {"dead", r.dead},
          {"rows", r.rows}};
}

void print_table(const std::vector<std::string>& names, const std::vector<sae::Recovery>& all) {
  fmt::print("{:>6} {:>9} {:>10} {:>6} {:>6} {:>7} {:>6}  dictionary\n", "MCC", "recovered",
             "uniqueness", "F1", "EV", "L0", "dead");
  for (size_t i = 0; i < all.size(); ++i) {
    const sae::Recovery& r = all[i];
    fmt::print("{:6.3f} {:9.4f} {:10.3f} {:6.3f} {:6.3f} {:7.2f} {:6}  {}\n", r.directions.mcc,
               r.directions.recovered, r.directions.uniqueness, r.f1, r.ev, r.l0, r.dead, names[i]);
  }
}

void run(const Options& options) {
  Context context({Device::cpu, options.threads});
  const sae::PlantedModel model(sae::read_planted(options.planted));
  std::vector<sae::Recovery> all;
  auto json = nlohmann::ordered_json::array();
  for (const std::string& name : options.dictionaries) {
    const sae::Dictionary dictionary = sae::formats::open_dictionary(name);
    all.push_back(sae::measure_recovery(context, model, dictionary, options.rows));
    json.push_back(to_json(name, dictionary, all.back()));
  }
  if (options.json) {
    print_json(json);
  } else {
    print_table(options.dictionaries, all);
  }
}

}  // namespace

void register_recover(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("recover", "Measure what dictionaries found of a planted one.");
  command->footer(
      "MCC: mean |cosine| of the best one-to-one matching. recovered: share of true features with "
      "a latent at cosine\n"
      "above 0.8. uniqueness: different nearest features over latents. F1: firing of latents as "
      "detectors of their\n"
      "nearest feature. EV, F1 and L0 are taken on fresh rows, which the training data do not "
      "hold. See\n"
      "docs/planted.md.");
  command->add_option("dictionaries", options->dictionaries, "Dictionary or run folders")
      ->required();
  command->add_option("--planted", options->planted, "Folder that assay synthesize wrote")
      ->required();
  command->add_option("--rows", options->rows, "Fresh rows to measure on")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 40))
      ->capture_default_str();
  add_threads(*command, options->threads);
  command->add_flag("--json", options->json, "Print a list of measurements as JSON on stdout");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
