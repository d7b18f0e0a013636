// assay harvest: a model's lower half over a tokenised corpus, into shards.
#include "data/harvest.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/corpus.h"
#include "experiments/commands/commands.h"
#include "experiments/commands/common_options.h"
#include "experiments/commands/print_json.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "sae/model_half.h"

namespace assay::commands {
namespace {

struct Arguments {
  std::string model, corpus, out, dtype = "f16", half = "compiled";
  int threads = 0, layer = -1;
  int64_t max_tokens = 0, rows_per_shard = 1 << 18, disk_limit = 0;
  bool trust = false, json = false;
};

/// tokens/s, share and time left on stderr: one line rewritten on a terminal, else a line every ten
/// seconds.
class Progress {
 public:
  void operator()(int64_t done, int64_t resumed, int64_t total) {
    if (done == total && last_ == 0) return;
    const double now = seconds();
    if (now - last_ < (terminal_ ? 0.5 : 10) && done != total) return;
    last_ = now;
    const double rate = static_cast<double>(done - resumed) / now;
    const double left = rate > 0 ? static_cast<double>(total - done) / rate : 0;
    data::say(fmt::format("{}harvest {} of {} tokens  {:.1f} %  {:.0f} tokens/s  {:.0f} s left{}",
                          terminal_ ? "\r\033[K" : "", done, total,
                          100.0 * static_cast<double>(done) / static_cast<double>(total), rate,
                          left, terminal_ && done != total ? "" : "\n"));
  }
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  double last_ = 0;
  bool terminal_ = isatty(STDERR_FILENO) != 0;
};

data::HarvestOptions options_of(const Arguments& a, const sae::ModelFolder& model) {
  data::HarvestOptions o;
  o.out = a.out;
  o.dtype = parse_dtype(a.dtype);
  o.threads = a.threads;
  o.max_tokens = a.max_tokens;
  o.rows_per_shard = a.rows_per_shard;
  o.disk_limit = a.disk_limit;
  o.model = model.model;
  o.revision = model.revision;
  o.hook = model.hook();
  o.tokenizer_hash = model.tokenizer_hash;
  o.vocabulary = model.vocabulary;
  o.max_length = model.max_length;
  return o;
}

void run(const Arguments& a) {
  data::guard_folder(a.out, {a.corpus}, {data::FolderKind::dataset}, {"texts.h5"});
  const sae::ModelFolder model = sae::ModelFolder::open(a.model, a.trust);
  if (a.layer >= 0 && a.layer != model.layer) {
    throw UsageError(
        fmt::format("--layer {}: {} was cut after layer {}; export it again with --layer {}",
                    a.layer, a.model, model.layer, a.layer));
  }
  data::HarvestOptions options = options_of(a, model);
  const data::Corpus corpus = data::Corpus::open(a.corpus);
  options.threads = ThreadPool(a.threads).threads();
  const auto kind = a.half == "script" ? sae::HalfKind::script : sae::HalfKind::compiled;
  const auto half = sae::load_lower_half(model, kind, options.threads);
  data::say(fmt::format("harvest {} {}, d {}, {} texts, {} threads\n", model.model, model.hook(),
                        model.d, corpus.texts(), options.threads));
  const auto progress = std::make_shared<Progress>();
  options.progress = [progress](int64_t done, int64_t resumed, int64_t total) {
    (*progress)(done, resumed, total);
  };
  const data::HarvestResult result = data::harvest(corpus, *half, options);
  const double seconds = progress->seconds();
  const double rate = static_cast<double>(result.rows - result.resumed) / seconds;
  data::say(fmt::format(
      "wrote {}: {} rows of {} texts in {:.0f} s ({:.0f} tokens/s{})\n", a.out, result.rows,
      result.texts, seconds, rate,
      result.resumed > 0 ? fmt::format("; {} rows were there already", result.resumed) : ""));
  if (!a.json) return;
  const nlohmann::json out = {{"out", a.out},          {"rows", result.rows},
                              {"texts", result.texts}, {"resumed", result.resumed},
                              {"seconds", seconds},    {"tokens_per_s", rate}};
  print_json(out);
}

}  // namespace

void register_harvest(CLI::App& app) {
  auto a = std::make_shared<Arguments>();
  CLI::App* command = app.add_subcommand(
      "harvest",
      "Run a model's exported lower half over a tokenised corpus and write shards of activations.");
  command->footer(
      "MODEL is a folder from data/python/export_halves.py; its layer was chosen there. CORPUS is "
      "a file from\n"
      "data/python/tokenise.py. Killed and started again with the same arguments, the harvest "
      "continues after the "
      "last\n"
      "whole shard and ends in the same bytes. See docs/harvesting.md.");
  command->add_option("--model", a->model, "Folder of exported halves")->required();
  command->add_option("--corpus", a->corpus, "Tokenised corpus (.h5)")->required();
  command->add_option("--out", a->out, "Folder to write the shards to")->required();
  command->add_option("--dtype", a->dtype, "Stored type")
      ->check(CLI::IsMember({"f16", "bf16", "f32"}))
      ->capture_default_str();
  command->add_option("--layer", a->layer, "Refuse a model that was cut after another layer")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--half", a->half, "Which export runs: compiled (fast) or script (any CPU)")
      ->check(CLI::IsMember({"compiled", "script"}))
      ->capture_default_str();
  command
      ->add_option("--max-tokens", a->max_tokens,
                   "Stop before the text that would pass this many tokens (0: all)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  add_shards(*command, a->rows_per_shard, a->disk_limit);
  add_threads(*command, a->threads);
  command->add_flag("--trust-model-code", a->trust,
                    "Run halves that are not in the trust list: they are code");
  command->add_flag("--json", a->json, "Print a summary as JSON on stdout");
  command->callback([a] { run(*a); });
}

}  // namespace assay::commands
