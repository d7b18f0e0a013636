#include "sae/finetune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>

#include "data/base/atomic_file.h"
#include "data/base/memory_room.h"
#include "data/base/output_guard.h"
#include "data/base/say.h"
#include "data/base/sha256.h"
#include "data/dataset.h"
#include "data/text_table.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "sae/append_file.h"
#include "sae/ema.h"
#include "sae/end_to_end.h"
#include "sae/plan.h"
#include "sae/run_checkpoints.h"
#include "sae/variants/variants.h"

namespace assay::sae {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr int64_t kCalibrationRows = 1 << 15;

/// The run's settings as they serve a short continuation: no second warm-up of a penalty, latents
/// dead as before.
VariantOptions options_of(const RunConfig& run, const FinetuneConfig& own,
                          const data::HookInfo& hook) {
  require_one_hook("finetune", run.model.variant);
  if (run.model.variant == "p_anneal") {
    throw UsageError(
        "finetune: p_anneal anneals over its own run and cannot be taken up again; choose another "
        "variant");
  }
  VariantOptions options{run.model, with_defaults(run.train, run.model, hook.d), hook.d, hook.d,
                         hook.variance * training_scale(hook) * training_scale(hook)};
  options.model.sparsity_warmup = 0;
  options.train.lr = own.lr > 0 ? own.lr : options.train.lr / 10;
  options.train.steps = own.steps;
  return options;
}

/// A step has the rows of its texts, which vary; the run's batch stands for them.
VariantOptions that_fits(VariantOptions options) {
  data::require_room(plan_run({{}, options}).peak(), "fine-tuning this run",
                     "free memory, or use a larger machine");
  return options;
}

std::string yaml_of(FinetuneConfig own) {
  return config::write_yaml([&](config::Fields& f) { describe(f, own); });
}

/// A fine-tuned dictionary is no reseed of one that was not, nor of one tuned otherwise.
std::string setting_of(FinetuneConfig own, const DictionaryInfo& published) {
  if (published.setting.empty()) return "";
  const FinetuneConfig defaults;
  own.seed = defaults.seed;
  own.log_every = defaults.log_every;
  own.checkpoint_every = defaults.checkpoint_every;
  own.checkpoint_minutes = defaults.checkpoint_minutes;
  own.keep_checkpoints = defaults.keep_checkpoints;
  return data::sha256(published.setting + yaml_of(own));
}

void check_settings(const fs::path& out, const FinetuneConfig& own) {
  check_same_settings(out / "finetune.yaml", yaml_of(own),
                      {"log_every", "checkpoint_every", "checkpoint_minutes", "keep_checkpoints"});
}

/// The four means by the name that a checkpoint keeps them under.
std::map<std::string, double*> means_of(FinetuneSummary& s) {
  return {{"output_loss_before", &s.output_loss_before},
          {"output_loss_after", &s.output_loss_after},
          {"fvu_before", &s.fvu_before},
          {"fvu_after", &s.fvu_after}};
}

class Finetune {
 public:
  Finetune(Context& context, const FinetuneConfig& own, const FinetunePaths& paths,
           const RunConfig& run)
      : context_(context),
        own_(own),
        paths_(paths),
        run_(run),
        published_(Dictionary::load(paths.run)),
        folder_(ModelFolder::open(paths.model, paths.trust_model_code)),
        dataset_(data::Dataset::open(run_.data.path, run_.data.sinks())),
        hook_(dataset_.hook("activations")),
        units_(units_of({hook_}, run_.data.path)),
        table_(data::text_table(dataset_)),
        variant_(make_variant(that_fits(options_of(run_, own, hook_)))),
        state_(variant_->create()),
        checkpoints_(paths.out,
                     {own.checkpoint_every, own.checkpoint_minutes, own.keep_checkpoints, 0}) {
    const data::DatasetInfo& info = dataset_.info();
    check_fit(folder_, hook_.d, info.model, info.hook, info.path.string());
    if (published_.info.scale != units_.scale.front()) {
      throw UsageError(fmt::format(
          "{}: activations of scale {}, the run's had {}: give the data set it was trained on",
          info.path.string(), units_.scale.front(), published_.info.scale));
    }
    upper_ = load_upper_half(folder_, HalfKind::script, context.pool().threads());
    inputs_ = {{"the run's dictionary",
                data::sha256_file(paths.run / "dictionary" / "dictionary.safetensors")},
               {"the model's halves", data::sha256_file(paths.model / "manifest.json")}};
    split_texts();
  }

