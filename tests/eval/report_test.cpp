#include "eval/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "eval/report_format.h"
#include "eval/report_log.h"
#include "eval/report_page.h"
#include "eval/report_summary.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

using testing::HasSubstr;
using testing::Not;

Number number(const std::string& metric, const std::string& method, const std::string& dictionary,
              const std::string& part, double value) {
  Number n;
  n.metric = metric;
  n.method = method;
  n.dictionary = dictionary;
  n.part = part;
  n.value = value;
  n.interval = {{value - 0.05, value + 0.05}};
  return n;
}

Results sample() {
  Results r;
  r.dictionaries = {{"mine", "", "", "topk", "", 8, 16, 2, 0, 0, true},
                    {"null", "", "", "", "random", 8, 16, 2, 0, 0, false}};
  TaskResult core, probing;
  core.name = "core";
  core.status = probing.status = "ok";
  core.numbers = {number("fvu", "", "mine", "train", 0.9), number("fvu", "", "mine", "validation", 0.155),
                  number("l0", "", "mine", "validation", 31.97), number("dead_share", "", "mine", "validation", 0.011)};
  probing.name = "ood_probing";
  probing.title = "Probing";
  probing.numbers = {number("auroc", "dense_lr", "", "id", 0.99),
                     number("auroc", "dense_lr", "", "ood", 0.80),
                     number("auroc", "knn", "", "ood", 0.81),
                     number("auroc_permuted_labels", "dense_lr", "", "ood", 0.95),
                     number("auroc", "latents_top4", "mine", "ood", 0.75),
                     number("auroc", "latents_all", "mine", "ood", 0.79),
                     number("auroc", "latents_top4", "null", "ood", 0.60),
                     number("auroc_difference", "latents_top4 - dense_lr", "mine", "ood", -0.05),
                     number("auroc_difference", "latents_top4 - random_top4", "mine", "ood", 0.15),
                     number("auroc_difference", "latents_top4 - neurons_top4", "mine", "ood", 0.02),
                     number("auroc_difference", "latents_all - knn", "mine", "ood", -0.02)};
  r.tasks = {core, probing};
  return r;
}

TEST(Summary, TakesTheRightNumbers) {
  const report::Summary s = report::summarise(sample());
  EXPECT_EQ(s.headline, "latents_top4");
  const report::SummaryRow& row = s.rows[0];
  EXPECT_EQ(row.fvu->value, 0.155);
  EXPECT_EQ(row.auroc->value, 0.75);
  EXPECT_EQ(row.minus_null->value, 0.15);
  EXPECT_EQ(row.minus_neurons->value, 0.02);
  EXPECT_EQ(row.verdict->arm.method, "latents_all");
  EXPECT_EQ(row.verdict->baseline.method, "knn");
  EXPECT_TRUE(row.verdict->baseline_wins);
  EXPECT_EQ(row.verdict->sentence,
            "A simple baseline wins here: kNN 0.810 against all latents 0.790 out of distribution. "
            "Paired difference −0.020 [−0.070, +0.030], an interval that includes 0.");
  EXPECT_EQ(s.rows[1].auroc->value, 0.60);
  EXPECT_FALSE(s.rows[1].verdict);
}

TEST(Summary, TieGoesToTheBaselineAndALeadIsSaid) {
  Results r = sample();
  r.tasks[1].numbers[5].value = 0.81;
  EXPECT_TRUE(report::summarise(r).rows[0].verdict->baseline_wins);
  r.tasks[1].numbers[5].value = 0.82;
  EXPECT_THAT(report::summarise(r).rows[0].verdict->sentence, HasSubstr("The dictionary leads: "));
}

TEST(Summary, WithheldTasksGiveNoNumbers) {
  Results r = sample();
  r.tasks[1].status = "withheld";
  r.tasks[1].reason = "label null";
  const report::Summary s = report::summarise(r);
  EXPECT_FALSE(s.rows[0].auroc);
  EXPECT_FALSE(s.rows[0].verdict);
  EXPECT_EQ(s.withheld, std::vector<std::string>{"Probing is withheld: label null"});
  EXPECT_THAT(summary_table(r), HasSubstr("Probing is withheld: label null\n"));
}

