#include "eval/tasks/unlearning/unlearning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"
#include "tests/eval/linear_half.h"
#include "tests/eval/tasks/unlearning/unlearning_session.h"

namespace assay::eval::unlearning {
namespace {

const MethodOutcome& method(const RunOutcome& run, const std::string& name,
                            std::optional<size_t> dictionary) {
  for (const MethodOutcome& m : run.methods)
    if (m.name == name && m.dictionary == dictionary) return m;
  throw Error("no method " + name);
}

TEST_F(UnlearningTest, APerfectDictionaryHidesAClassAndItsControlsDoNot) {
  const TaskResult result = report(run_unlearning(inputs(), plan(), 5));
  const auto drop = [&](const std::string& arm, const std::string& dictionary) {
    return test::find(result, "forget_drop", arm, dictionary, "few_shot_8")->value;
  };
  // Not 1: the retained classes keep directions of their own, and having none gives a text away.
  EXPECT_GT(drop("latents", "oracle"), 0.2);
  EXPECT_LT(drop("latents", "oracle:random"), 0.5 * drop("latents", "oracle"));
  EXPECT_LT(drop("random_latents", "oracle"), 0.25);
  EXPECT_GT(drop("oracle", ""), 0.75);
  EXPECT_GT(drop("mean_ablation", ""), 0.75);
  EXPECT_LT(test::find(result, "retain_damage", "latents", "oracle", "test")->value, 4);
  EXPECT_GT(drop("gated_steering", ""), 0.3) << "the planted classes are a shift apart";
  for (const Check& check : result.checks)
    EXPECT_TRUE(check.passed) << check.name << ": " << check.detail;
  EXPECT_EQ(result.checks.size(), 4u) << "two label counts, all labels, the oracle";
  for (const Number& n : result.numbers) {
    EXPECT_TRUE(n.interval.has_value() && std::isfinite(n.value)) << n.metric << n.method;
    EXPECT_EQ(n.n, 4) << n.metric;
  }
  for (const Score& score : result.scores) EXPECT_EQ(score.cells.size(), 4u) << score.method;
  EXPECT_EQ(std::count_if(result.scores.begin(), result.scores.end(),
                          [](const Score& s) { return s.headline; }),
            2);
}

TEST_F(UnlearningTest, NothingIsChosenOnTheTestPart) {
  const RunOutcome first = run_unlearning(inputs(), plan(), 5);
  std::set<int64_t> changed;  // documents of the published probes
  for (const auto& parts : plan().texts)
    for (const UnlearningPart part : {kTrain, kTest})
      for (const int64_t t : parts[part]) changed.insert(table_.document[t]);
  const RunOutcome second = run_moved(changed);
  ASSERT_EQ(first.methods.size(), second.methods.size());
  bool outcome_moved = false;
  for (size_t m = 0; m < first.methods.size(); ++m) {
    const MethodOutcome &a = first.methods[m], &b = second.methods[m];
    EXPECT_EQ(a.tuning.drop, b.tuning.drop) << a.name;
    EXPECT_EQ(a.tuning.damage, b.tuning.damage) << a.name;
    for (size_t budget = 0; budget < a.walks.size(); ++budget) {
      ASSERT_EQ(a.walks[budget].has_value(), b.walks[budget].has_value()) << a.name;
      if (a.walks[budget]) {
        EXPECT_EQ(a.walks[budget]->settings, b.walks[budget]->settings) << a.name;
      }
    }
    const auto& measured = a.outcome.at(a.points[0].stronger);
    const auto again = b.outcome.find(a.points[0].stronger);
    outcome_moved |=
        again == b.outcome.end() || again->second[0].scores.frozen != measured[0].scores.frozen;
  }
  EXPECT_TRUE(outcome_moved)
      << "the change must show in the test part, or the test would show nothing";
}

TEST_F(UnlearningTest, DamageIsReadFromBothPartsEachByProbesOfItsOwn) {
  const UnlearningPlan p = plan();
  std::vector<int64_t> texts;
  for (const auto& parts : p.texts)
    for (const UnlearningPart part : {kEstimate, kTuneTrain, kTuneTest})
      texts.insert(texts.end(), parts[part].begin(), parts[part].end());
  const UnlearningCorpus corpus =
      make_corpus(fixture_.context, read_text_rows(*fixture_.dataset, table_, texts), {});
  const Features& clean = corpus.pooled;
  const auto probes = fit_class_probes(clean, p, corpus.rows, kEstimate),
             other = fit_class_probes(clean, p, corpus.rows, kTuneTest);
  const auto rows_of = [&](const std::vector<int64_t>& entries, float sign) {
    Features out{std::ssize(entries), clean.cols, {}};
    for (const int64_t e : entries)
      for (int64_t j = 0; j < clean.cols; ++j) out.values.push_back(sign * clean.view().row(e)[j]);
    return out;
  };
  const UnlearningPanel panel = make_panel(p, corpus.rows, 0, kTuneTrain, kTuneTest, 10),
                        swapped = make_panel(p, corpus.rows, 0, kTuneTest, kTuneTrain, 10);
  const std::vector<int32_t> near = {1};
  const PanelJudge test(panel, clean, probes, near, {{8}, false, 1, 1}),
      train(swapped, clean, other, near, {{8}, false, 1, 1}),
      both(panel, clean, probes, near, {{8}, false, 1, 1, &other});
  // Training texts turned about, test texts as they are: ten of each class in either part.
  const Features turned = rows_of(panel.train, -1), same = rows_of(panel.test, 1);
  const double on_train = train.score(same, turned).retain_accuracy,
               on_test = test.score(turned, same).retain_accuracy;
  EXPECT_LT(on_train, on_test - 0.2) << "or the parts could not be told apart";
  EXPECT_NEAR(both.score(turned, same).retain_accuracy, (on_train + on_test) / 2, 1e-12);
  EXPECT_NEAR(train.score(same, turned).retain_cosine, -1, 1e-12);
  EXPECT_NEAR(test.score(turned, rows_of(panel.test, 3)).retain_cosine, 1, 1e-12);
  EXPECT_NEAR(both.score(turned, same).retain_cosine, 0, 1e-12);
}

TEST_F(UnlearningTest, TooFewTextsNameTheFirstClassThatLacksThem) {
  auto& config = fixture_.config.of<UnlearningConfig>();
  config.estimate = 100'000;
  const std::string& first = fixture_.dataset->label(config.class_label).classes.at(0);
  try {
    plan();
    ADD_FAILURE() << "planned";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("(e.g. class '" + first + "' has "), std::string::npos)
        << error.what();
  }
}

/// Documents that are tested when their class is to be forgotten, and never for damage.
std::set<int64_t> tested_as_forgotten(const UnlearningPlan& plan, const TextTable& table,
                                      int64_t retain) {
  std::set<int64_t> documents, retained;
  for (const auto& parts : plan.texts)
    for (int64_t i = 0; i < std::ssize(parts[kTest]); ++i)
      (i < retain ? retained : documents).insert(table.document[parts[kTest][i]]);
  for (const int64_t document : retained) documents.erase(document);
  return documents;
}

TEST_F(UnlearningTest, WhatIsForgottenOnTestTextsMovesNoPoint) {
  // Where texts are held back, damage is read from test texts alone, the first of each class.
  constexpr int64_t kRetain = 10;
  fixture_.config.of<UnlearningConfig>().retain = kRetain;
  for (const int64_t document : table_.document)
    table_.not_for_tests.push_back(document / 1000 % 5 < 3);
  EXPECT_EQ(damage_parts(table_), std::vector<UnlearningPart>{kTest});
  const RunOutcome first = run_unlearning(inputs(), plan(), 5),
                   second = run_moved(tested_as_forgotten(plan(), table_, kRetain));
  ASSERT_EQ(first.methods.size(), second.methods.size());
  int measured = 0, moved = 0;
  for (size_t m = 0; m < first.methods.size(); ++m) {
    const MethodOutcome &a = first.methods[m], &b = second.methods[m];
    for (size_t budget = 0; budget < a.points.size(); ++budget) {
      EXPECT_EQ(a.points[budget].weaker, b.points[budget].weaker) << a.name;
      EXPECT_EQ(a.points[budget].stronger, b.points[budget].stronger) << a.name;
      EXPECT_EQ(a.points[budget].share, b.points[budget].share) << a.name;
    }
    ASSERT_EQ(a.outcome.size(), b.outcome.size()) << a.name;
    for (const auto& [setting, by_class] : a.outcome)
      for (size_t c = 0; c < by_class.size(); ++c) {
        const PanelScores &own = by_class[c].scores, &other = b.outcome.at(setting)[c].scores;
        EXPECT_EQ(own.retain_accuracy, other.retain_accuracy) << a.name;
        ++measured;
        moved += own.few_shot != other.few_shot && own.frozen != other.frozen;
      }
  }
  EXPECT_GT(moved, measured / 2) << "or what is forgotten was not touched";
}

TEST_F(UnlearningTest, ADocumentInTwoPartsIsRefused) {
  UnlearningPlan leaky = plan();
  leaky.texts[1][kTest][0] = leaky.texts[1][kEstimate][0];
  EXPECT_THROW(run_unlearning(inputs(), leaky, 5), Error);
}

TEST_F(UnlearningTest, SameNumbersOnAnyNumberOfThreads) {
  const RunOutcome two = run_unlearning(inputs(), plan(), 5);
  Context one({Device::cpu, 1});
  UnlearningInputs in = inputs();
  const UnlearningInputs alone{one,   in.dataset, in.table, in.config, in.dictionaries, in.trained,
                               half_, nullptr,    0,        {},        in.log};
  const RunOutcome other = run_unlearning(alone, plan(), 5);
  EXPECT_EQ(report(two).details, report(other).details);
  for (size_t i = 0; i < report(two).numbers.size(); ++i)
    EXPECT_EQ(report(two).numbers[i].value, report(other).numbers[i].value);
}

TEST_F(UnlearningTest, FineTuningHidesAndKeeps) {
  UnlearningInputs in = inputs();
  in.trainable = [] { return std::make_unique<test::LinearHalf>(kD); };
  const test::LinearHalf untouched(kD);
  const UnlearningInputs linear{in.context, in.dataset, in.table, in.config, in.dictionaries,
                                in.trained, untouched,  nullptr,  0,         in.trainable,
                                in.log};
  const RunOutcome run = run_unlearning(linear, plan(), 5);
  const MethodOutcome& tuned = method(run, "fine_tuning", {});
  ASSERT_EQ(tuned.settings.size(), 8u);
  EXPECT_GT(*std::max_element(tuned.tuning.drop.begin(), tuned.tuning.drop.end()), 0.1);
  EXPECT_GT(tuned.tuning.drop[3], tuned.tuning.drop[0]) << "32 steps hide more than 4";
}

TEST_F(UnlearningTest, PartsShareNoDocumentAndClassesWithTooFewTextsAreNamed) {
  const UnlearningPlan p = plan();
  EXPECT_NO_THROW(check_disjoint(p, table_));
  const auto format = text_labels(*fixture_.dataset, table_, "format");
  const auto category = text_labels(*fixture_.dataset, table_, "category");
  for (size_t c = 0; c < p.classes.size(); ++c)
    for (const auto& part : p.texts[c])
      for (const int64_t t : part) {
        EXPECT_EQ(format[t], 0);
        EXPECT_EQ(category[t], class_index(fixture_.dataset->label("category"), p.classes[c]));
      }
  fixture_.config.of<UnlearningConfig>().test = 400;
  try {
    plan();
    FAIL() << "the classes have some 230 texts each";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("are needed"), std::string::npos) << error.what();
  }
}

