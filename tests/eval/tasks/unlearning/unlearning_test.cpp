#include "eval/tasks/unlearning/unlearning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "eval/tasks/unlearning/scores.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"
#include "tests/eval/linear_half.h"
#include "tests/eval/mean_half.h"

namespace assay::eval::unlearning {
namespace {

constexpr int64_t kD = 24;

UnlearningConfig small_config() {
  UnlearningConfig config;
  config.estimate = 30;
  config.tune_train = 10;
  config.tune_test = 14;
  config.tune_retain = 10;
  config.train = 20;
  config.test = 40;
  config.latents = {1, 4};
  config.clamps = {0, 1};
  config.labels = {4, 8};
  config.padding = 4;
  return config;
}

/// Latent c reads direction e_c above the noise: clamped to minus its mean it lands where the other
/// classes are.
sae::Dictionary oracle_dictionary() {
  sae::Dictionary oracle = test::identity_dictionary(kD, 4);
  std::fill(oracle.b_enc.begin(), oracle.b_enc.end(), -2.5f);
  return oracle;
}

/// A lower half that puts a token's id into every dimension.
class TokenHalf : public data::LowerHalf {
 public:
  int64_t d() const override { return kD; }
  void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* out) override {
    for (int64_t i = 0; i < batch * length; ++i)
      std::fill_n(out + i * kD, kD, mask[i] ? static_cast<float>(ids[i]) : -1);
  }
};
class UnlearningTest : public ::testing::Test {
 protected:
  explicit UnlearningTest(test::PlantedOptions options = {.documents = 1000}, int threads = 2)
      : fixture_("unlearning", options, threads), table_(text_table(*fixture_.dataset)), half_(kD) {
    fixture_.config.of<UnlearningConfig>() = small_config();
    fixture_.add(oracle_dictionary(), "oracle");
    add_nulls(fixture_.dictionaries, {"random"}, *fixture_.dataset, 3);
  }

  UnlearningPlan plan(uint64_t seed = 5) {
    return plan_unlearning(*fixture_.dataset, table_, fixture_.config.of<UnlearningConfig>(), seed);
  }
  UnlearningInputs inputs() {
    UnlearningInputs in{.context = fixture_.context,
                        .dataset = *fixture_.dataset,
                        .table = table_,
                        .config = fixture_.config.of<UnlearningConfig>(),
                        .upper = half_,
                        .log = [](const std::string&) {}};
    for (const EvalDictionary& d : fixture_.dictionaries) {
      in.dictionaries.push_back(&d.dictionary);
      in.trained.push_back(d.entry.null_kind.empty());
    }
    return in;
  }
  TaskResult report(const RunOutcome& outcome) {
    TaskResult result;
    result.status = "ok";
    const Session session = fixture_.session();
    report_unlearning(session, {{5, outcome}}, {true, false}, result);
    return result;
  }