  FinetuneSummary train(Resume resume, const volatile std::sig_atomic_t& stop) {
    const auto begun = Clock::now();
    checkpoints_.claim();
    // Another process may have been here.
    already_finished(paths_.out, run_.resolved_yaml, resume);
    if (resume == Resume::never || !restore()) start();
    const fs::path metrics = paths_.out / "metrics.jsonl";
    AppendFile log(metrics, whole_lines(metrics, log_bytes_));
    const auto loss = own_.output == "cosine" ? OutputLoss::cosine : OutputLoss::logits;
    EndToEnd end_to_end(context_, *upper_, loss, own_.share, units_, own_.texts_at_once);
    bool stopping = false;
    while (state_.step < own_.steps && !stopping) {
      const StepReport report = step(end_to_end);
      count(report, end_to_end.divergence());
      const bool last = state_.step == own_.steps;
      stopping = stop != 0;
      if (last || state_.step % own_.log_every == 0)
        log.write(line(report, end_to_end.divergence()));
      const bool due = checkpoints_.due(state_.step);
      if (last || stopping || due)
        checkpoint(log, last || stopping ? Writing::now : Writing::behind);
    }
    const bool finished = state_.step == own_.steps;
    if (finished) save();
    summary_.outcome = finished ? Outcome::finished : Outcome::interrupted;
    summary_.steps = state_.step;
    summary_.tokens = tokens_;
    summary_.seconds = std::chrono::duration<double>(Clock::now() - begun).count();
    return summary_;
  }

 private:
  void split_texts() {
    for (const auto split : {data::Split::train, data::Split::validation}) {
      std::vector<int64_t>& texts = split == data::Split::train ? train_ : validation_;
      for (int64_t t = 0; t < table_.size(); ++t) {
        if (table_.ordinary[t] > 0 && data::split_of(table_.document[t], run_.data.rule()) == split)
          texts.push_back(t);
      }
    }
    if (std::ssize(train_) < own_.texts) {
      throw UsageError(fmt::format("{}: {} texts to train on, finetune.texts = {}: lower it",
                                   run_.data.path, train_.size(), own_.texts));
    }
  }

  /// From the run's last checkpoint's weights, with fresh moments.
  void start() {
    auto saved = load_checkpoint(
        paths_.run, [&](const Checkpoint&) { return variant_->create(); },
        [](const std::string& message) { data::note(message); });
    if (!saved)
      throw UsageError(fmt::format("{}: no checkpoint to go on from", paths_.run.string()));
    State& from = saved->state;
    if (!from.averaged.empty()) publish_average(context_, from, variant_->geometry().unit_norm);
    for (auto& [name, parameter] : from.parameters)
      state_.at(name).value = std::move(parameter.value);
    state_.numbers = from.numbers;
    state_.silent = from.silent;
    state_.screen.refresh(context_, state_.encoder());
    if (fs::exists(paths_.out / "finetune.yaml"))
      check_settings(paths_.out, own_);  // of a start that was killed before its first checkpoint
    else
      data::write_file_atomically(paths_.out / "finetune.yaml", yaml_of(own_));
    keep_configuration(paths_.out, run_.resolved_yaml);
  }

  /// From this run's own newest good checkpoint. The texts are those that follow.
  bool restore() {
    if (fs::exists(paths_.out / "checkpoints")) {
      check_same_configuration(paths_.out, run_.resolved_yaml);
      check_settings(paths_.out, own_);
    }
    auto found =
        checkpoints_.restore(context_, [&](const Checkpoint&) { return variant_->create(); });
    if (!found) return false;
    const Checkpoint& checkpoint = found->checkpoint;
    check_same_data(checkpoint, dataset_.info().content_hash, dataset_.info().path);
    check_same_inputs(checkpoint, inputs_);
    state_ = std::move(found->state);
    log_bytes_ = checkpoint.metrics.bytes;
    for (const auto& [name, mean] : means_of(summary_)) {
      if (const auto kept = checkpoint.own.find(name); kept != checkpoint.own.end())
        *mean = kept->second;
    }
    for (int64_t s = 0; s < state_.step; ++s) draw();
    return true;
  }