TEST_F(UnlearningTest, EveryTextThatFitsIsDrawnUnderSomeSeed) {
  std::set<int64_t> drawn, fit;
  for (uint64_t seed = 0; seed < 60; ++seed)
    for (const auto& parts : plan(seed).texts)
      for (const auto& part : parts) drawn.insert(part.begin(), part.end());
  const auto format = text_labels(*fixture_.dataset, table_, "format");
  for (int64_t t = 0; t < table_.size(); ++t)
    if (format[t] == 0) fit.insert(t);
  EXPECT_EQ(drawn, fit) << "114 of a class's 230 texts each time";
}

TEST_F(UnlearningTest, AMissingModelFailsThisTaskAlone) {
  Session session = fixture_.session();
  session.model = fixture_.folder.path() / "no-such-model";
  auto tasks = choose_tasks({"core", "unlearning"}, session);
  const auto results = test::run_as_planned(session, tasks);
  EXPECT_EQ(results[0].status, "ok") << results[0].reason;
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("no-such-model"), std::string::npos) << results[1].reason;
}

TEST_F(UnlearningTest, AnotherModelsHalvesFailThisTaskAlone) {
  const std::filesystem::path folder = fixture_.folder.path() / "halves";
  std::filesystem::create_directory(folder);
  nlohmann::json manifest = {{"format", "assay-model-halves"},
                             {"format_version", 1},
                             {"model", "a stranger"},
                             {"revision", ""},
                             {"tokenizer_hash", ""},
                             {"torch_version", "2"},
                             {"layer", 0},
                             {"layers", 2},
                             {"d", kD},
                             {"d_out", kD},
                             {"max_length", 64},
                             {"vocabulary", 100},
                             {"cpu_flags", nlohmann::json::array()}};
  for (const char* key : {"lower_compiled", "lower_script", "upper_compiled", "upper_script"})
    manifest["files"][key] = {{"name", key}, {"sha256", ""}};
  std::ofstream(folder / "manifest.json") << manifest.dump();
  Session session = fixture_.session();
  session.model = folder;
  session.trust_model_code = true;
  auto tasks = choose_tasks({"unlearning", "core"}, session);
  const auto results = test::run_as_planned(session, tasks);
  const auto of = [&](const std::string& name) {
    return *std::find_if(results.begin(), results.end(),
                         [&](const TaskResult& r) { return r.name == name; });
  };
  EXPECT_EQ(of("core").status, "ok") << of("core").reason;
  EXPECT_EQ(of("unlearning").status, "failed");
  EXPECT_TRUE(of("unlearning").numbers.empty());
  const std::string reason = of("unlearning").reason;
  for (const std::string& part :
       {std::string("does not fit: model is 'planted' there, 'a stranger' in"),
        fixture_.dataset->info().path.string(), folder.string()})
    EXPECT_NE(reason.find(part), std::string::npos) << reason;
  EXPECT_EQ(reason.find('\n'), std::string::npos) << reason;
}

TEST(Unlearning, LabelsThatMeanNothingAreRefused) {
  test::SessionFixture fixture("unlearning_random", {.documents = 1000, .random_labels = true});
  fixture.config.of<UnlearningConfig>() = small_config();
  const TextTable table = text_table(*fixture.dataset);
  const test::MeanHalf half(kD);
  const UnlearningInputs in{.context = fixture.context,
                            .dataset = *fixture.dataset,
                            .table = table,
                            .config = fixture.config.of<UnlearningConfig>(),
                            .upper = half,
                            .log = [](const std::string&) {}};
  EXPECT_THROW(run_unlearning(in, plan_unlearning(*fixture.dataset, table, in.config, 5), 5),
               Error);
}

}  // namespace
}  // namespace assay::eval::unlearning
