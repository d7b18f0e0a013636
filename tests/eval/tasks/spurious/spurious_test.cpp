#include "eval/tasks/spurious/spurious.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "eval/results/compare.h"
#include "eval/tasks/spurious/grids.h"
#include "eval/tasks/spurious/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::spurious {
namespace {

using test::find;

/// Direction 20 says which format a text has, more loudly than a class direction says its class.
test::Planted planted_formats(const test::PlantedOptions& options) {
  test::Planted planted = test::make_planted(options);
  for (int64_t row = 0; row < planted.rows(); ++row)
    if (!planted.special[row])
      planted.x[row * options.d + 20] += planted.format[row] == 0 ? 4.0f : -4.0f;
  return planted;
}

struct Fixture : test::SessionFixture {
  explicit Fixture(const std::string& name, int threads = 2, bool random_labels = false)
      : SessionFixture(name, options(random_labels), threads) {
    std::filesystem::remove_all(folder.path());
    planted = planted_formats(options(random_labels));
    for (int64_t row = 0; row < planted.rows(); ++row)
      planted.part_of_speech[row] = planted.document[row] / 1000 % 4 == 3;
    write_planted(planted, folder.path());
    dataset = std::make_unique<data::Dataset>(data::Dataset::open(folder.path()));
    config.of<SpuriousConfig>().min_texts = 10;
    config.of<SpuriousConfig>().train_per_class = 40;
    config.of<SpuriousConfig>().latents = {1, 2, 8};
    config.of<SpuriousConfig>().inlp = {1, 2};
    config.of<SpuriousConfig>().neurons = {1, 4};
  }
  static test::PlantedOptions options(bool random_labels) {
    test::PlantedOptions o;
    o.documents = 600;
    o.strength = 1.5;
    o.random_labels = random_labels;
    return o;
  }
  SpuriousPlan plan(const TextTable& table) {
    return plan_spurious(*dataset, table, config.of<SpuriousConfig>(), 1, 5);
  }
};

TEST(Spurious, AnOracleDropsTheFormatAndKeepsTheClass) {
  Fixture fixture("spurious_oracle");
  // Latents ±e_j, all of them active: the format is latents 20 and 44 alone.
  fixture.add(test::identity_dictionary(24, 48), "oracle");
  const auto results = fixture.run({"spurious"});
  ASSERT_EQ(results[0].status, "ok") << results[0].reason;
  const auto value = [&](const char* metric, const char* method, const char* dictionary) {
    const Number* n = find(results[0], metric, method, dictionary, "share 1.00");
    return n ? n->value : -1;
  };
  const double ceiling = find(results[0], "anti_auroc", "dense", "", "share 0.50")->value;
  EXPECT_LT(value("anti_auroc", "dense", ""), ceiling - 0.4) << "the probe learns the format";
  EXPECT_LT(value("anti_auroc", "latents", "oracle"), ceiling - 0.4);
  for (const char* fix : {"leace", "mean_difference", "neurons_drop", "paired"})
    EXPECT_GT(value("anti_auroc", fix, ""), ceiling - 0.12) << fix;
  EXPECT_GT(value("anti_auroc", "paired_covariate", ""), value("anti_auroc", "dense", "") + 0.1);
  for (const char* fix : {"latents_drop", "edit", "edit_covariate"}) {
    EXPECT_GT(value("anti_auroc", fix, "oracle"), ceiling - 0.12) << fix;
    EXPECT_GT(value("within_auroc", fix, "oracle"), ceiling - 0.12) << fix;
  }
  EXPECT_LT(value("anti_auroc", "latents_random_2", "oracle"),
            value("anti_auroc", "latents_drop_2", "oracle") - 0.2);
  const Number* difference =
      find(results[0], "both_auroc_difference", "latents_drop - inlp", "oracle", "share 1.00");
  ASSERT_NE(difference, nullptr);
  EXPECT_NEAR(difference->value,
              value("both_auroc", "latents_drop", "oracle") - value("both_auroc", "inlp", ""),
              1e-12);
  EXPECT_EQ(std::count_if(results[0].scores.begin(), results[0].scores.end(),
                          [](const Score& s) { return s.headline; }),
            1);
}

/// All texts that the plan's cells name, through an identity dictionary.
EncodeCache encode_cells(Fixture& fixture, const TextTable& table, const SpuriousPlan& plan) {
  EncodeRequest request;
  for (const SpuriousCell& cell : plan.cells)
    for (const LabelledTexts* part :
         {&cell.train[0], &cell.train[1], &cell.anti, &cell.within[0], &cell.within[1]})
      request.add_texts(part->texts);
  const sae::Dictionary* const list[] = {&fixture.dictionaries[0].dictionary};
  return encode_once(fixture.context, *fixture.dataset, &table, list, request, {0.2, 0.05, 0});
}

/// What the format texts would say if they said exactly: dimension 20.
DenseFormat known_format() {
  DenseFormat dense;
  dense.mean_difference.centre = dense.leace.centre = dense.inlp.centre = std::vector<double>(24);
  dense.inlp.left = std::vector<double>(24);
  dense.inlp.left[20] = 1;
  dense.inlp.right = dense.inlp.left;
  dense.neurons = {20};
  for (int64_t j = 0; j < 24; ++j)
    if (j != 20) dense.neurons.push_back(j);
  dense.probe.features = 24;
  dense.probe.weights = std::vector<double>(24);
  dense.probe.weights[20] = 1;
  return dense;
}

struct Points {
  std::vector<int64_t> neurons, covariate;
};

/// All dense fixes of a cell at the first share.
std::vector<SpuriousScore> score_dense(const EncodeCache& cache, const SpuriousCell& cell,
                                       const DenseFormat& format, Points points) {
  Grids grids{.latents = {},
              .inlp = {1},
              .paired = {},
              .neurons = std::move(points.neurons),
              .covariate = std::move(points.covariate)};
  std::vector<SpuriousScore> scores = score_dense_plain(cache, cell, 0, format, 3);
  for (SpuriousScore& s : score_dense_grids(cache, cell, 0, format, grids, 100, 3))
    scores.push_back(std::move(s));
  return scores;
}

/// All fixes of the first dictionary's latents.
std::vector<SpuriousScore> score_latents(const Fixture& fixture, const EncodeCache& cache,
                                         const SpuriousCell& cell, LatentFormat format,
                                         std::vector<int64_t> strengths) {
  for (const int64_t m : strengths) draw_random(format, m);
  const Grids grids{
      .latents = std::move(strengths), .inlp = {}, .paired = {}, .neurons = {}, .covariate = {}};
  const SparseCodes& pooled = cache.dictionaries[0].pooled;
  std::vector<SpuriousScore> scores = score_latent_plain(cache, pooled, cell, 0, 3);
  for (SpuriousScore& s : score_latent_grids(cache, fixture.dictionaries[0].dictionary, pooled,
                                             cell, 0, known_format().probe, format, grids, 100, 3))
    scores.push_back(std::move(s));
  return scores;
}

double anti(const std::vector<SpuriousScore>& scores, const std::string& fix, int64_t strength) {
  const auto found = std::find_if(scores.begin(), scores.end(), [&](const SpuriousScore& s) {
    return s.fix == fix && s.strength == strength;
  });
  return found == scores.end() ? -1 : found->anti;
}

TEST(Spurious, DroppingAnOraclesLatentsIsErasingItsDirection) {
  Fixture fixture("spurious_edit");
  fixture.add(test::identity_dictionary(24, 48), "oracle");
  const TextTable table = text_table(*fixture.dataset);
  const SpuriousPlan plan = fixture.plan(table);
  const EncodeCache cache = encode_cells(fixture, table, plan);
  const DenseFormat dense = known_format();
  const auto dropped = score_dense(cache, plan.cells[0], dense, {.neurons = {1}, .covariate = {0}});
  const auto edited = score_latents(fixture, cache, plan.cells[0],
                                    {.ranked = {20, 44}, .weights = {{}, {}}}, {1, 2});
  // All values of dimension 20 gone is the dense probe without that dimension.
  EXPECT_NEAR(anti(edited, "edit", 2), anti(dropped, "neurons_drop", 1), 0.01);
  EXPECT_NEAR(anti(dropped, "inlp", 1), anti(dropped, "neurons_drop", 1), 0.01);
  EXPECT_NEAR(anti(edited, "edit", 0), anti(dropped, "dense", 0), 1e-9);
  // Times 0 the covariate says nothing, and z-scored outside is z-scored inside.
  EXPECT_NEAR(anti(dropped, "covariate", 0), anti(dropped, "dense", 0), 0.01);
}

TEST(Spurious, ACovariateTakesTheFormatsPart) {
  Fixture fixture("spurious_covariate");
  fixture.add(test::identity_dictionary(24, 48), "oracle");
  // Beyond its share the format does not tell the classes: a covariate that tells them all would
  // leave nothing to learn.
  fixture.config.of<SpuriousConfig>().shares = {90, 50};
  const TextTable table = text_table(*fixture.dataset);
  const SpuriousPlan plan = fixture.plan(table);
  const EncodeCache cache = encode_cells(fixture, table, plan);
  const auto scores =
      score_dense(cache, plan.cells[0], known_format(), {.neurons = {1}, .covariate = {1, 100}});
  // The covariate is dimension 20 again, c times as large: ridge gives it c²/(1 + c²) of their
  // common effect, and the rest to the dimension, which is what the test sees.
  const double dense = anti(scores, "dense", 0), dropped = anti(scores, "neurons_drop", 1);
  EXPECT_GT(dropped, dense + 0.1);
  EXPECT_NEAR(anti(scores, "covariate", 100), dropped, 0.03);
  EXPECT_GT(anti(scores, "covariate", 1), dense);
  EXPECT_LT(anti(scores, "covariate", 1), anti(scores, "covariate", 100));
}

TEST(Spurious, SameNumbersOnAnyNumberOfThreads) {
  TaskResult runs[2];
  for (const int threads : {1, 3}) {
    Fixture fixture("spurious_threads", threads);
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    runs[threads == 3] = fixture.run({"spurious"})[0];
  }
  ASSERT_EQ(runs[0].numbers.size(), runs[1].numbers.size());
  ASSERT_GT(runs[0].numbers.size(), 50u);
  for (size_t i = 0; i < runs[0].numbers.size(); ++i)
    EXPECT_EQ(runs[0].numbers[i].value, runs[1].numbers[i].value);
  EXPECT_EQ(runs[0].details, runs[1].details);
}

TEST(Spurious, PartsHoldWhatTheyShouldAndALeakIsNoticed) {
  Fixture fixture("spurious_plan");
  const TextTable table = text_table(*fixture.dataset);
  const SpuriousPlan plan = fixture.plan(table);
  const auto format = text_labels(*fixture.dataset, table, "format");
  const auto pos = text_labels(*fixture.dataset, table, "part_of_speech");
  const auto category = text_labels(*fixture.dataset, table, "category");
  EXPECT_EQ(plan.runs, 2);
  for (const SpuriousCell& cell : plan.cells) {
    const int32_t own =
        class_index(fixture.dataset->label("category"), plan.classes[cell.category]);
    const auto share_usual = [&](const LabelledTexts& part, uint8_t label) {
      double usual = 0, count = 0;
      for (size_t i = 0; i < part.texts.size(); ++i) {
        EXPECT_EQ(category[part.texts[i]] == own, part.labels[i] == 1);
        EXPECT_EQ(pos[part.texts[i]], 0);
        if (part.labels[i] != label) continue;
        usual += format[part.texts[i]] == 0;
        count += 1;
      }
      return usual / count;
    };
    EXPECT_EQ(share_usual(cell.train[0], 1), 1);
    EXPECT_EQ(share_usual(cell.train[0], 0), 0);
    EXPECT_NEAR(share_usual(cell.train[1], 1), 0.5, 0.02);
    EXPECT_NEAR(share_usual(cell.train[1], 0), 0.5, 0.02);
    EXPECT_EQ(share_usual(cell.anti, 1), 0);
    EXPECT_EQ(share_usual(cell.anti, 0), 1);
    EXPECT_EQ(share_usual(cell.within[0], 1), 1);
    EXPECT_EQ(share_usual(cell.within[1], 0), 0);
  }
  for (const LabelledTexts& part : plan.formats)
    for (size_t i = 0; i < part.texts.size(); ++i) {
      EXPECT_EQ(pos[part.texts[i]], 1) << "fixes learn from other texts";
      EXPECT_EQ(format[part.texts[i]] == 0, part.labels[i] == 1);
    }
  SpuriousCell leaking = plan.cells[0];
  EXPECT_NO_THROW(check_disjoint(leaking, plan.formats[0], table));
  leaking.anti.texts.push_back(leaking.train[1].texts[0]);
  EXPECT_THROW(check_disjoint(leaking, plan.formats[0], table), Error);
  leaking = plan.cells[0];
  leaking.within[1].texts.push_back(plan.formats[0].texts[0]);
  EXPECT_THROW(check_disjoint(leaking, plan.formats[0], table), Error);
}

TEST(Spurious, AStrengthThatLeavesNothingToReadGivesNoScore) {
  Fixture fixture("spurious_nothing");
  fixture.add(test::identity_dictionary(24, 48), "oracle");
  const TextTable table = text_table(*fixture.dataset);
  const SpuriousPlan plan = fixture.plan(table);
  const EncodeCache cache = encode_cells(fixture, table, plan);
  LatentFormat all;
  for (int32_t j = 0; j < 48; ++j) all.ranked.push_back(j);
  all.weights.resize(48);
  const auto scores = score_latents(fixture, cache, plan.cells[0], all, {2, 48});
  EXPECT_GE(anti(scores, "latents_drop", 2), 0);
  EXPECT_EQ(anti(scores, "latents_drop", 48), -1);
  EXPECT_GE(anti(scores, "latents_random", 2), 0);
  EXPECT_EQ(anti(scores, "latents_random", 48), -1) << "there are no 48 others";
  EXPECT_GE(anti(scores, "edit", 48), 0) << "what the dictionary leaves unexplained is there";
  // One cell without a score takes the strength out.
  FixTable fixes;
  for (int64_t c = 0; c < 2; ++c) {
    SpuriousCell cell;
    cell.category = c;
    fixes.add(cell, 0, 0, false, {"latents", 0, .3, .9});
    fixes.add(cell, 0, 0, false, {"latents_drop", 2, .4, .9});
    if (c == 0) fixes.add(cell, 0, 0, false, {"latents_drop", 48, .9, .9});
  }
  fixes.drop_incomplete(2);
  EXPECT_EQ(choose_fix(fixes, "latents_drop", 0, 0, {0, 1}).strength[1], 2);
}

TEST(Spurious, RandomLatentsAreAsManyOthersOfTheSameWeight) {
  // The ten that tell the format are frequent and strong, as are thirty more; sixty are not.
  LatentFormat format;
  Rng rng(4);
  for (int32_t j = 0; j < 100; ++j) {
    format.ranked.push_back(100 + j);
    const double level = j < 40 ? 0 : -4;
    format.weights.push_back({level + 0.1 * rng.normal(), level + 0.1 * rng.normal()});
  }
  draw_random(format, 10);
  const RandomLatents& random = format.random.at(10);
  EXPECT_TRUE(random.complete());
  const std::set<int32_t> drawn(random.latents.begin(), random.latents.end());
  ASSERT_EQ(drawn.size(), 10u);
  EXPECT_EQ(std::count_if(drawn.begin(), drawn.end(), [](int32_t j) { return j < 110; }), 0);
  EXPECT_EQ(std::count_if(drawn.begin(), drawn.end(), [](int32_t j) { return j < 140; }), 10);
  draw_random(format, 60);
  EXPECT_FALSE(format.random.at(60).complete()) << "there are 40 others";
}

TEST(Spurious, AConstantPredictorDoesNotLead) {
  Fixture fixture("spurious_constant");
  sae::Dictionary silent = test::identity_dictionary(24, 48);
  silent.b_enc.assign(48, -1e6f);
  fixture.add(std::move(silent), "silent");
  Results results;
  results.dictionaries = {fixture.dictionaries[0].entry};
  results.tasks = fixture.run({"spurious"});
  const TaskResult& task = results.tasks[0];
  ASSERT_EQ(task.status, "ok") << task.reason;
  const auto value = [&](const char* metric, const char* method, const char* dictionary) {
    const Number* n = find(task, metric, method, dictionary, "share 1.00");
    return n ? n->value : -1;
  };
  for (const char* metric : {"anti_auroc", "within_auroc", "both_auroc"})
    EXPECT_EQ(value(metric, "latents_drop", "silent"), .5) << metric;
  ASSERT_FALSE(task.scores.empty());
  for (const Score& score : task.scores) {
    EXPECT_EQ(score.metric, "both_auroc");
    double sum = 0;
    for (const Cell& cell : score.cells) sum += cell.value;
    EXPECT_NEAR(sum / static_cast<double>(score.cells.size()),
                (value("anti_auroc", score.method.c_str(), score.dictionary.c_str()) +
                 value("within_auroc", score.method.c_str(), score.dictionary.c_str())) /
                    2,
                1e-12);
  }
  const ScoreTable table = compare(results).tables.at(0);
  EXPECT_EQ(table.chance, .5);
  EXPECT_LT(table.cards.at(0).beside.value().difference.value, 0);
  // The best honest fix of the quickstart's data against a constant: by the first it would lose.
  EXPECT_GT(both({{0, 0, .391}}, {{0, 0, .743}})[0].value,
            both({{0, 0, .5}}, {{0, 0, .5}})[0].value);
}

/// The strengths of a fix that stand among the numbers of a part.
std::set<int64_t> strengths_of(const TaskResult& result, const std::string& fix,
                               const std::string& dictionary, const std::string& part) {
  std::set<int64_t> found;
  for (const Number& n : result.numbers)
    if (n.metric == "both_auroc" && n.dictionary == dictionary && n.part == part &&
        n.method.rfind(fix + "_", 0) == 0)
      found.insert(std::stoll(n.method.substr(fix.size() + 1)));
  return found;
}

TEST(Spurious, AWiderGridIsTheGridThatGoesSoFar) {
  std::map<std::string, double> values[2];
  for (const bool widened : {true, false}) {
    Fixture fixture("spurious_inlp");
    fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
    fixture.config.of<SpuriousConfig>().inlp = {4};
    if (!widened) fixture.config.of<SpuriousConfig>().inlp = {4, 8, 16};
    for (const Number& n : fixture.run({"spurious"})[0].numbers)
      if (n.part == "share 1.00" && n.method.rfind("inlp_", 0) == 0)
        values[widened][n.metric + n.method] = n.value;
  }
  ASSERT_GT(values[true].size(), 3u) << "or no grid went on";
  for (const auto& [name, value] : values[true]) EXPECT_EQ(values[false].at(name), value) << name;
}

TEST(Spurious, AChoiceOfTheLastPointMakesTheGridGoOn) {
  Fixture fixture("spurious_wider");
  fixture.add(test::identity_dictionary(24, 48), "oracle");
  // The format is latents 20 and 44: one of them is too few.
  fixture.config.of<SpuriousConfig>().latents = {1};
  const auto alone = fixture.run({"spurious"})[0];
  ASSERT_EQ(alone.status, "ok") << alone.reason;
  const auto tried = strengths_of(alone, "latents_drop", "oracle", "share 1.00");
  EXPECT_TRUE(tried.contains(1) && tried.contains(2)) << "1 was the last";
  EXPECT_EQ(strengths_of(alone, "latents_drop", "oracle", "share 0.50"), std::set<int64_t>{1});
  // At most three times, each twice as far.
  EXPECT_LE(*tried.rbegin(), 8);
  for (const auto& row : alone.details["strengths_chosen"])
    if (row["fix"] == "latents_drop") {
      EXPECT_GE(row["strength"], 2);
      EXPECT_EQ(row["last_of_grid"], row["strength"] == *tried.rbegin());
    }
  std::set<int64_t> matched;
  for (const auto& row : alone.details["random_latents"])
    if (row["dictionary"] == "oracle") {
      matched.insert(row["latents"].get<int64_t>());
      EXPECT_EQ(row["drawn"], row["chosen"]);
    }
  EXPECT_EQ(matched, tried) << "each point of the grid has its control";
  // Whatever stands beside it.
  fixture.add(test::random_dictionary(24, 60, 8, 5), "other");
  const auto both = fixture.run({"spurious"})[0];
  EXPECT_EQ(strengths_of(both, "latents_drop", "oracle", "share 1.00"), tried);
  for (const Number& n : alone.numbers)
    if (const Number* again = find(both, n.metric, n.method, n.dictionary, n.part);
        n.metric != "both_auroc_difference") {
      ASSERT_NE(again, nullptr) << n.method;
      EXPECT_EQ(again->value, n.value) << n.method;
    }
}

std::string refusal(Fixture& fixture) {
  try {
    fixture.run({"spurious"});
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

TEST(Spurious, SettingsThatLeaveNothingToReadAreRefused) {
  Fixture fixture("spurious_refused");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  auto& config = fixture.config.of<SpuriousConfig>();
  const SpuriousConfig good = config;
  config.latents = {8, 60};
  EXPECT_EQ(refusal(fixture),
            "eval.spurious.latents = [8, 60]: dictionary 'a' has 60 latents, and to take 60 leaves "
            "nothing to read: expected numbers below 60");
  config = good;
  config.inlp = {24};
  EXPECT_EQ(refusal(fixture),
            "eval.spurious.inlp = [24]: the data has 24 dimensions, and to take 24 leaves nothing "
            "to read: expected numbers below 24");
  config = good;
  config.neurons = {4, 4};
  EXPECT_EQ(refusal(fixture),
            "eval.spurious.neurons = [4, 4]: expected ascending numbers, at least one");
  config = good;
  config.shares = {100};
  EXPECT_NE(refusal(fixture).find("expected 50 among them"), std::string::npos);
  config = good;
  static_cast<Grids&>(config) = Grids{};
  EXPECT_NO_THROW(check_grids(fixture.session())) << "the default grids fit whatever there is";
}

TEST(Spurious, BadSettingsFailThisTaskAlone) {
  Fixture fixture("spurious_bad");
  fixture.add(test::random_dictionary(24, 60, 8, 5), "a");
  fixture.config.of<SpuriousConfig>().reference_class = "adjective";
  auto results = fixture.run({"core", "spurious"});
  EXPECT_EQ(results[0].status, "ok");
  EXPECT_EQ(results[1].status, "failed");
  EXPECT_NE(results[1].reason.find("adjective"), std::string::npos) << results[1].reason;
  fixture.config.of<SpuriousConfig>().reference_class = "verb";
  fixture.config.of<SpuriousConfig>().min_texts = 100000;
  EXPECT_NE(fixture.run({"spurious"})[0].reason.find("min_texts"), std::string::npos);
}

}  // namespace
}  // namespace assay::eval::spurious
