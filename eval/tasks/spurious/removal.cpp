#include "eval/tasks/spurious/removal.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/results/compare.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/spurious/declare.h"
#include "eval/tasks/spurious/removal_run.h"
#include "kernels/base/error.h"
#include "kernels/base/rng.h"

namespace assay::eval::spurious {
namespace {

/// Values of all runs.
struct ArmCells {
  std::string metric, method;
  int dictionary;
  std::vector<std::vector<Cell>> cells;  // [n]
};

void merge(const std::vector<RemovalValues>& values, int64_t run, std::vector<ArmCells>& arms) {
  for (size_t a = 0; a < values.size(); ++a) {
    if (arms.size() == a)
      arms.push_back({values[a].metric, values[a].method, values[a].dictionary, {}});
    arms[a].cells.resize(values[a].values.size());
    for (size_t n = 0; n < values[a].values.size(); ++n)
      for (size_t unit = 0; unit < values[a].values[n].size(); ++unit)
        arms[a].cells[n].push_back(
            {static_cast<int64_t>(unit), kAnyDictionary, run, values[a].values[n][unit]});
  }
}

class RemovalTask : public Task {
 public:
  std::string name() const override { return "targeted_removal"; }
  std::string title() const override { return "Targeted removal (SCR and TPP)"; }
  std::string question() const override {
    return "For whoever compares with published SCR and TPP scores: how well do a few latents "
           "separate one concept "
           "from others, and how far can these two scores be trusted?";
  }
  std::string missing(const Session& session) const override {
    return lacks_formats(session.dataset, session.config.spurious);
  }

  void request(const Session& session, EncodeRequest& request) override {
    const SpuriousConfig& config = session.config.spurious;
    if (std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) ==
        config.ablate.end())
      throw Error(fmt::format("targeted_removal: headline_ablate = {} is not one of ablate",
                              config.headline_ablate));
    const TextTable table = text_table(session.dataset);
    const FormatPool pool = format_pool(session.dataset, table, config);
    std::vector<std::array<FormatHalf, 2>> cuts;
    for (int64_t s = 0; s < session.config.seeds; ++s)
      cuts.push_back(
          cut_halves(pool, table, derive_seed(session.seed, {'q', static_cast<uint64_t>(s)})));
    const std::vector<int32_t> chosen = choose_format_classes(pool, cuts, config);
    classes_.clear();
    for (const int32_t c : chosen) classes_.push_back(pool.names[c]);
    runs_.clear();
    for (const auto& halves : cuts)
      for (const size_t train : {0, 1})
        runs_.push_back({removal_part(halves[train], chosen, config.train_per_class / 2),
                         removal_part(halves[1 - train], chosen, config.train_per_class / 2)});
    documents_.clear();
    for (const RemovalRun& run : runs_)
      for (const RemovalPart* part : {&run.train, &run.test}) {
        request.texts.insert(request.texts.end(), part->texts.begin(), part->texts.end());
        for (const int64_t t : part->texts) documents_.push_back(table.document[t]);
      }
  }

  void run(const Session& session, const EncodeCache& cache, TaskResult& result) override {
    const SpuriousConfig& config = session.config.spurious;
    std::vector<std::vector<RemovalValues>> values(runs_.size());
    session.context.pool().run(std::ssize(runs_), [&](int64_t r, int) {
      values[r] =
          score_run(gather_run(session, cache, runs_[r]), runs_[r], std::ssize(classes_),
                    config.ablate, derive_seed(session.seed, {'v', static_cast<uint64_t>(r)}));
    });
    std::vector<ArmCells> arms;
    for (size_t r = 0; r < values.size(); ++r) merge(values[r], static_cast<int64_t>(r), arms);
    declare_removal(config, result);
    for (const ArmCells& arm : arms) report_arm(session, arm, result);
    check_oracle(session, arms, result);
    result.details["classes"] = classes_;
  }

 private:
  static size_t headline(const SpuriousConfig& config) {
    return static_cast<size_t>(
        std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) -
        config.ablate.begin());
  }
  static uint64_t bootstrap_seed(const Session& session) {
    return derive_seed(session.seed, {'b', 'r'});
  }

  void report_arm(const Session& session, const ArmCells& arm, TaskResult& result) const {
    const SpuriousConfig& config = session.config.spurious;
    for (size_t n = 0; n < arm.cells.size(); ++n) {
      const Estimate estimate =
          hierarchical_bootstrap(arm.cells[n], bootstrap_seed(session), session.config.resamples);
      Number number;
      number.metric = arm.metric;
      number.method = arm.method;
      number.part = removal_part_name(config.ablate[n]);
      number.value = estimate.value;
      number.interval = estimate.interval;
      number.interval_kind =
          fmt::format("hierarchical bootstrap over {} × (evaluation seed, document half)",
                      arm.metric == "scr" ? "pairs of classes" : "classes");
      number.n = arm.metric == "scr" ? std::ssize(classes_) / 2 : std::ssize(classes_);
      number.n_unit = arm.metric == "scr" ? "pairs" : "classes";
      number.seed = bootstrap_seed(session);
      if (arm.dictionary >= 0) {
        const EvalDictionary& dictionary =
            session.dictionaries[static_cast<size_t>(arm.dictionary)];
        number.dictionary = dictionary.entry.name;
        number.control = dictionary.entry.null_kind;
        number.test_seen_in_training = seen_in_training(session, dictionary, documents_);
      }
      result.numbers.push_back(number);
    }
    if (arm.method == "oracle") return;
    const std::string dictionary = arm.dictionary < 0 ? "" : result.numbers.back().dictionary;
    Score score{arm.metric,
                removal_part_name(config.headline_ablate),
                arm.method,
                dictionary,
                arm.dictionary >= 0,
                true,
                {}};
    for (const Cell& cell : arm.cells[headline(config)])
      score.cells.push_back({cell.task, cell.seed, cell.value});
    result.scores.push_back(std::move(score));
  }

  static void check_oracle(const Session& session, const std::vector<ArmCells>& arms,
                           TaskResult& result) {
    const size_t n = headline(session.config.spurious);
    std::vector<double> p;
    std::vector<std::pair<std::string, Estimate>> differences;
    for (const ArmCells& arm : arms) {
      if (arm.method == "oracle") continue;
      const auto oracle = std::find_if(arms.begin(), arms.end(), [&](const ArmCells& other) {
        return other.method == "oracle" && other.metric == arm.metric;
      });
      const std::string owner =
          arm.dictionary < 0 ? arm.method
                             : session.dictionaries[static_cast<size_t>(arm.dictionary)].entry.name;
      differences.emplace_back(
          arm.metric + " of " + owner,
          paired_difference(arm.cells[n], oracle->cells[n], bootstrap_seed(session),
                            session.config.resamples));
      p.push_back(differences.back().second.p);
    }
    const std::vector<double> adjusted = holm(p);
    for (size_t i = 0; i < differences.size(); ++i) {
      const Estimate& e = differences[i].second;
      result.checks.push_back(
          {"oracle on top: " + differences[i].first, e.value <= 0 || adjusted[i] >= kAlpha,
           fmt::format("less the oracle: {:+.3f} [{:+.3f}, {:+.3f}], Holm p {:.3f}", e.value,
                       e.interval[0], e.interval[1], adjusted[i])});
    }
  }

  std::vector<std::string> classes_;
  std::vector<RemovalRun> runs_;
  std::vector<int64_t> documents_;
};

}  // namespace

std::unique_ptr<Task> make_removal_task() { return std::make_unique<RemovalTask>(); }

}  // namespace assay::eval::spurious
