#include "eval/results/results.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"

namespace assay::eval {
namespace {

using nlohmann::json;
using testing::HasSubstr;

Results sample() {
  Results r;
  r.version = "0.1.0";
  r.dataset = "synthetic";
  r.dataset_hash = "abc";
  r.model = "mödel \"x\" \u2028";
  r.hook = "layer 4";
  r.split_rule = "validation=0.05";
  r.seed = UINT64_MAX;
  r.dictionaries.push_back(
      {"a", "runs/a", "ff", "topk", "", 384, 6144, 32, INT64_MAX, 1, true, "", {}, "5e77"});
  r.dictionaries.push_back({"r", "", "fe", "topk", "random", 384, 6144, 32, 0, 2, false, "a", {}});
  TaskResult task;
  task.name = "core";
  task.title = "T";
  task.question = "Q";
  task.status = "withheld";
  task.reason = "because";
  task.caveat = "but";
  task.seconds = 0.1 + 0.2;
  task.numbers.push_back({"fvu",
                          "m",
                          "a",
                          "validation",
                          1.0 / 3,
                          {{0.3, 0.4}},
                          "kind",
                          12345678901,
                          "tokens",
                          "u",
                          true,
                          "r"});
  task.numbers.push_back(
      {"l0", "", "", "", -5e-324, std::nullopt, "", 0, "", "", std::nullopt, ""});
  task.scores.push_back(
      {"auroc", "ood", "latents_top4", "a", true, false, {{0, 1, 1.0 / 7}, {-3, 2, 5e-324}}});
  task.checks.push_back({"c", true, "d"});
  task.arms = {
      {"latents_top4", "4 latents", "headline", "latents", "logistic_regression", 4, "4 to 7"},
      {"m", "the mean", "control", "activations", "mean"}};
  task.metrics = {{"fvu", "FVU", "lower", 1.0, "validation"}, {"auroc", "AUROC", "higher"}};
  task.parts = {{"ood", "out of distribution"}, {"budget_2", "budget 2", 2.0}};
  task.figures = {{.kind = "dots",
                   .title = "T",
                   .caption = "Read it so.",
                   .metrics = {"auroc"},
                   .parts = {"ood"},
                   .arms = {"latents_top4"},
                   .references = {{0.5, "half"}},
                   .panels = "dictionary",
                   .order = "best_first"},
                  {.kind = "histogram",
                   .caption = "",
                   .details = "density_histogram",
                   .fields = {"log10_low", "log10_high", "count"}}};
  task.details = {
      {"density_histogram", {{"a", {{{"log10_low", -1}, {"log10_high", -0.75}, {"count", 3}}}}}}};
  r.tasks.push_back(task);
  return r;
}

class ResultsFile : public testing::Test {
 protected:
  void SetUp() override {
    file_ = std::filesystem::path(testing::TempDir()) /
            (std::string("results_") +
             testing::UnitTest::GetInstance()->current_test_info()->name() + ".json");
  }
  void TearDown() override { std::filesystem::remove(file_); }
  std::string fault_text(const std::string& text) {
    std::ofstream(file_, std::ios::binary) << text;
    try {
      read_results(file_);
    } catch (const Error& e) {
      const std::string what = e.what();
      EXPECT_EQ(what.rfind(file_.string() + ": ", 0), 0u) << what;
      EXPECT_EQ(what.find('\n'), std::string::npos);
      return what.substr(file_.string().size() + 2);
    }
    ADD_FAILURE() << "accepted: " << text.substr(0, 300);
    return "";
  }
  /// The error after the value at `pointer` was replaced.
  std::string fault(const char* pointer, const json& value) {
    json changed = to_json(sample());
    changed[json::json_pointer(pointer)] = value;
    return fault_text(changed.dump());
  }
  std::filesystem::path file_;
};

TEST_F(ResultsFile, RoundTripKeepsEveryBit) {
  const Results before = sample();
  write_results(before, file_);
  const Results after = read_results(file_);
  EXPECT_EQ(to_json(after), to_json(before));
  EXPECT_EQ(after.seed, UINT64_MAX);
  EXPECT_EQ(after.model, before.model);
  EXPECT_EQ(after.dictionaries[0].tokens, INT64_MAX);
  EXPECT_EQ(after.tasks[0].numbers[0].value, 1.0 / 3);
  EXPECT_EQ(after.tasks[0].numbers[0].n, 12345678901);
  EXPECT_EQ(after.tasks[0].numbers[0].test_seen_in_training, true);
  EXPECT_EQ(after.tasks[0].numbers[1].value, -5e-324);
  EXPECT_FALSE(after.tasks[0].numbers[1].interval);
  EXPECT_FALSE(after.tasks[0].numbers[1].test_seen_in_training);
  EXPECT_EQ(after.tasks[0].seconds, 0.1 + 0.2);
  EXPECT_EQ(after.tasks[0].scores[0].cells[1].value, 5e-324);
  EXPECT_EQ(after.tasks[0].scores[0].cells[1].unit, -3);
  EXPECT_TRUE(after.tasks[0].scores[0].headline);
  EXPECT_FALSE(after.tasks[0].scores[0].higher_is_better);
  EXPECT_EQ(after.tasks[0].caveat, "but");
  EXPECT_EQ(after.tasks[0].arms[0].k, 4);
  EXPECT_FALSE(after.tasks[0].arms[1].k);
  EXPECT_EQ(after.tasks[0].arms[0].reads, "4 to 7");
  EXPECT_FALSE(to_json(after)["tasks"][0]["arms"][1].contains("reads")) << "empty: left out";
  EXPECT_EQ(after.tasks[0].metrics[0].chance, 1.0);
  EXPECT_FALSE(after.tasks[0].metrics[1].chance);
  EXPECT_EQ(after.tasks[0].parts[1].at, 2.0);
  EXPECT_EQ(after.tasks[0].figures[0].references[0].label, "half");
  EXPECT_FALSE(to_json(after)["tasks"][0]["figures"][1].contains("title")) << "empty: left out";
  Results plain = before;
  plain.tasks[0].caveat.clear();
  EXPECT_FALSE(to_json(plain)["tasks"][0].contains("caveat"));
  write_results(plain, file_);
  EXPECT_EQ(read_results(file_).tasks[0].caveat, "");
}

TEST_F(ResultsFile, WhatWasLeftOutIsKept) {
  Results r = sample();
  EXPECT_FALSE(to_json(r).contains("left_out"));
  r.left_out = {{"wide", "runs/wide", "it has d = 17"}};
  write_results(r, file_);
  const Results after = read_results(file_);
  EXPECT_EQ(to_json(after), to_json(r));
  ASSERT_EQ(after.left_out.size(), 1u);
  EXPECT_EQ(after.left_out[0].reason, "it has d = 17");
  json broken = to_json(r);
  broken["left_out"][0].erase("path");
  EXPECT_EQ(fault_text(broken.dump()), "left_out[0].path: missing");
}

TEST_F(ResultsFile, RefusesToWriteWhatJsonCannotSay) {
  Results r = sample();
  r.tasks[0].numbers[0].value = std::nan("");
  EXPECT_THROW(write_results(r, file_), Error);
  r = sample();
  r.tasks[0].numbers[0].interval = {{0, HUGE_VAL}};
  EXPECT_THROW(write_results(r, file_), Error);
  r = sample();
  r.tasks[0].details["deep"]["er"] = {1.0, std::nan("")};
  try {
    write_results(r, file_);
    FAIL();
  } catch (const Error& e) {
    EXPECT_THAT(e.what(), HasSubstr("tasks[0].details.deep.er[1] is not finite"));
  }
  r = sample();
  r.model = "\xff";
  EXPECT_THROW(write_results(r, file_), Error);
  r = sample();
  r.tasks[0].numbers[0].dictionary = "unlisted";
  EXPECT_THROW(write_results(r, file_), Error);
  EXPECT_FALSE(std::filesystem::exists(file_));
}

TEST_F(ResultsFile, NamesTheMemberThatDoesNotFit) {
  EXPECT_EQ(fault("/tasks/0/numbers/1/value", "x"),
            "tasks[0].numbers[1].value: expected a finite number, found \"x\"");
  EXPECT_EQ(fault("/tasks/0/numbers/1/value", nullptr),
            "tasks[0].numbers[1].value: expected a finite number, found null");
  EXPECT_THAT(fault("/tasks/0/numbers/0/interval", {1}),
              HasSubstr("numbers[0].interval: expected null or [low, high]"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/interval", {1, "2"}),
              HasSubstr("expected a finite number"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/interval", {2, 1}), HasSubstr("low is above high"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/n", -1),
              HasSubstr("expected an integer of 0 or more, found -1"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/n", 1.5), HasSubstr("expected an integer of 0 or more"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/n", UINT64_MAX), HasSubstr("below 2^63"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/test_seen_in_training", 1),
              HasSubstr("expected true or false"));
  EXPECT_THAT(fault("/tasks/0/numbers/0/dictionary", "zz"), HasSubstr("'zz' that is not listed"));
  EXPECT_THAT(fault("/tasks/0/status", "fine"),
              HasSubstr("expected ok, withheld or failed, found 'fine'"));
  EXPECT_THAT(fault("/tasks/0/details", {1}), HasSubstr("tasks[0].details: expected an object"));
  EXPECT_THAT(fault("/tasks/0/checks/0/passed", "yes"), HasSubstr("tasks[0].checks[0].passed"));
  EXPECT_THAT(fault("/tasks/0", 5), HasSubstr("tasks[0]: expected an object, found 5"));
  EXPECT_THAT(fault("/dictionaries/1/name", "a"), HasSubstr("two named 'a'"));
  EXPECT_THAT(fault("/tasks/0/scores/0/cells/1", {1, 2}),
              HasSubstr("scores[0].cells[1]: expected [unit, run, value]"));
  EXPECT_THAT(fault("/tasks/0/scores/0/cells/1", {1, 2, "x"}),
              HasSubstr("expected a finite number"));
  EXPECT_THAT(fault("/tasks/0/scores/0/dictionary", "zz"), HasSubstr("'zz' that is not listed"));
  EXPECT_THAT(fault("/tasks/0/scores/0/cells/1", {UINT64_MAX, 2, 3.0}),
              HasSubstr("expected [unit, run, value]"));
  EXPECT_THAT(fault("/tasks/0/caveat", 1), HasSubstr("tasks[0].caveat: expected a text, found 1"));
  EXPECT_EQ(fault("/schema", 2),
            "schema: expected 4 (evaluate again, or report with the Assay that wrote it), found 2");
  EXPECT_THAT(fault("/extra", 2), HasSubstr("extra: unknown member"));
  EXPECT_THAT(fault("/bad\nkey\x1b", 2), HasSubstr("bad?key?: unknown member"));
  json missing = to_json(sample());
  missing["tasks"][0].erase("seconds");
  EXPECT_EQ(fault_text(missing.dump()), "tasks[0].seconds: missing");
}

TEST_F(ResultsFile, WordsThatSayNothingAreRefused) {
  const auto at = [](const std::string& rest) { return "/tasks/0/" + rest; };
  const auto says = [&](const std::string& where, const json& value, const char* expected) {
    EXPECT_THAT(fault(at(where).c_str(), value), HasSubstr(expected));
  };
  says("arms/0/role", "best", "tasks.core.arms.latents_top4.role: expected one of");
  says("arms/1/name", "latents_top4", "tasks.core.arms: two named 'latents_top4'");
  says("metrics/1/name", "fvu", "tasks.core.metrics: two named 'fvu'");
  says("metrics/0/better", "more", "tasks.core.metrics.fvu.better: expected one of");
  says("figures/0/kind", "pie", "tasks.core.figures[0].kind: expected one of 'dots'");
  says("figures/0/metrics/0", "f1", "tasks.core.figures[0]: metric 'f1' is not declared");
  says("figures/0/kind", "frontier", "a frontier needs 2 metrics and 0 fields, found 1 and 0");
  says("figures/0/kind", "curve", "figures[0].x: expected 'k' or 'part', found ''");
  says("figures/1/fields", {"low"}, "a histogram needs 0 metrics and 3 fields, found 0 and 1");
  says("arms/0/role", "", "'latents_top4' is a headline here, its arm's role is ''");
  says("figures/0/colour", "red", "tasks[0].figures[0].colour: unknown member");
}

/// Whatever has scores may be chosen as the best arm.
TEST_F(ResultsFile, AControlIsNoCandidateForTheBestArm) {
  const auto refusal = [](const std::string& role, const std::string& dictionary) {
    TaskResult task = sample().tasks[0];
    task.arms[1].role = role;  // "m"
    task.scores.push_back({"auroc", "ood", "m", dictionary, false, true, {{0, 1, .5}}});
    try {
      check_task(task);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  for (const char* role : {"control", "ceiling", "difference"})
    for (const char* dictionary : {"", "a"})
      EXPECT_EQ(refusal(role, dictionary), "tasks.core.scores: 'm' is a " + std::string(role) +
                                               ", which is never a candidate for the best arm");
  EXPECT_THAT(refusal("", ""), HasSubstr("'m' needs no dictionary here, its arm's role is ''"));
  EXPECT_EQ(refusal("", "a"), "");
  EXPECT_EQ(refusal("baseline", ""), "");
  // The same of a file that somebody wrote.
  json file = to_json(sample());
  file["tasks"][0]["arms"][0]["role"] = "control";
  file["tasks"][0]["scores"][0]["headline"] = false;
  EXPECT_THAT(fault_text(file.dump()), HasSubstr("'latents_top4' is a control"));
}

TEST_F(ResultsFile, AnArmHasOneScoreInATable) {
  TaskResult task = sample().tasks[0];
  task.arms[1].role = "";  // "m"
  Score score{"auroc", "ood", "m", "a", false, true, {{0, 1, .5}}};
  task.scores.push_back(score);
  EXPECT_NO_THROW(check_task(task));
  score.part = "id";
  task.scores.push_back(score);
  EXPECT_NO_THROW(check_task(task)) << "another table";
  task.scores.push_back(score);
  try {
    check_task(task);
    FAIL() << "two scores of one arm";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "tasks.core.scores: two of 'm' auroc id, dictionary 'a'");
  }
}

TEST_F(ResultsFile, HostileFiles) {
  EXPECT_THAT(fault_text(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_text("[1]"), HasSubstr("expected a JSON object"));
  EXPECT_THAT(fault_text(std::string(2000000, '[')), HasSubstr("nested deeper than 32 levels"));
  std::string bomb;
  for (int i = 0; i < 1000000; ++i) bomb += "{\"a\":";
  EXPECT_THAT(fault_text(bomb), HasSubstr("nested deeper than 32 levels"));
  std::string text = to_json(sample()).dump();
  EXPECT_THAT(fault_text(text.substr(0, text.size() / 2)), HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_text(text + "{}"), HasSubstr("not valid JSON"));
  const size_t at = text.find("\"seconds\":");
  EXPECT_THAT(
      fault_text(text.substr(0, at) + "\"seconds\":1e999" + text.substr(text.find(',', at))),
      HasSubstr("not valid JSON"));
  EXPECT_THAT(fault_text("{\"model\": \"\xff\"}"), HasSubstr("not valid JSON"));
  EXPECT_THROW(read_results(file_.string() + ".absent"), Error);
  EXPECT_THROW(read_results(testing::TempDir()), Error);
}

}  // namespace
}  // namespace assay::eval
