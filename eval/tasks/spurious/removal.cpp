#include "eval/tasks/spurious/removal.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/results/families.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "eval/tasks/match_row.h"
#include "eval/tasks/spurious/declare.h"
#include "eval/tasks/spurious/removal_run.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

/// Values of all runs.
struct ArmCells {
  std::string metric, method;
  std::optional<size_t> dictionary;
  std::vector<std::vector<Cell>> cells;  // [n]
  std::vector<MatchQuality> match;       // [n], of "random_latents"
};

void merge(const std::vector<RemovalValues>& values, int64_t run, std::vector<ArmCells>& arms) {
  for (size_t a = 0; a < values.size(); ++a) {
    if (arms.size() == a)
      arms.push_back({values[a].metric, values[a].method, values[a].dictionary, {}, {}});
    arms[a].cells.resize(values[a].values.size());
    arms[a].match.resize(values[a].match.size());
    for (size_t n = 0; n < values[a].match.size(); ++n) arms[a].match[n].add(values[a].match[n]);
    for (size_t n = 0; n < values[a].values.size(); ++n)
      for (size_t unit = 0; unit < values[a].values[n].size(); ++unit)
        arms[a].cells[n].push_back({static_cast<int64_t>(unit), run, values[a].values[n][unit]});
  }
}

struct RemovalPlan {
  std::vector<std::string> classes;
  std::vector<RemovalRun> runs;
  std::vector<int64_t> documents;  // of their test texts
};

class RemovalTask : public PlannedTask<RemovalPlan> {
 public:
  std::string missing(const Session& session) const override {
    std::string lacks = lacks_formats(session.dataset, session.config.of<SpuriousConfig>());
    return lacks.empty() ? lacks_plain_rows(session) : lacks;
  }

