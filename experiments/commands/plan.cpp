// assay plan: what a training run will need, before anything starts.
#include "sae/plan.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/memory_room.h"
#include "data/dataset.h"
#include "data/stream_plan.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/config.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "sae/hooks.h"
#include "sae/unused_settings.h"
#include "sae/variants/variants.h"

namespace assay::commands {

namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

struct Options {
  std::string config, out = ".", gpu;
  std::vector<std::string> overrides;
  int64_t dims = 0, ranks = 1;
  bool json = false;
};

std::vector<data::HookInfo> hooks_of(const data::Dataset& dataset,
                                     const std::vector<std::string>& names) {
  std::vector<data::HookInfo> hooks;
  for (const std::string& name : names) hooks.push_back(dataset.hook(name));
  return hooks;
}

/// Sizes and order of the chunks, all hooks together.
void look_at_chunks(const data::Dataset& dataset, const Config& config,
                    const std::vector<data::HookInfo>& hooks, sae::PlanInput& in) {
  sae::add_chunks(dataset, hooks, in);
  data::StreamOptions stream;
  stream.hook = config.data.hook;
  stream.batch = config.train.step_rows();
  stream.lanes = static_cast<int>(config.data.lanes);
  stream.window_chunks = config.data.window_chunks;
  stream.mix_documents = config.data.mix_documents;
  stream.include_special = config.data.include_special;
  stream.rule = config.data.rule();
  const data::StreamPlan plan(dataset, stream);
  in.rows_per_epoch = plan.rows_per_epoch();
  in.window_chunks = plan.window_chunks();
}

/// The variant at the sizes that the data set says, or --dims.
void look_at_data(const Config& config, const Options& options, sae::PlanInput& in) {
  sae::check_hooks(config.data, config.model.variant);
  const std::vector<std::string> names = sae::input_names(config.data);
  std::vector<data::HookInfo> inputs(names.size()), targets;
  if (!config.data.target_hook.empty()) targets.emplace_back();
  if (options.dims > 0) {
    for (auto* hooks : {&inputs, &targets}) {
      for (data::HookInfo& hook : *hooks) hook.d = options.dims;
    }
  } else if (config.data.path.empty()) {
    throw UsageError(options.config +
                     ": data.path is empty: name the folder of shards, or give --dims");
  } else {
    const data::Dataset dataset = data::Dataset::open(config.data.path, config.data.sinks());
    inputs = hooks_of(dataset, names);
    if (!targets.empty()) targets = hooks_of(dataset, {config.data.target_hook});
    std::vector<data::HookInfo> all = inputs;
    all.insert(all.end(), targets.begin(), targets.end());
    look_at_chunks(dataset, config, all, in);
  }
  in.variant =
      sae::variant_options(config.model, config.train, inputs, targets.empty() ? inputs : targets);
  in.variant.variance = 1;
}

int64_t own_memory() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} << 10;
}

/// Median seconds of a few real steps on random rows, with no latent dead.
double calibrated_seconds(const sae::PlanInput& in) {
  const sae::VariantOptions& o = in.variant;
  Context context({Device::cpu, static_cast<int>(o.train.threads)});
  const auto variant = sae::make_variant(o);
  sae::State state = variant->create();
  const int64_t rows = o.train.step_rows();
  std::vector<float> x(rows * o.d_in), y(in.data.target_hook.empty() ? 0 : rows * o.d_out);
  const Matrix input(x.data(), rows, o.d_in);
  sae::unit_rows(context, 1, input);
  sae::Batch batch{input, input};
  if (!y.empty()) {
    const Matrix target(y.data(), rows, o.d_out);
    sae::unit_rows(context, 3, target);
    batch.y = target;
  }
  variant->initialise(context, state, 2, batch);
  std::vector<double> seconds;
  const auto start = Clock::now();
  for (int step = 0; step < 12 && (step < 3 || Clock::now() - start < std::chrono::seconds(5));
       ++step) {
    const auto begin = Clock::now();
    NumericFlag flag;
    variant->step(context, state, batch, 1e-5, flag);
    if (step > 0) seconds.push_back(std::chrono::duration<double>(Clock::now() - begin).count());
  }
  std::sort(seconds.begin(), seconds.end());
  return seconds[seconds.size() / 2];
}

