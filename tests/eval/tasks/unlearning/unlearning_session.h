// A session of planted classes for tests of the unlearning task: a dictionary that is right, its
// control, and an upper half that takes means.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "eval/tasks/unlearning/scores.h"
#include "kernels/base/random.h"
#include "tests/eval/eval_session.h"
#include "tests/eval/mean_half.h"

namespace assay::eval::unlearning {

inline constexpr int64_t kD = 24;

inline UnlearningConfig small_config() {
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
inline sae::Dictionary oracle_dictionary() {
  sae::Dictionary oracle = test::identity_dictionary(kD, 4);
  std::fill(oracle.b_enc.begin(), oracle.b_enc.end(), -2.5f);
  return oracle;
}

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
  /// The plan run with the activations of these documents moved at random.
  RunOutcome run_moved(const std::set<int64_t>& documents) {
    test::Planted other = fixture_.planted;
    Rng rng(99);
    for (int64_t row = 0; row < other.rows(); ++row)
      if (documents.count(other.document[row]))
        for (int64_t j = 0; j < kD; ++j)
          other.x[row * kD + j] += static_cast<float>(3 * rng.normal());
    const support::TemporaryFolder folder("unlearning_moved");
    test::write_planted(other, folder.path());
    const data::Dataset dataset = data::Dataset::open(folder.path());
    const UnlearningInputs in = inputs();
    const UnlearningInputs moved{in.context, dataset, in.table, in.config, in.dictionaries,
                                 in.trained, half_,   nullptr,  0,         {},
                                 in.log};
    return run_unlearning(moved, plan(), 5);
  }
  TaskResult report(const RunOutcome& outcome) {
    TaskResult result;
    result.status = "ok";
    const Session session = fixture_.session();
    report_unlearning(session, {outcome}, {true, false}, result);
    return result;
  }

  test::SessionFixture fixture_;
  TextTable table_;
  test::MeanHalf half_;
};

}  // namespace assay::eval::unlearning