  test::SessionFixture fixture_;
  TextTable table_;
  test::MeanHalf half_;
};

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
  test::Planted other = fixture_.planted;
  Rng rng(99);
  for (int64_t row = 0; row < other.rows(); ++row)
    if (changed.count(other.document[row]))
      for (int64_t j = 0; j < kD; ++j)
        other.x[row * kD + j] += static_cast<float>(3 * rng.normal());
  const support::TemporaryFolder folder("unlearning_other");
  test::write_planted(other, folder.path());
  const data::Dataset dataset = data::Dataset::open(folder.path());
  UnlearningInputs in = inputs();
  const UnlearningInputs changed_in{in.context, dataset, in.table, in.config, in.dictionaries,
                                    in.trained, half_,   nullptr,  0,         {},
                                    in.log};
  const RunOutcome second = run_unlearning(changed_in, plan(), 5);
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

const Check& check(const TaskResult& result, const std::string& name) {
  for (const Check& own : result.checks)
    if (own.name == name) return own;
  throw Error("no check " + name);
}

TEST_F(UnlearningTest, ArmsAreComparedAtTheBudgetOnTestTexts) {
  const RunOutcome run = run_unlearning(inputs(), plan(), 5);
  const TaskResult result = report(run);
  int reached = 0;
  for (const MethodOutcome& own : run.methods) {
    const std::string dictionary =
        own.dictionary ? fixture_.dictionaries[*own.dictionary].entry.name : "";
    const double damage = test::find(result, "retain_damage", own.name, dictionary, "test")->value;
    reached += own.points[0].reached;
    if (own.points[0].reached) {
      EXPECT_NEAR(damage, 1, 1e-9) << own.name;
    } else {
      EXPECT_LE(damage, 1) << own.name;
    }
  }
  EXPECT_GT(reached, 0) << "or the test shows nothing";
  const auto& points = result.details.at("operating_points");
  EXPECT_EQ(points.size(), run.methods.size() * 3) << "three budgets";
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
}

TEST_F(UnlearningTest, WhatIsForgottenOnTestTextsMovesNoPoint) {
  // Every point follows from its walk, chosen on tuning texts, and from damages alone.
  const RunOutcome first = run_unlearning(inputs(), plan(), 5);
  for (const MethodOutcome& own : first.methods) {
    std::map<size_t, double> damages;
    for (const auto& [setting, by_class] : own.outcome) {
      if (!setting) continue;
      double sum = 0;
      for (size_t c = 0; c < by_class.size(); ++c)
        sum += retain_damage(by_class[c].scores, first.clean[c]);
      damages[*setting] = sum / static_cast<double>(by_class.size());
    }
    for (size_t b = 0; b < own.points.size(); ++b) {
      const double budget = static_cast<double>(small_config().budgets[b]);
      const OperatingPoint again = operating_point(own.walks[b], damages, budget);
      EXPECT_EQ(again.weaker, own.points[b].weaker) << own.name;
      EXPECT_EQ(again.stronger, own.points[b].stronger) << own.name;
      EXPECT_EQ(again.share, own.points[b].share) << own.name;
    }
  }
}

TEST_F(UnlearningTest, EveryCheckFailsWhereItMust) {
  const RunOutcome good = run_unlearning(inputs(), plan(), 5);
  for (const Check& own : report(good).checks) EXPECT_TRUE(own.passed) << own.name;
  RunOutcome leak = good;  // probes that read permuted labels' texts nonetheless
  for (size_t c = 0; c < leak.permuted.size(); ++c) {
    const double by_class = 0.01 * static_cast<double>(c);
    leak.permuted[c].few_shot = {0.8 + by_class, 0.2 - by_class};
    leak.permuted[c].retrained = 0.7 + by_class;
  }
  for (const char* part : {"few_shot_4", "few_shot_8", "all_labels"})
    EXPECT_FALSE(check(report(leak), std::string("label null: ") + part).passed) << part;
  EXPECT_TRUE(check(report(leak), "the oracle is on top").passed);
  RunOutcome blind = good;  // an oracle that exchanges nothing
  for (size_t c = 0; c < blind.oracle.size(); ++c) blind.oracle[c].scores = blind.clean[c];
  EXPECT_FALSE(check(report(blind), "the oracle is on top").passed);
  EXPECT_TRUE(check(report(blind), "label null: few_shot_8").passed);
  RunOutcome better = good;  // an arm that knows more than the oracle may
  for (auto& [setting, by_class] : better.methods[0].outcome)
    for (size_t c = 0; c < by_class.size(); ++c) by_class[c].scores.few_shot[1] = 0.5;
  for (ClassOutcome& own : better.oracle) own.scores.few_shot[1] = 0.6;
  EXPECT_FALSE(check(report(better), "the oracle is on top").passed);
}

TEST_F(UnlearningTest, AnEdgeOfTheGridIsNamed) {
  RunOutcome run = run_unlearning(inputs(), plan(), 5);
  for (MethodOutcome& own : run.methods) own.points[0].edge = false;
  EXPECT_EQ(report(run).caveat, "");
  for (MethodOutcome& own : run.methods)
    if (own.name == "leace") {
      own.points[0] = {.weaker = 0, .stronger = 1, .share = 0.5, .reached = true, .edge = true};
      own.outcome[0] = own.outcome[1] = own.outcome.at(std::nullopt);
      for (size_t c = 0; c < run.clean.size(); ++c)
        own.outcome[1][c].scores.retain_accuracy -= 0.02;
    }
  const TaskResult result = report(run);
  EXPECT_NE(result.caveat.find("leace (strength=0.5)"), std::string::npos) << result.caveat;
  for (const auto& row : result.details.at("operating_points"))
    if (row.at("method") == "leace" && row.at("budget") == 1) {
      EXPECT_TRUE(row.at("on_grid_edge").get<bool>());
    }
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

TEST_F(UnlearningTest, PaddingGoesBehindTheLastOrdinaryToken) {
  const std::vector<int64_t> texts = plan().texts[0][kTest], from = plan().texts[1][kEstimate];
  std::vector<int64_t> both = texts;
  both.insert(both.end(), from.begin(), from.end());
  const TextRows rows = read_text_rows(*fixture_.dataset, table_, both);
  TokenHalf lower;
  const TextRows padded = pad_texts(fixture_.context, rows, texts, from, 4, lower, 8, 1);
  ASSERT_EQ(padded.size(), std::ssize(texts));
  for (int64_t e = 0; e < padded.size(); ++e) {
    const int64_t own = rows.entry(padded.text[e]), size = rows.rows[own];
    ASSERT_EQ(padded.rows[e], size + 4);
    for (int64_t i = 0; i < size + 4; ++i) {
      const int64_t row = padded.start[e] + i;
      const bool filler =
          i >= size - 1 && i < size + 3;  // a planted text ends with one special token
      const int64_t source = rows.start[own] + (i < size - 1 ? i : i - 4);
      EXPECT_EQ(padded.special[row], filler ? 0 : rows.special[source]);
      if (!filler) {
        EXPECT_EQ(padded.tokens[row], rows.tokens[source]);
      }
      EXPECT_EQ(padded.x[row * kD + 3], static_cast<float>(padded.tokens[row]));
    }
  }
}

TEST_F(UnlearningTest, APaddedGateIsReported) {
  UnlearningInputs in = inputs();
  TokenHalf lower;
  in.lower = &lower;
  in.max_length = 64;
  const TaskResult result = report(run_unlearning(in, plan(), 5));
  EXPECT_NE(test::find(result, "edited_share", "gated_steering", "", "forget_padded"), nullptr);
  EXPECT_NE(test::find(result, "forget_drop", "latents_gated", "oracle", "few_shot_8_padded"),
            nullptr);
  EXPECT_EQ(test::find(result, "forget_drop", "latents", "oracle", "few_shot_8_padded"), nullptr)
      << "has no gate";
  in.max_length = 8;
  EXPECT_THROW(run_unlearning(in, plan(), 5), Error);
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

TEST_F(UnlearningTest, ClampingIsTheClosedFormAndAClosedGateChangesNothing) {
  const sae::Dictionary dictionary = test::random_dictionary(kD, 60, 8, 5);
  const sae::Dictionary* list[] = {&dictionary};
  const UnlearningPlan p = plan();
  const UnlearningCorpus corpus = make_corpus(
      fixture_.context, read_text_rows(*fixture_.dataset, table_, p.texts[0][kEstimate]), list);
  LatentTargets targets{std::vector<uint8_t>(60, 0), std::vector<float>(60, 0.0f)};
  for (int64_t j = 0; j < 60; j += 2)
    targets.chosen[j] = 1, targets.target[j] = -0.25f * static_cast<float>(j);
  const auto edit = clamp_edit(dictionary, 0, targets);
  for (int64_t e = 0; e < 5; ++e) {
    const int64_t start = corpus.rows.start[e], size = corpus.rows.rows[e];
    std::vector<float> rows(corpus.rows.x.begin() + start * kD,
                            corpus.rows.x.begin() + (start + size) * kD);
    edit->apply(corpus, e, Matrix(rows.data(), size, kD));
    for (int64_t i = 0; i < size; ++i) {
      std::vector<double> expected(corpus.rows.x.begin() + (start + i) * kD,
                                   corpus.rows.x.begin() + (start + i + 1) * kD);
      const SparseCodes codes =
          dictionary.encode(fixture_.context, ConstMatrix(corpus.rows.all().row(start + i), 1, kD));
      for (int64_t q = 0; q < codes.pairs() && !corpus.rows.special[start + i]; ++q) {
        const int32_t j = codes.indices[q];
        if (j % 2 || codes.values[q] <= 0) continue;
        for (int64_t k = 0; k < kD; ++k)
          expected[k] +=
              (targets.target[j] - codes.values[q]) * double(dictionary.w_dec[j * kD + k]);
      }
      for (int64_t k = 0; k < kD; ++k) EXPECT_NEAR(rows[i * kD + k], expected[k], 1e-3);
    }
    const auto closed =
        latent_gated_edit(clamp_edit(dictionary, 0, targets), 0, targets.chosen, 1.0);
    EXPECT_FALSE(closed->touches(corpus, e));
  }
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

TEST_F(UnlearningTest, AMissingModelFailsThisTaskAlone) {
  Session session = fixture_.session();
  session.model = fixture_.folder.path() / "no-such-model";
  auto tasks = choose_tasks({"core", "unlearning"}, session);
  const auto results = run_tasks(session, tasks);
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
  const auto results = run_tasks(session, tasks);
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