  void checkpoint(AppendFile& log, Writing when) {
    Checkpoint checkpoint;
    checkpoint.data_hash = dataset_.info().content_hash;
    checkpoint.metrics.bytes = log.sync();
    checkpoint.inputs = inputs_;
    for (const auto& [name, mean] : means_of(summary_)) checkpoint.own[name] = *mean;
    checkpoints_.save(state_, checkpoint, when);
  }

  /// A step's part in the means over the first and the last tenth.
  void count(const StepReport& report, double output_loss) {
    const int64_t edge = std::max<int64_t>(1, own_.steps / 10);
    const double share = 1 / static_cast<double>(edge);
    if (state_.step <= edge) {
      summary_.output_loss_before += share * output_loss;
      summary_.fvu_before += share * report.fvu;
    }
    if (state_.step > own_.steps - edge) {
      summary_.output_loss_after += share * output_loss;
      summary_.fvu_after += share * report.fvu;
    }
  }

  TextBatch read(const std::vector<int64_t>& texts) const {
    TextBatch batch;
    for (const int64_t t : texts) {
      const int64_t first = table_.first[t], rows = table_.rows[t];
      for (int64_t i = 0; i < rows; ++i) {
        if (dataset_.position()[first + i] != i) {
          throw Error(fmt::format(
              "{}: row {}: text {} is not whole: the upper half needs every token of a text",
              run_.data.path, first + i, table_.number[t]));
        }
        batch.special.push_back(dataset_.left_out()[first + i]);
      }
      batch.lengths.push_back(rows);
      batch.raw.resize(batch.special.size() * hook_.d);
      dataset_.read("activations", first,
                    {batch.raw.data() + batch.raw.size() - rows * hook_.d, rows, hook_.d});
    }
    return batch;
  }

  /// The next texts of an order that is drawn anew for each pass over them.
  std::vector<int64_t> draw() {
    std::vector<int64_t> texts;
    while (std::ssize(texts) < own_.texts) {
      if (at_ == train_.size()) at_ = 0;
      if (at_ == 0) {
        Rng random(derive_seed(static_cast<uint64_t>(own_.seed), {'f', passes_++}));
        random.shuffle(std::span(train_));
      }
      texts.push_back(train_[at_++]);
      tokens_ += table_.ordinary[texts.back()];
    }
    return texts;
  }

  StepReport step(EndToEnd& end_to_end) {
    std::vector<int64_t> texts = draw();
    // The shorter first: less padding.
    std::stable_sort(texts.begin(), texts.end(),
                     [&](int64_t a, int64_t b) { return table_.rows[a] < table_.rows[b]; });
    TextBatch batch = read(texts);
    const std::vector<float> x = batch.rows(units_);
    const ConstMatrix rows(x.data(), batch.ordinary(), hook_.d);
    end_to_end.load(std::move(batch));
    NumericFlag flag;
    const StepReport report =
        variant_->step(context_, state_, {rows, rows}, learning_rate(), flag, &end_to_end);
    if (flag.raised() || !std::isfinite(report.loss)) {
      throw Error(fmt::format("step {}: the loss or a weight is not finite; {}; lower lr",
                              state_.step, checkpoints_.last_good()));
    }
    return report;
  }

  /// Linear warm-up, then a linear fall to 0.
  double learning_rate() const {
    const auto t = static_cast<double>(state_.step), steps = static_cast<double>(own_.steps);
    const double warmup =
        std::min(1.0, (t + 1) / static_cast<double>(std::max<int64_t>(1, own_.warmup_steps)));
    return variant_->options().train.lr * warmup * (1 - t / steps);
  }

  std::string line(const StepReport& report, double output_loss) const {
    return nlohmann::ordered_json{{"step", state_.step},       {"tokens", tokens_},
                                  {"loss", report.loss},       {"fvu", report.fvu},
                                  {"l0", report.l0},           {"dead", report.dead},
                                  {"output_loss", output_loss}}
               .dump() +
           "\n";
  }

  void calibrate() {
    std::vector<int64_t> texts;
    int64_t rows = 0;
    for (size_t i = 0; i < validation_.size() && rows < kCalibrationRows; ++i) {
      texts.push_back(validation_[i]);
      rows += table_.ordinary[validation_[i]];
    }
    if (texts.empty())
      throw UsageError("model.threshold = calibrated needs validation rows: none of the texts are");
    const std::vector<float> x = read(texts).rows(units_);
    variant_->calibrate(context_, state_, {x.data(), rows, hook_.d});
  }