 private:
  RemovalPlan make_plan(const Session& session, EncodeRequest& request) const override {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    if (std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) ==
        config.ablate.end())
      throw Error(fmt::format("targeted_removal: headline_ablate = {} is not one of ablate",
                              config.headline_ablate));
    const TextTable table = text_table(session);
    const FormatPool pool = format_pool(session.dataset, table, config);
    std::vector<std::array<FormatFold, 2>> cuts;
    for (int64_t s = 0; s < session.config.seeds; ++s)
      cuts.push_back(
          cut_folds(pool, table, derive_seed(session.seed, {'q', static_cast<uint64_t>(s)})));
    const std::vector<int32_t> chosen = choose_format_classes(pool, cuts, table, config);
    RemovalPlan plan;
    for (const int32_t c : chosen) plan.classes.push_back(pool.names[c]);
    for (const auto& folds : cuts)
      for (const size_t train : {0, 1})
        plan.runs.push_back(
            {removal_part(folds[train], chosen, config.train_per_class / 2),
             removal_part(for_tests(folds[1 - train], table), chosen, config.train_per_class / 2)});
    for (const RemovalRun& run : plan.runs) {
      for (const RemovalPart* part : {&run.train, &run.test}) request.add_texts(part->texts);
      for (const int64_t t : run.test.texts) plan.documents.push_back(table.document[t]);
    }
    return plan;
  }

  Tested tested_by(const Session& session, const RemovalPlan& plan) const override {
    const std::string part = removal_part_name(session.config.of<SpuriousConfig>().headline_ablate);
    const auto classes = std::ssize(plan.classes), runs = std::ssize(plan.runs);
    return {plan.classes,
            {{"tpp", part, "classes", classes, runs},
             {"scr", part, "pairs of classes", classes / 2, runs}}};
  }

  void run_plan(const Session& session, const EncodeCache& cache, const RemovalPlan& plan,
                TaskResult& result) const override {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    std::vector<std::vector<RemovalValues>> values(plan.runs.size());
    session.context.pool().run(std::ssize(plan.runs), [&](int64_t r, int) {
      values[r] = score_run(gather_run(session, cache, plan.runs[r]), plan.runs[r],
                            std::ssize(plan.classes), config.ablate,
                            derive_seed(session.seed, {'v', static_cast<uint64_t>(r)}));
    });
    std::vector<ArmCells> arms;
    for (size_t r = 0; r < values.size(); ++r) merge(values[r], static_cast<int64_t>(r), arms);
    declare_removal(config, result);
    for (const ArmCells& arm : arms) report_arm(session, plan, arm, result);
    report_differences(session, plan, arms, result);
    check_oracle(session, arms, result);
    describe_match(session, arms, result);
    result.details["classes"] = plan.classes;
  }

  static size_t headline(const SpuriousConfig& config) {
    return static_cast<size_t>(
        std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) -
        config.ablate.begin());
  }

  static const char* unit_name(const ArmCells& arm) {
    return arm.metric == "scr" ? "pairs of classes" : "classes";
  }

  /// All but its value.
  static Number number_of(const Session& session, const RemovalPlan& plan, const ArmCells& arm,
                          size_t n, const ArmEntry* entry) {
    Number number;
    number.metric = arm.metric;
    number.method = arm.method;
    number.part = removal_part_name(session.config.of<SpuriousConfig>().ablate[n]);
    number.n = arm.metric == "scr" ? std::ssize(plan.classes) / 2 : std::ssize(plan.classes);
    number.n_unit = arm.metric == "scr" ? "pairs" : "classes";
    if (arm.dictionary) {
      const EvalDictionary& dictionary = session.dictionaries[*arm.dictionary];
      number.dictionary = dictionary.entry.name;
      number.control = control_of(session, dictionary, entry);
      number.test_seen_in_training = seen_in_training(session, dictionary, plan.documents);
    }
    return number;
  }

  static void report_arm(const Session& session, const RemovalPlan& plan, const ArmCells& arm,
                         TaskResult& result) {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    for (size_t n = 0; n < arm.cells.size(); ++n) {
      Number number = number_of(session, plan, arm, n, find_arm(result, arm.method));
      set_estimate(number, mean_of_cells(arm.cells[n]), unit_name(arm), arm.cells[n]);
      result.numbers.push_back(number);
    }
    if (arm.method == "oracle" || arm.method == "random_latents") return;
    const std::string dictionary = !arm.dictionary ? "" : result.numbers.back().dictionary;
    Score score{arm.metric,
                removal_part_name(config.headline_ablate),
                arm.method,
                dictionary,
                arm.dictionary.has_value(),
                true,
                {}};
    score.cells = arm.cells[headline(config)];
    result.scores.push_back(std::move(score));
  }

  /// The latents less the random ones in their place, of every trained dictionary.
  static void report_differences(const Session& session, const RemovalPlan& plan,
                                 const std::vector<ArmCells>& arms, TaskResult& result) {
    const size_t n = headline(session.config.of<SpuriousConfig>());
    DifferenceFamily family;
    for (const ArmCells& arm : arms) {
      if (arm.method != "latents" || !session.dictionaries[*arm.dictionary].entry.null_kind.empty())
        continue;
      const auto control = std::find_if(arms.begin(), arms.end(), [&](const ArmCells& other) {
        return other.method == "random_latents" && other.metric == arm.metric &&
               other.dictionary == arm.dictionary;
      });
      Number number = number_of(session, plan, arm, n, nullptr);
      number.metric += "_difference";
      number.method = "latents - random_latents";
      number.control = control->method;
      const Estimate estimate = paired_difference(arm.cells[n], control->cells[n]);
      set_estimate(number, estimate, unit_name(arm), arm.cells[n]);
      family.add(std::move(number), estimate, result);
    }
    family.finish(result);
  }

  /// details["random_latents"], by dictionary, score and number.
  static void describe_match(const Session& session, const std::vector<ArmCells>& arms,
                             TaskResult& result) {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    nlohmann::json rows = nlohmann::json::array();
    for (const ArmCells& arm : arms)
      for (size_t n = 0; n < arm.match.size(); ++n) {
        rows.push_back({{"dictionary", session.dictionaries[*arm.dictionary].entry.name},
                        {"metric", arm.metric},
                        {"part", removal_part_name(config.ablate[n])}});
        add_match(rows.back(), arm.match[n]);
      }
    result.details["random_latents"] = std::move(rows);
  }

  static void check_oracle(const Session& session, const std::vector<ArmCells>& arms,
                           TaskResult& result) {
    const size_t n = headline(session.config.of<SpuriousConfig>());
    std::vector<double> p;
    std::vector<std::pair<std::string, Estimate>> differences;
    for (const ArmCells& arm : arms) {
      if (arm.method == "oracle" || arm.method == "random_latents") continue;
      const auto oracle = std::find_if(arms.begin(), arms.end(), [&](const ArmCells& other) {
        return other.method == "oracle" && other.metric == arm.metric;
      });
      const std::string owner =
          !arm.dictionary ? arm.method : session.dictionaries[*arm.dictionary].entry.name;
      differences.emplace_back(arm.metric + " of " + owner,
                               paired_difference(arm.cells[n], oracle->cells[n]));
      p.push_back(differences.back().second.p);
    }
    const std::vector<double> adjusted = holm(p);
    for (size_t i = 0; i < differences.size(); ++i) {
      const Estimate& e = differences[i].second;
      result.checks.push_back(
          {"oracle on top: " + differences[i].first, e.value <= 0 || adjusted[i] >= kCheckAlpha,
           fmt::format("less the oracle: {}, Holm p {:.3f}", estimate_text(e, true), adjusted[i])});
    }
  }
};

}  // namespace

const TaskEntry kTargetedRemoval{
    .name = "targeted_removal",
    .title = "Targeted removal (SCR and TPP)",
    .question =
        "For whoever compares with published SCR and TPP scores: how well do a few latents "
        "separate one concept from others, and how far can these two scores be trusted?",
    .make = make_task<RemovalTask>,
};

}  // namespace assay::eval::spurious
