// The unlearning task on a language model, on planted corpora and a model whose losses are known in
// closed form.
#include "eval/tasks/unlearning/text.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "eval/encoding/upper_run.h"
#include "eval/tasks/unlearning/run.h"
#include "eval/tasks/unlearning/text_run.h"
#include "kernels/base/error.h"
#include "tests/eval/eval_session.h"

namespace assay::eval::unlearning {
namespace {

constexpr int64_t kD = 24, kCorpora = 4;

/// Predicts a token the better, the more clearly the token before it shows any corpus's direction:
/// the loss is log(1 + e^(4 − the largest of them)), plus a little for the token's id.
class ClosedForm : public sae::LossHalf {
 public:
  int64_t d() const override { return kD; }
  static double loss(const float* before, int64_t id) {
    return std::log1p(std::exp(4 - double(*std::max_element(before, before + kCorpora)))) +
           0.001 * static_cast<double>(id);
  }
  void run(const float* x, const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* out) const override {
    for (int64_t i = 0; i < batch * length; ++i)
      out[i] = i % length == 0 || !mask[i] ? 0 : static_cast<float>(loss(x + (i - 1) * kD, ids[i]));
  }
};

/// Latent c reads corpus c's direction above the noise.
sae::Dictionary oracle_dictionary() {
  sae::Dictionary oracle = test::identity_dictionary(kD, 4);
  std::fill(oracle.b_enc.begin(), oracle.b_enc.end(), -2.5f);
  return oracle;
}

class UnlearningTextTest : public ::testing::Test {
 protected:
  UnlearningTextTest()
      : fixture_("unlearning_text", {.documents = 600}), table_(text_table(*fixture_.dataset)) {
    UnlearningTextConfig& config = fixture_.config.of<UnlearningTextConfig>();
    config.corpus_label = "category";
    config.forget = "class2";
    config.estimate = 60;
    config.tune = 30;
    config.test = 50;
    config.latents = {1, 4};
    config.clamps = {0, 20};
    fixture_.add(oracle_dictionary(), "oracle");
    add_nulls(fixture_.dictionaries, {"random"}, *fixture_.dataset, 3);
  }

