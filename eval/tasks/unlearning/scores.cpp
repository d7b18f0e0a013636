#include "eval/tasks/unlearning/scores.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "eval/results/families.h"
#include "eval/results/text.h"
#include "eval/results/words.h"
#include "eval/statistics/inference.h"
#include "eval/tasks/match_row.h"
#include "eval/tasks/unlearning/declare.h"
#include "eval/tasks/unlearning/readings.h"

namespace assay::eval::unlearning {
namespace {

/// Which outcomes of a run.
using Source = std::function<Mixture(const RunOutcome& run)>;

struct Arm {
  std::string method, dictionary, control;
  std::optional<size_t> index;  ///< of the dictionary
};

class Report {
 public:
  Report(const Session& session, const std::vector<RunOutcome>& runs,
         const std::vector<std::optional<bool>>& seen, TaskResult& result)
      : session_(session),
        config_(session.config.of<UnlearningConfig>()),
        runs_(runs),
        seen_(seen),
        result_(result) {
    headline_ = static_cast<size_t>(
        std::find(config_.labels.begin(), config_.labels.end(), config_.headline_labels) -
        config_.labels.begin());
  }
  void fill();

 private:
  /// At the budget's damage.
  std::vector<Cell> cells(const Source& source, const Reading& reading) const;
  std::vector<Cell> damages(const Source& source) const;
  std::vector<Cell> cells_of(
      const std::function<std::vector<double>(const RunOutcome&)>& by_class) const;
  std::vector<Cell> clean_cells(
      const std::function<double(const RunOutcome&, size_t)>& reading) const;
  Estimate add(const Arm& arm, const char* metric, const std::string& part,
               const std::vector<Cell>& values, const char* unit = "");
  void add_drops(const Arm& arm, const Source& source);
  void add_costs(const Arm& arm, const Source& source);
  void add_gate(const Arm& arm, const Source& source, bool gated);
  void add_frontier(const Arm& arm, size_t method);
  void add_score(const Arm& arm, const Source& source);
  void add_nulls();
  void add_oracle_check(const std::vector<Arm>& arms);
  void add_differences(const std::vector<Arm>& arms);
  void add_details(const std::vector<Arm>& arms);
  std::vector<Arm> arms() const;
  Reading few_shot(size_t labels) const;
  void add_points(const nlohmann::json& base, const MethodOutcome& method);
  void add_classes(const nlohmann::json& base, size_t run, size_t method);
  void add_caveat(const std::vector<Arm>& arms);
  Source point_of(size_t method, size_t budget) const;
  Source headline_of(size_t method) const { return point_of(method, 0); }
  int64_t class_number(const std::string& name) const {
    return class_index(session_.dataset.label(config_.class_label), name);
  }