  void save() {
    if (variant_->needs_validation()) calibrate();
    Dictionary dictionary = variant_->dictionary(state_);
    const std::string encoding = dictionary.info.encoding;
    const int64_t k = dictionary.info.k;
    const bool centred = dictionary.info.centred;
    dictionary.info = published_.info;
    dictionary.info.encoding = encoding;
    dictionary.info.centred = centred;
    dictionary.info.k = k;
    dictionary.info.tokens += tokens_;
    dictionary.info.setting = setting_of(own_, published_.info);
    dictionary.info.warnings.clear();  // they were said of other weights
    dictionary.fold(units_, units_);
    dictionary.save(paths_.out / "dictionary");
  }

  Context& context_;
  const FinetuneConfig& own_;
  const FinetunePaths& paths_;
  RunConfig run_;
  Dictionary published_;
  ModelFolder folder_;
  data::Dataset dataset_;
  data::HookInfo hook_;
  Units units_;
  data::TextTable table_;
  std::unique_ptr<Variant> variant_;
  State state_;
  RunCheckpoints checkpoints_;
  std::unique_ptr<UpperHalf> upper_;
  std::map<std::string, std::string> inputs_;
  std::vector<int64_t> train_, validation_;  // indices into the table
  size_t at_ = 0;
  uint64_t passes_ = 0;
  int64_t tokens_ = 0, log_bytes_ = 0;
  FinetuneSummary summary_;
};

}  // namespace

void describe(config::Fields& f, FinetuneConfig& c) {
  f.integer("steps", c.steps, {1, int64_t{1} << 40}, "steps", "Optimiser steps.");
  f.integer("texts", c.texts, {1, 1 << 20}, "texts", "Texts a step.");
  f.integer("texts_at_once", c.texts_at_once, {1, 1 << 16}, "texts",
            "Texts a forward pass, on one thread.");
  f.integer("seed", c.seed, {0, INT64_MAX}, "", "Seed of the order of the texts.");
  f.integer("warmup_steps", c.warmup_steps, {0, int64_t{1} << 40}, "steps",
            "Linear warm-up of the learning rate, which then falls to 0.");
  f.integer("log_every", c.log_every, {1, 1 << 30}, "steps",
            "Steps between lines of metrics.jsonl.");
  f.real("share", c.share, {0.001, 1}, "",
         "Share of the model's output in the loss, which is balanced with the squared error at "
         "every step; 1 leaves "
         "the squared error out.");
  f.real("lr", c.lr, {0, 10}, "", "Learning rate; 0 takes a tenth of the run's.");
  f.choice(
      "output", c.output, {"cosine", "logits"},
      "What the output is compared by: 1 - cosine (embeddings), or KL between softmaxes (logits).");
  f.integer("checkpoint_every", c.checkpoint_every, {0, int64_t{1} << 40}, "steps",
            "A checkpoint is also due every so many steps; 0 = never by steps.");
  f.real("checkpoint_minutes", c.checkpoint_minutes, {0, 1e6}, "minutes",
         "A checkpoint is due when this long has passed since the last; 0 = never by time.");
  f.integer("keep_checkpoints", c.keep_checkpoints, {1, 1 << 20}, "checkpoints",
            "Newest checkpoints kept.");
}

FinetuneSummary finetune(Context& context, const RunConfig& run, const FinetuneConfig& config,
                         const FinetunePaths& paths, Resume resume,
                         const volatile std::sig_atomic_t& stop) {
  data::guard_folder(paths.out, {}, {data::FolderKind::finetune});
  if (run.data.path.empty() || run.data.rolling || run.data.hook != "activations") {
    throw UsageError(
        "finetune: whole texts are read from one data set's /activations: name its folder with "
        "--data");
  }
  if (already_finished(paths.out, run.resolved_yaml, resume)) {
    check_settings(paths.out, config);
    FinetuneSummary done;
    done.outcome = Outcome::already_finished;
    done.steps = config.steps;
    return done;
  }
  return Finetune(context, config, paths, run).train(resume, stop);
}

}  // namespace assay::sae