TEST(Summary, TableForTheTerminal) {
  Results r = sample();
  const std::string text = summary_table(r);
  EXPECT_THAT(text, HasSubstr("dictionary      FVU    L0     dead   OOD AUROC, 4 latents"));
  EXPECT_THAT(text, HasSubstr("mine            0.155  31.97  0.011  0.750 [0.700, 0.800]  "));
  EXPECT_THAT(text, HasSubstr("null (control)  -      -      -      0.600 [0.550, 0.650]"));
  EXPECT_THAT(text, HasSubstr("mine: A simple baseline wins here"));
  r.dictionaries[0].name = "\x1b[2J\nevil";
  for (TaskResult& task : r.tasks) {
    for (Number& n : task.numbers) n.dictionary = n.dictionary == "mine" ? r.dictionaries[0].name : n.dictionary;
  }
  EXPECT_THAT(summary_table(r), HasSubstr("?[2J?evil"));
  EXPECT_THAT(summary_table(r), Not(HasSubstr("\x1b")));
  EXPECT_NE(summary_table(Results{}), "");
}

TEST(Page, Escapes) {
  EXPECT_EQ(report::escape_html("<a href=\"x\">'&'</a>\x01"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt; ");
  const std::string json = report::script_json({{"</script><!--", "a&b\u2028\xff"}});
  EXPECT_EQ(json, "{\"\\u003c/script\\u003e\\u003c!--\":\"a\\u0026b\\u2028\\ufffd\"}");
  EXPECT_EQ(nlohmann::json::parse(json).begin().key(), "</script><!--");
}

TEST(Page, HashOfTheEmptyScript) {
  // printf '' | openssl dgst -sha256 -binary | base64
  EXPECT_EQ(report::csp_hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
  EXPECT_EQ(report::csp_hash("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
}

TEST(Format, Values) {
  EXPECT_EQ(report::value_text(0.7504), "0.750");
  EXPECT_EQ(report::value_text(31.968), "31.97");
  EXPECT_EQ(report::value_text(123.46), "123.5");
  EXPECT_EQ(report::value_text(1234567.8), "1,234,568");
  EXPECT_EQ(report::value_text(0.00012), "1.2e-04");
  EXPECT_EQ(report::value_text(0), "0.000");
  EXPECT_EQ(report::signed_text(-0.02), "−0.020");
  EXPECT_EQ(report::count_text(-1234), "-1,234");
  EXPECT_EQ(report::count_text(-123), "-123");
  EXPECT_EQ(report::method_name("latents_top1"), "1 latent");
  EXPECT_EQ(report::method_name("latents_top16 - neurons_top16"), "16 latents − 16 neurons");
  EXPECT_EQ(report::method_name("latents_top4 - random_top4"), "4 latents − 4 random latents");
  EXPECT_EQ(report::method_name("something"), "something");
}

class Log : public testing::Test {
 protected:
  report::TrainingLog read(const std::string& text) {
    const std::string file = testing::TempDir() + "/log_test.jsonl";
    std::ofstream(file, std::ios::binary) << text;
    return report::read_training_log(file);
  }
  std::string fault(const std::string& text) {
    try {
      read(text);
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  }
};

TEST_F(Log, ReadsColumns) {
  const report::TrainingLog log = read("{\"tokens\": 1, \"loss\": 0.5}\n{\"loss\": 0.25, \"tokens\": 2}\n");
  EXPECT_EQ(log.lines, 2);
  EXPECT_FALSE(log.open_ended);
  EXPECT_EQ(log.columns.at("loss"), (std::vector<double>{0.5, 0.25}));
  EXPECT_TRUE(read("{\"tokens\": 1}\n{\"tok").open_ended);
  EXPECT_EQ(read("").lines, 0);
}

TEST_F(Log, NamesTheLine) {
  EXPECT_THAT(fault("{\"tokens\": 1}\nx\n"), HasSubstr("log_test.jsonl:2: "));
  EXPECT_THAT(fault("{\"loss\": 1}\n"), HasSubstr(":1: 'tokens' is missing"));
  EXPECT_THAT(fault("{\"tokens\": 1, \"loss\": 2}\n{\"tokens\": 1}\n"), HasSubstr(":2: 'loss' is missing"));
  EXPECT_THAT(fault("{\"tokens\": 1}\n{\"tokens\": 1, \"b\": 2}\n"), HasSubstr("'b' does not stand in the first line"));
  EXPECT_THAT(fault("{\"tokens\": \"1\"}\n"), HasSubstr("'tokens' is not a finite number"));
  EXPECT_THAT(fault("[" + std::string(100000, '[') + "\n"), HasSubstr(":1: expected numbers only"));
}

}  // namespace
}  // namespace assay::eval