Json list(const std::vector<sae::PlanItem>& items) {
  Json json = Json::object();
  for (const sae::PlanItem& item : items) {
    if (item.bytes > 0) json[item.what] = item.bytes;
  }
  return json;
}

/// Where the run would lie: the nearest folder that is there.
fs::path existing(fs::path path) {
  path = fs::absolute(path);
  while (!fs::exists(path)) path = path.parent_path();
  return path;
}

Json time_of(const sae::PlanInput& in, const Options& options, bool fits) {
  Json time{{"seconds_a_step", nullptr}, {"seconds", nullptr}};
  if (!options.gpu.empty()) {
    const auto& gpus = sae::known_gpus();
    const auto gpu = std::find_if(gpus.begin(), gpus.end(),
                                  [&](const sae::Gpu& g) { return g.name == options.gpu; });
    time["seconds_a_step"] = sae::modelled_seconds(in, *gpu);
    time["how"] = fmt::format(
        "a model of {} from its data sheet, as TopK encodes (product at 50 % of {:.0f} TFLOP/s, "
        "memory at 80 % of "
        "{:.2f} TB/s; without "
        "reading and communication), not a measurement",
        gpu->name, gpu->flops / 1e12, gpu->bandwidth / 1e12);
  } else if (!fits) {
    time["how"] = "not calibrated: the run does not fit into this machine's memory";
  } else if (in.ranks > 1) {
    time["how"] = "not calibrated: several ranks; name a --gpu for a model";
  } else {
    time["seconds_a_step"] = calibrated_seconds(in);
    time["how"] =
        "calibrated: median of a few steps on random rows on this machine, without reading, AuxK's "
        "part while latents "
        "are dead, and checkpoints";
  }
  if (time["seconds_a_step"].is_number()) {
    time["seconds"] =
        time["seconds_a_step"].get<double>() * static_cast<double>(in.variant.train.steps);
  }
  return time;
}

Json facts_of(const sae::PlanInput& in, const Options& options) {
  const sae::Plan plan = sae::plan_run(in);
  const int64_t peak = plan.peak() + own_memory(), disk = plan.disk_bytes();
  const int64_t here = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  const data::MemoryRoom left = data::memory_room();
  const auto room = static_cast<int64_t>(fs::space(existing(options.out)).available);
  Json facts{{"steps", plan.steps},          {"tokens_a_step", plan.rows_a_step},
             {"tokens", plan.tokens},        {"epochs", plan.epochs},
             {"d", in.variant.d_in},         {"d_out", in.variant.d_out},
             {"parameters", plan.parameters}};
  if (plan.epochs == 0) facts["epochs"] = nullptr;
  Json memory{{"peak", peak}, {"this_machine", here}};
  memory["always"] = list(plan.resident);
  memory["always"]["the program and its libraries"] = own_memory();
  memory["one_at_a_time"] = list(plan.transient);
  memory["on_top_at_most"] = list({plan.aux_at_most});
  memory["if_there_is_room"] = list({plan.checkpoint_copy});
  facts["memory"] = memory;
  facts["disk"] = {{"total", disk}, {"free", room}, {"parts", list(plan.disk)}};
  if (in.ranks > 1) facts["received_a_rank_and_step"] = plan.received;
  facts["warnings"] = Json::array();
  double limit = static_cast<double>(left.bytes);
  for (const sae::Gpu& gpu : sae::known_gpus()) {
    if (gpu.name == options.gpu) limit = gpu.memory;
  }
  const bool fits = static_cast<double>(peak) <= limit;
  if (!fits)
    facts["warnings"].push_back(fmt::format("memory: {:.1f} GB of {:.1f} GB ({})", peak / 1e9,
                                            limit / 1e9,
                                            options.gpu.empty() ? left.limit : options.gpu));
  if (disk > room)
    facts["warnings"].push_back(
        fmt::format("disk: {:.1f} GB of {:.1f} GB free", disk / 1e9, room / 1e9));
  facts["time"] = time_of(in, options, fits);
  return facts;
}