  UnlearningTextPlan plan() {
    return plan_unlearning_text(*fixture_.dataset, table_,
                                fixture_.config.of<UnlearningTextConfig>(), 5);
  }
  UnlearningTextInputs inputs(Context& context, const data::Dataset& dataset) {
    UnlearningTextInputs in{.context = context,
                            .dataset = dataset,
                            .table = table_,
                            .config = fixture_.config.of<UnlearningTextConfig>(),
                            .half = half_};
    for (const EvalDictionary& d : fixture_.dictionaries) {
      in.dictionaries.push_back(&d.dictionary);
      in.trained.push_back(d.entry.null_kind.empty());
    }
    return in;
  }
  UnlearningTextOutcome run() {
    return run_unlearning_text(inputs(fixture_.context, *fixture_.dataset), plan(), 5);
  }
  std::string error_of(const std::function<void()>& body) {
    try {
      body();
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  test::SessionFixture fixture_;
  TextTable table_;
  ClosedForm half_;
};

const TextOutcome& method(const UnlearningTextOutcome& run, const std::string& name,
                          std::optional<size_t> dictionary) {
  for (const TextOutcome& m : run.methods)
    if (m.name == name && m.dictionary == dictionary) return m;
  throw Error("no method " + name);
}

double drop(const UnlearningTextOutcome& run, const TextOutcome& m) {
  return run.test.percent(m.losses_at(m.points[0]), true) / 100;
}

TEST_F(UnlearningTextTest, APerfectDictionaryForgetsTheCorpusAndItsControlsDoNot) {
  const UnlearningTextOutcome outcome = run();
  const TextOutcome& latents = method(outcome, "latents", 0);
  EXPECT_GT(drop(outcome, latents), 0.5);
  EXPECT_LE(outcome.test.percent(latents.losses_at(latents.points[0]), false), 1 + 1e-9);
  EXPECT_LT(drop(outcome, method(outcome, "latents", 1)), drop(outcome, latents))
      << "a random dictionary's";
  EXPECT_LT(drop(outcome, method(outcome, "random_latents", 0)), 0.1);
  EXPECT_GT(drop(outcome, method(outcome, "gated_steering", {})), 0.3)
      << "the planted corpora are a shift apart";
}

TEST_F(UnlearningTextTest, LossesAreTheClosedForm) {
  fixture_.config.of<UnlearningTextConfig>().latents = {1};
  const UnlearningTextOutcome outcome = run();
  const test::Planted& p = fixture_.planted;
  const TextOutcome& latents = method(outcome, "latents", 0);
  ASSERT_EQ(latents.settings[0], "m=1 c=0%");
  ASSERT_EQ(latents.settings[1], "m=1 c=20%");
  const Setting setting = latents.points[0].stronger;
  ASSERT_TRUE(setting == 0 || setting == 1) << "one corpus, one latent";
  const double target = setting == 1 ? -0.2 * outcome.norm : 0;
  const std::vector<double>& edited = latents.losses.at(setting);
  for (size_t i = 0; i < outcome.test.entries.size(); i += 7) {
    // The same texts in the same order: those of the plan, the corpus to forget first.
    const int64_t text = plan().texts[i / 50][kTextTest][i % 50], first = table_.first[text];
    double clean = 0, clamped = 0;
    for (int64_t row = first + 1; row < first + table_.rows[text]; ++row) {
      if (p.special[row]) continue;
      const float* before = p.x.data() + (row - 1) * kD;
      clean += ClosedForm::loss(before, p.tokens[row]);
      std::vector<float> changed(before, before + kD);
      std::vector<float> sorted(changed);
      for (float& v : sorted) v = std::fabs(v) - 2.5f;
      std::nth_element(sorted.begin(), sorted.begin() + 3, sorted.end(), std::greater<>());
      const float z = changed[2] - 2.5f;
      if (!p.special[row - 1] && z > 0 && z >= sorted[3])
        changed[2] += static_cast<float>(target) - z;
      clamped += ClosedForm::loss(changed.data(), p.tokens[row]);
    }
    EXPECT_NEAR(outcome.test.clean[i], clean, 1e-4);
    EXPECT_NEAR(edited[i], clamped, 1e-3);
    EXPECT_EQ(outcome.tokens[i], static_cast<double>(table_.ordinary[text]));
  }
}

TEST_F(UnlearningTextTest, NothingIsChosenOnTheTestPart) {
  std::set<int64_t> tested;
  for (const auto& parts : plan().texts)
    for (const int64_t t : parts[kTextTest]) tested.insert(table_.document[t]);
  for (const auto& parts : plan().texts)
    for (const UnlearningTextPart part : {kTextEstimate, kTextTune})
      for (const int64_t t : parts[part]) EXPECT_FALSE(tested.count(table_.document[t]));
  test::Planted other = fixture_.planted;
  Rng rng(99);
  for (int64_t row = 0; row < other.rows(); ++row)
    if (tested.count(other.document[row]))
      for (int64_t j = 0; j < kD; ++j) other.x[row * kD + j] += static_cast<float>(rng.normal());
  const support::TemporaryFolder folder("unlearning_text_other");
  test::write_planted(other, folder.path());
  const data::Dataset dataset = data::Dataset::open(folder.path());
  const UnlearningTextOutcome first = run();
  const UnlearningTextOutcome second =
      run_unlearning_text(inputs(fixture_.context, dataset), plan(), 5);
  for (size_t m = 0; m < first.methods.size(); ++m) {
    EXPECT_EQ(first.methods[m].tuning.drop, second.methods[m].tuning.drop) << first.methods[m].name;
    EXPECT_EQ(first.methods[m].tuning.damage, second.methods[m].tuning.damage)
        << first.methods[m].name;
  }
  EXPECT_NE(first.test.clean, second.test.clean) << "the change must show in the test part";
}

TEST_F(UnlearningTextTest, ArmsAreComparedAtTheBudgetOnTestTexts) {
  const UnlearningTextOutcome outcome = run();
  int reached = 0;
  for (const TextOutcome& own : outcome.methods)
    for (size_t b = 0; b < own.points.size(); ++b) {
      const double damage = outcome.test.percent(own.losses_at(own.points[b]), false);
      const double budget = static_cast<double>(UnlearningTextConfig().budgets[b]);
      reached += own.points[b].reached;
      if (own.points[b].reached) {
        EXPECT_NEAR(damage, budget, 1e-9) << own.name;
      } else {
        EXPECT_LE(damage, budget) << own.name;
      }
    }
  EXPECT_GT(reached, 0) << "or the test shows nothing";
}

TEST(UnlearningText, TheErrorOfAShareIsItsSpreadOverDraws) {
  // Independent: the standard deviation of the share over panels that are drawn anew.
  Rng rng(8);
  double sum = 0, squares = 0, error = 0;
  constexpr int kDraws = 400;
  for (int draw = 0; draw < kDraws; ++draw) {
    TextPanel panel;
    std::vector<double> edited;
    for (int64_t i = 0; i < 200; ++i) {
      panel.entries.push_back(i);
      panel.corpus.push_back(1);
      const double gap = 1 + rng.uniform();
      panel.clean.push_back(2);
      panel.ablated.push_back(2 + gap);
      edited.push_back(2 + 0.1 * gap + 0.3 * rng.normal());
    }
    const double own = panel.percent(edited, false);
    sum += own / kDraws;
    squares += own * own / kDraws;
    error += panel.percent_error(edited, false) / kDraws;
  }
  EXPECT_NEAR(error / std::sqrt(squares - sum * sum), 1, 0.12);
}

TEST_F(UnlearningTextTest, SameLossesOnAnyNumberOfThreads) {
  Context one({Device::cpu, 1});
  const UnlearningTextOutcome two = run();
  const UnlearningTextOutcome alone =
      run_unlearning_text(inputs(one, *fixture_.dataset), plan(), 5);
  for (size_t m = 0; m < two.methods.size(); ++m)
    EXPECT_EQ(two.methods[m].losses, alone.methods[m].losses);
  EXPECT_EQ(two.test.ablated, alone.test.ablated);
}

TEST_F(UnlearningTextTest, WhatIsMissingIsOneLine) {
  UnlearningTextConfig& config = fixture_.config.of<UnlearningTextConfig>();
  config.forget = "class9";
  EXPECT_NE(error_of([&] { plan(); }).find("has no class 'class9': its classes are class0"),
            std::string::npos);
  config.forget = "class2";
  config.test = 5000;
  EXPECT_NE(error_of([&] { plan(); }).find("corpus 'class2' has"), std::string::npos);
  EXPECT_NE(error_of([&] { fixture_.run({"unlearning_text"}); }).find("needs --model"),
            std::string::npos);
  config.corpus_label = "corpus";
  EXPECT_NE(error_of([&] { fixture_.run({"unlearning_text"}); }).find("needs label 'corpus'"),
            std::string::npos);
}

}  // namespace
}  // namespace assay::eval::unlearning