  const Session& session_;
  const UnlearningConfig& config_;
  const std::vector<RunOutcome>& runs_;
  const std::vector<std::optional<bool>>& seen_;
  TaskResult& result_;
  size_t headline_ = 0;
};

Reading Report::few_shot(size_t labels) const {
  return [labels](const ClassOutcome& edited, const PanelScores& clean, const RunOutcome&, size_t) {
    return forget_drop(edited.scores.few_shot[labels], clean.few_shot[labels]);
  };
}

Source Report::point_of(size_t method, size_t budget) const {
  return [this, method, budget](const RunOutcome& run) -> Mixture {
    const MethodOutcome& own = run.methods[method];
    const OperatingPoint& point = own.points[budget];
    Mixture mixture{own.outcome.at(point.weaker), own.outcome.at(point.stronger), point.share};
    if (point.reached) mixture.budget = static_cast<double>(config_.budgets[budget]);
    return mixture;
  };
}

/// Outcomes of one setting, such as the oracle's.
template <class Outcomes>
Source plain(const Outcomes& outcomes) {
  return [outcomes](const RunOutcome& run) -> Mixture { return {outcomes(run), outcomes(run)}; };
}

std::vector<Cell> Report::cells(const Source& source, const Reading& reading) const {
  return cells_of([&](const RunOutcome& run) { return read_at_budget(run, source(run), reading); });
}

std::vector<Cell> Report::damages(const Source& source) const {
  return cells_of(
      [&](const RunOutcome& run) { return read_mixture(run, source(run), read_damage); });
}

std::vector<Cell> Report::cells_of(
    const std::function<std::vector<double>(const RunOutcome&)>& by_class) const {
  std::vector<Cell> values;
  for (size_t r = 0; r < runs_.size(); ++r) {
    const RunOutcome& run = runs_[r];
    const std::vector<double> own = by_class(run);
    for (size_t c = 0; c < own.size(); ++c)
      values.push_back({class_number(run.classes[c]), static_cast<int64_t>(r), own[c]});
  }
  return values;
}

std::vector<Cell> Report::clean_cells(
    const std::function<double(const RunOutcome&, size_t)>& reading) const {
  return cells_of([&](const RunOutcome& run) {
    std::vector<double> values;
    for (size_t c = 0; c < run.classes.size(); ++c) values.push_back(reading(run, c));
    return values;
  });
}

Estimate Report::add(const Arm& arm, const char* metric, const std::string& part,
                     const std::vector<Cell>& values, const char* unit) {
  Number number;
  number.metric = metric;
  number.method = arm.method;
  number.dictionary = arm.dictionary;
  number.part = part;
  const Estimate estimate = mean_of_cells(values);
  set_estimate(number, estimate, "classes", values);
  number.n = std::ssize(runs_[0].classes);
  number.n_unit = "classes";
  number.unit = unit;
  number.control = arm.control;
  if (arm.index) number.test_seen_in_training = seen_[*arm.index];
  result_.numbers.push_back(std::move(number));
  return estimate;
}

void Report::add_drops(const Arm& arm, const Source& source) {
  add(arm, "forget_drop", "frozen",
      cells(source, [](const ClassOutcome& e, const PanelScores& clean, const auto&, size_t) {
        return forget_drop(e.scores.frozen, clean.frozen);
      }));
  for (size_t i = 0; i < config_.labels.size(); ++i)
    add(arm, "forget_drop", few_shot_part(config_.labels[i]), cells(source, few_shot(i)));
  add(arm, "forget_drop", "all_labels",
      cells(source, [](const ClassOutcome& e, const PanelScores& clean, const auto&, size_t) {
        return forget_drop(e.scores.retrained, clean.retrained);
      }));
}

void Report::add_costs(const Arm& arm, const Source& source) {
  add(arm, "retain_damage", "test", damages(source), "points");
  add(arm, "neighbour_damage", "test",
      cells(source,
            [](const ClassOutcome& e, const PanelScores& clean, const auto&, size_t) {
              return 100 * (clean.neighbour_accuracy - e.scores.neighbour_accuracy);
            }),
      "points");
  add(arm, "retain_cosine", "test",
      cells(source, [](const ClassOutcome& e, const auto&, const auto&, size_t) {
        return e.scores.retain_cosine;
      }));
  add(arm, "neighbour_cosine", "test",
      cells(source, [](const ClassOutcome& e, const auto&, const auto&, size_t) {
        return e.scores.neighbour_cosine;
      }));
}

void Report::add_gate(const Arm& arm, const Source& source, bool gated) {
  add(arm, "edited_share", "forget",
      cells(source, [](const ClassOutcome& e, const auto&, const auto&, size_t) {
        return e.forget_edited;
      }));
  add(arm, "edited_share", "retained",
      cells(source, [](const ClassOutcome& e, const auto&, const auto&, size_t) {
        return e.retain_edited;
      }));
  if (!gated || runs_[0].padded_clean.empty()) return;
  // With no edit nothing is edited, padded or not.
  add(arm, "edited_share", "forget_padded",
      cells(source, [](const ClassOutcome& e, const auto&, const auto&, size_t) {
        return e.padded_edited.value_or(0);
      }));
  add(arm, "forget_drop", few_shot_part(config_.headline_labels) + "_padded",
      cells(source, [](const ClassOutcome& e, const auto&, const RunOutcome& run, size_t c) {
        return forget_drop(e.padded_auc.value_or(run.padded_clean[c]), run.padded_clean[c]);
      }));
}

void Report::add_frontier(const Arm& arm, size_t method) {
  for (size_t b = 0; b < config_.budgets.size(); ++b) {
    const Source source = point_of(method, b);
    const std::string part = budget_part(config_.budgets[b]);
    add(arm, "frontier_drop", part, cells(source, few_shot(headline_)));
    add(arm, "frontier_damage", part, damages(source), "points");
  }
}

/// What dictionaries are compared by: the headline few-shot drop. Random latents are a control, no
/// arm to choose.
void Report::add_score(const Arm& arm, const Source& source) {
  if (arm.method == "random_latents") return;
  Score score;
  score.metric = "forget_drop";
  score.part = few_shot_part(config_.headline_labels);
  score.method = arm.method;
  score.dictionary = arm.dictionary;
  score.headline = arm.method == "latents";
  score.cells = cells(source, few_shot(headline_));
  result_.scores.push_back(std::move(score));
}

void Report::add_nulls() {
  std::vector<NullTest> tests;
  const auto test = [&](const std::string& part,
                        const std::function<double(const PanelScores&)>& reading) {
    const Arm arm{"untouched", "", "permuted_labels", {}};
    std::vector<Cell> values =
        clean_cells([&](const RunOutcome& run, size_t c) { return reading(run.permuted[c]); });
    const Estimate estimate = add(arm, "auroc_permuted_labels", part, values);
    for (Cell& cell : values) cell.value -= 0.5;
    const Estimate chance = mean_of_cells(values);
    tests.push_back(
        {part, chance.p,
         fmt::format("AUROC {} with permuted labels, p of chance", estimate_text(estimate))});
    add({"untouched", "", "", {}}, "probe_auroc", part,
        clean_cells([&](const RunOutcome& run, size_t c) { return reading(run.clean[c]); }));
  };
  for (size_t i = 0; i < config_.labels.size(); ++i)
    test(few_shot_part(config_.labels[i]), [i](const PanelScores& s) { return s.few_shot[i]; });
  test("all_labels", [](const PanelScores& s) { return s.retrained; });
  add_null_checks(tests, result_);
}

/// A fixed tolerance, so that the check fails alike with any number of arms.
void Report::add_oracle_check(const std::vector<Arm>& all) {
  constexpr double kTolerance = 0.05;
  const auto mean = [&](const Source& source) {
    double sum = 0;
    const std::vector<Cell> values = cells(source, few_shot(headline_));
    for (const Cell& cell : values) sum += cell.value;
    return sum / static_cast<double>(values.size());
  };
  const double oracle = mean(plain([](const RunOutcome& run) -> auto& { return run.oracle; }));
  std::string name = "no edit";
  double best = 0;
  for (size_t m = 0; m < all.size(); ++m) {
    const double own = mean(headline_of(m));
    if (!(own > best)) continue;
    best = own;
    name = all[m].dictionary.empty() ? all[m].method : all[m].method + " of " + all[m].dictionary;
  }
  result_.checks.push_back(
      {"the oracle is on top", oracle >= best - kTolerance,
       fmt::format("forget drop of the oracle {:.3f}, of {}, the next, {:.3f}; the tolerance is {}",
                   oracle, name, best, kTolerance)});
}

/// The comparisons that scores do not make; fixed beforehand, whatever comes out.
void Report::add_differences(const std::vector<Arm>& all) {
  constexpr std::pair<const char*, const char*> kPairs[] = {
      {"latents", "random_latents"},
      {"latents_gated", "latents"},
      {"latents_lda_gated", "latents"},
      {"latents_gated", "gated_steering"},
      {"latents_lda_gated", "gated_steering"}};
  const auto place = [&](const std::string& method, const std::string& dictionary) {
    return std::find_if(all.begin(), all.end(),
                        [&](const Arm& arm) {
                          return arm.method == method &&
                                 (arm.dictionary == dictionary || arm.dictionary.empty());
                        }) -
           all.begin();
  };
  nlohmann::json rows = nlohmann::json::array();
  for (const EvalDictionary& d : session_.dictionaries) {
    for (const auto& [a, b] : kPairs) {
      const auto first = place(a, d.entry.name), second = place(b, d.entry.name);
      if (first == std::ssize(all) || second == std::ssize(all)) continue;
      const Estimate difference =
          paired_difference(cells(headline_of(static_cast<size_t>(first)), few_shot(headline_)),
                            cells(headline_of(static_cast<size_t>(second)), few_shot(headline_)));
      rows.push_back({{"dictionary", d.entry.name},
                      {"difference", fmt::format("{} - {}", a, b)},
                      {"value", difference.value},
                      {"p", difference.p}});
      add_interval(rows.back(), difference);
    }
  }
  add_holm(rows);
  result_.details["differences"] = std::move(rows);
}

void Report::add_points(const nlohmann::json& base, const MethodOutcome& method) {
  for (size_t s = 0; s < method.settings.size(); ++s) {
    nlohmann::json row = base;
    row.update({{"setting", method.settings[s]},
                {"tuning_drop", method.tuning.drop[s]},
                {"tuning_damage", method.tuning.damage[s]},
                {"tuning_error", method.tuning.error[s]}});
    result_.details["grid"].push_back(std::move(row));
  }
  for (size_t b = 0; b < method.points.size(); ++b) {
    nlohmann::json row = point_row(method.points[b], config_.budgets[b], method.settings);
    row.update(base);
    result_.details["operating_points"].push_back(std::move(row));
  }
  for (const auto& [count, match] : method.match) {
    nlohmann::json row = base;
    row["latents"] = count;
    add_match(row, match);
    result_.details["random_latents"].push_back(std::move(row));
  }
}

void Report::add_classes(const nlohmann::json& base, size_t run, size_t method) {
  const RunOutcome& own = runs_[run];
  const Mixture point = headline_of(method)(own);
  const auto read = [&](const Reading& reading) { return read_mixture(own, point, reading); };
  const auto frozen = read([](const ClassOutcome& e, const PanelScores& clean, const auto&,
                              size_t) { return forget_drop(e.scores.frozen, clean.frozen); });
  const auto retrained =
      read([](const ClassOutcome& e, const PanelScores& clean, const auto&, size_t) {
        return forget_drop(e.scores.retrained, clean.retrained);
      });
  const auto drop = read(few_shot(headline_)), damage = read(read_damage),
             score = read_at_budget(own, point, few_shot(headline_));
  for (size_t c = 0; c < own.classes.size(); ++c) {
    nlohmann::json row = base;
    row.update({{"class", own.classes[c]},
                {"frozen", frozen[c]},
                {"few_shot", drop[c]},
                {"all_labels", retrained[c]},
                {"retain_damage", damage[c]},
                {"few_shot_at_budget", score[c]}});
    result_.details["per_class"].push_back(std::move(row));
  }
}

void Report::add_details(const std::vector<Arm>& all) {
  for (const char* table :
       {"operating_points", "grid", "per_class", "neighbours", "left_out", "random_latents"})
    result_.details[table] = nlohmann::json::array();
  for (size_t r = 0; r < runs_.size(); ++r) {
    const RunOutcome& run = runs_[r];
    for (const std::string& line : run.left_out) result_.details["left_out"].push_back(line);
    for (size_t c = 0; c < run.classes.size(); ++c) {
      std::string names;
      for (const int32_t o : run.nearest[c]) names += (names.empty() ? "" : ", ") + run.classes[o];
      result_.details["neighbours"].push_back(
          {{"run", r}, {"class", run.classes[c]}, {"neighbours", names}});
    }
    for (size_t m = 0; m < run.methods.size(); ++m) {
      const nlohmann::json base = {
          {"run", r}, {"method", all[m].method}, {"dictionary", all[m].dictionary}};
      add_points(base, run.methods[m]);
      add_classes(base, r, m);
    }
  }
}

/// Arms whose headline setting a wider grid might better, in any run.
void Report::add_caveat(const std::vector<Arm>& all) {
  std::vector<std::string> edges;
  for (size_t m = 0; m < all.size(); ++m)
    for (const RunOutcome& run : runs_) {
      const MethodOutcome& own = run.methods[m];
      if (!own.points[0].edge) continue;
      edges.push_back(edge_name(all[m].method, all[m].dictionary, own.points[0], own.settings));
      break;
    }
  result_.caveat = edge_caveat(edges);
}

std::vector<Arm> Report::arms() const {
  std::vector<Arm> all;
  for (const MethodOutcome& method : runs_[0].methods) {
    Arm arm{method.name, "", "", method.dictionary};
    if (method.dictionary) {
      const EvalDictionary& own = session_.dictionaries[*method.dictionary];
      arm.dictionary = own.entry.name;
      arm.control = control_of(session_, own, find_arm(result_, method.name));
    }
    all.push_back(std::move(arm));
  }
  return all;
}

void Report::fill() {
  declare_unlearning(config_, result_);
  const std::vector<Arm> all = arms();
  for (size_t m = 0; m < all.size(); ++m) {
    const Source source = headline_of(m);
    add_drops(all[m], source);
    add_costs(all[m], source);
    const bool gated = runs_[0].methods[m].gated;
    if (gated || all[m].index) add_gate(all[m], source, gated);
    add_frontier(all[m], m);
    add_score(all[m], source);
  }
  add_drops({"mean_ablation", "", "mean_ablation", {}},
            plain([](const RunOutcome& run) -> auto& { return run.ablated; }));
  add_drops({"oracle", "", "oracle", {}},
            plain([](const RunOutcome& run) -> auto& { return run.oracle; }));
  add_nulls();
  add_oracle_check(all);
  add_differences(all);
  add_details(all);
  add_caveat(all);
}

}  // namespace

void report_unlearning(const Session& session, const std::vector<RunOutcome>& runs,
                       const std::vector<std::optional<bool>>& seen, TaskResult& result) {
  Report(session, runs, seen, result).fill();
}

}  // namespace assay::eval::unlearning