void print_bytes(const Json& items) {
  for (const auto& [what, bytes] : items.items()) {
    fmt::print("  {:<48} {:>10.1f} MB\n", what, bytes.get<double>() / 1e6);
  }
}

void print(const Json& f) {
  fmt::print("{} steps of {} tokens: {} tokens", f["steps"].get<int64_t>(),
             f["tokens_a_step"].get<int64_t>(), f["tokens"].get<int64_t>());
  if (f["epochs"].is_number())
    fmt::print(", {:.2f} times the training split", f["epochs"].get<double>());
  fmt::print("\n{} parameters\n", f["parameters"].get<int64_t>());
  const Json& memory = f["memory"];
  fmt::print("memory: {:.2f} GB at the peak (this machine has {:.1f} GB)\n",
             memory["peak"].get<double>() / 1e9, memory["this_machine"].get<double>() / 1e9);
  print_bytes(memory["always"]);
  fmt::print("  of these one at a time:\n");
  print_bytes(memory["one_at_a_time"]);
  if (!memory["on_top_at_most"].empty()) fmt::print("  on top, at most:\n");
  print_bytes(memory["on_top_at_most"]);
  if (!memory["if_there_is_room"].empty())
    fmt::print("  while a checkpoint is written, if there is room:\n");
  print_bytes(memory["if_there_is_room"]);
  fmt::print("disk: {:.2f} GB ({:.1f} GB free)\n", f["disk"]["total"].get<double>() / 1e9,
             f["disk"]["free"].get<double>() / 1e9);
  print_bytes(f["disk"]["parts"]);
  if (f.contains("received_a_rank_and_step")) {
    fmt::print("network: {:.1f} MB a rank and step\n",
               f["received_a_rank_and_step"].get<double>() / 1e6);
  }
  const Json& time = f["time"];
  if (time["seconds"].is_number()) {
    fmt::print("time: {:.0f} s, {:.2f} ms a step; ", time["seconds"].get<double>(),
               1e3 * time["seconds_a_step"].get<double>());
  } else {
    fmt::print("time: ");
  }
  fmt::print("{}\n", time["how"].get<std::string>());
  for (const Json& warning : f["warnings"])
    fmt::print("does not fit: {}\n", warning.get<std::string>());
}

void run(const Options& options) {
  Config config;
  config::read_yaml(options.config, options.overrides,
                    [&](config::Fields& fields) { describe(fields, config); });
  sae::check_settings(config.model, config.train);
  sae::PlanInput in;
  in.data = config.data;
  in.ranks = options.ranks;
  look_at_data(config, options, in);
  const Json facts = facts_of(in, options);
  if (options.json) {
    print_json(facts);
  } else {
    print(facts);
  }
}

}  // namespace

void register_plan(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("plan", "Say what a training run will need: memory, disk, steps, time.");
  command->footer(
      "Starts and writes nothing. Without --gpu the time comes from a few real steps on random "
      "rows on this machine;\n"
      "with it, from a model of the device's data sheet, and it is not a measurement. --ranks "
      "divides the latents\n"
      "among processes that all see every row. What does not fit is said, and the exit status is "
      "still 0.");
  command->add_option("config", options->config, "YAML configuration.")->required();
  command->add_option("--out", options->out, "Where the run would lie, for the free disk space.");
  command
      ->add_option("--dims", options->dims,
                   "Dimensions of every hook, where there are no shards yet.")
      ->check(CLI::PositiveNumber);
  command->add_option("--ranks", options->ranks, "Processes that share the latents.")
      ->check(CLI::Range(1, 65536));
  std::vector<std::string> names;
  for (const sae::Gpu& gpu : sae::known_gpus()) names.emplace_back(gpu.name);
  command->add_option("--gpu", options->gpu, "Model the time of this device.")
      ->check(CLI::IsMember(names));
  add_overrides(*command, options->overrides, "train.steps=100");
  command->add_flag("--json", options->json, "Print the plan as JSON on stdout.");
  command->callback([options] { run(*options); });
}

}  // namespace assay::commands
