#include "eval/report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "eval/report/figure_parts.h"
#include "eval/report/log.h"
#include "eval/report/page.h"
#include "eval/report/sections.h"
#include "eval/report/summary.h"
#include "eval/results/compare.h"
#include "eval/results/text.h"
#include "kernels/base/error.h"
#include "tests/eval/report/numbers.h"

namespace assay::eval {
namespace {

using testing::HasSubstr;
using testing::Not;

Number number(const std::string& metric, const std::string& method, const std::string& dictionary,
              const std::string& part, double value) {
  return test::number(metric, method, dictionary, part, value, 0.05);
}

Score score(const std::string& method, const std::string& dictionary, double value) {
  Score s{"auroc", "ood", method, dictionary, method == "latents_top4", true, {}};
  for (int64_t unit = 0; unit < 12; ++unit)
    s.cells.push_back(
        {unit, 0, value + 0.01 * static_cast<double>((unit * 5 + std::ssize(method)) % 6 - 3)});
  return s;
}

Results sample() {
  Results r;
  r.dictionaries = {{"mine", "", "", "topk", "", 8, 16, 2, 0, 0, true, "", {}},
                    {"null", "", "", "", "random", 8, 16, 2, 0, 0, false, "mine", {}}};
  TaskResult core, probing;
  core.name = "any";
  core.status = probing.status = "ok";
  core.metrics = {{"fvu", "FVU", "lower", {}, "validation"},
                  {"l0", "L0", "", {}, "validation"},
                  {"dead_share", "dead", "lower", {}, "validation"},
                  {"cosine", "cosine", "higher"}};
  core.numbers = {number("fvu", "", "mine", "train", 0.9),
                  number("fvu", "", "mine", "validation", 0.155),
                  number("l0", "", "mine", "validation", 31.97),
                  number("dead_share", "", "mine", "validation", 0.011)};
  probing.name = "proxy";
  probing.title = "Probing";
  probing.metrics = {{"auroc", "AUROC", "higher", 0.5}};
  probing.parts = {{"ood", "out of distribution"}};
  probing.arms = {{"knn", "kNN", "baseline", "activations", "nearest_neighbours"},
                  {"latents_top4", "4 latents", "headline", "latents", "logistic_regression", 4}};
  probing.scores = {score("dense_lr", "", 0.80), score("knn", "", 0.90),
                    score("latents_top4", "mine", 0.75), score("latents_top16", "mine", 0.79),
                    score("latents_top4", "null", 0.60)};
  r.tasks = {core, probing};
  return r;
}

TEST(Summary, TakesTheRightNumbers) {
  const Results r = sample();
  const Comparison comparison = compare(r);
  const report::Summary s = report::summarise(r, comparison);
  const report::SummaryRow& row = s.rows[0];
  ASSERT_EQ(row.values.size(), 3u) << "of the metrics that ask for a place, cosine does not";
  EXPECT_EQ(row.values[0]->value, 0.155) << "of the part that is declared, not of train";
  EXPECT_EQ(row.values[1]->value, 31.97);
  ASSERT_EQ(row.scores.size(), 1u);
  EXPECT_EQ(row.scores[0].table->title, "Probing: AUROC, out of distribution");
  EXPECT_EQ(row.scores[0].card->label, "4 latents");
  EXPECT_EQ(row.scores[0].card->method, "latents_top4");
  EXPECT_EQ(row.scores[0].card->chosen->methods, "latents_top16");
  EXPECT_EQ(row.scores[0].card->chosen->labels, "latents_top16") << "not declared: as it is";
  EXPECT_EQ(row.scores[0].card->beside->b, "knn");
  EXPECT_THAT(verdict_sentence(*row.scores[0].table, *row.scores[0].card),
              HasSubstr("A simple baseline wins here: kNN 0.8"));
  EXPECT_FALSE(s.rows[1].values[0]);
  EXPECT_FALSE(s.rows[1].scores[0].card->beside) << "a control gets no verdict";
}

TEST(Summary, WithheldTasksGiveNoNumbers) {
  Results r = sample();
  r.tasks[1].status = "withheld";
  r.tasks[1].reason = "label null";
  const Comparison comparison = compare(r);
  const report::Summary s = report::summarise(r, comparison);
  EXPECT_TRUE(s.rows[0].scores.empty());
  EXPECT_EQ(s.withheld, std::vector<std::string>{"Probing is withheld: label null"});
  EXPECT_THAT(summary_table(r), HasSubstr("Probing is withheld: label null\n"));
}

TEST(Summary, TableForTheTerminal) {
  Results r = sample();
  const std::string text = summary_table(r);
  EXPECT_THAT(text, HasSubstr("dictionary      FVU    L0     dead\n"));
  EXPECT_THAT(text, HasSubstr("mine            0.155  31.97  0.011\n"));
  EXPECT_THAT(text, HasSubstr("null (control)  -      -      -\n"));
  EXPECT_THAT(text, HasSubstr("Probing: AUROC, out of distribution, chance 0.500\n"));
  EXPECT_THAT(text, HasSubstr("mine: A simple baseline wins here"));
  for (TaskResult& task : r.tasks) {
    for (Number& n : task.numbers) n.dictionary = "\x1b[2J\nevil";
    for (Score& s : task.scores)
      s.dictionary = s.dictionary == "mine" ? "\x1b[2J\nevil" : s.dictionary;
  }
  r.dictionaries[0].name = "\x1b[2J\nevil";
  EXPECT_THAT(summary_table(r), HasSubstr("?[2J?evil"));
  EXPECT_THAT(summary_table(r), Not(HasSubstr("\x1b")));
  EXPECT_NE(summary_table(Results{}), "");
}

/// Of a task whose metric has a chance level every table and figure says it.
TEST(Summary, ChanceStandsInEveryTableOfThePage) {
  Results r = sample();
  TaskResult& task = r.tasks[1];
  task.numbers = {number("auroc", "knn", "", "ood", 0.9)};
  task.details["per_class"] = {{{"class", "a"}, {"ood", 0.5}}};
  task.figures = {{.kind = "table", .caption = "Numbers.", .metrics = {"auroc"}},
                  {.kind = "dots", .caption = "Dots.", .metrics = {"auroc"}},
                  {.kind = "matrix",
                   .caption = "Matrix.",
                   .metrics = {"auroc"},
                   .details = "matrix",
                   .fields = {"class", "ood"}}};
  task.details["matrix"] = {{{"class", "a"}, {"method", "knn"}, {"dictionary", ""}, {"ood", 0.5}}};
  const Comparison comparison = compare(r);
  const auto drawn = [&](const auto& add) {
    report::Page page;
    add(page);
    return page.render("", "");
  };
  const std::string summary =
      drawn([&](report::Page& page) { report::add_summary(page, r, comparison); });
  EXPECT_THAT(summary, HasSubstr("<span class=\"note\">4 latents, chance 0.500</span>"));
  EXPECT_THAT(summary, HasSubstr("mine, Probing: AUROC, out of distribution, chance 0.500 — A"));
  EXPECT_THAT(drawn([&](report::Page& page) { report::add_comparison(page, r, comparison); }),
              HasSubstr("distribution<span class=\"note\">chance 0.500</span>"));
  const std::string section = drawn([&](report::Page& page) { report::add_task(page, r, task); });
  EXPECT_THAT(section, HasSubstr("AUROC<span class=\"note\">out of distribution, chance 0.500<"));
  EXPECT_THAT(section, HasSubstr("Dots. Dashed: chance 0.500."));
  EXPECT_THAT(section, HasSubstr("Matrix. White: chance 0.500."));
  EXPECT_THAT(section, HasSubstr("Knowing nothing gives: AUROC 0.500."));
  const std::string numbers = drawn([&](report::Page& page) { report::add_numbers(page, r); });
  EXPECT_THAT(numbers, HasSubstr(">Chance</th>"));
  EXPECT_THAT(numbers, HasSubstr(">0.500</td>"));
}

TEST(Page, Escapes) {
  EXPECT_EQ(report::escape_html("<a href=\"x\">'&'</a>\x01"),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt; ");
  const std::string json = report::script_json({{"</script><!--", "a&b\u2028\xff"}});
  EXPECT_EQ(json, "{\"\\u003c/script\\u003e\\u003c!--\":\"a\\u0026b\\u2028\\ufffd\"}");
  EXPECT_EQ(nlohmann::json::parse(json).begin().key(), "</script><!--");
}

TEST(Page, ArmsSayWhatTheyRead) {
  Results r = sample();
  TaskResult& task = r.tasks[1];
  task.numbers = {number("auroc", "knn", "", "ood", 0.9),
                  number("auroc", "latents_top4", "mine", "ood", 0.75)};
  const auto drawn = [&] {
    report::Page page;
    report::add_number_table(page, task, {&task.numbers[0], &task.numbers[1]}, "");
    return page.render("", "");
  };
  EXPECT_THAT(drawn(), Not(HasSubstr("Reads")));
  task.arms[1].reads = "4 of them";
  EXPECT_THAT(drawn(), HasSubstr("Reads"));
  EXPECT_THAT(drawn(), HasSubstr("4 of them"));
}

TEST(Page, HashOfTheEmptyScript) {
  // printf '' | openssl dgst -sha256 -binary | base64
  EXPECT_EQ(report::csp_hash(""), "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='");
  EXPECT_EQ(report::csp_hash("abc"), "'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='");
}

TEST(Format, Values) {
  EXPECT_EQ(value_text(0.7504), "0.750");
  EXPECT_EQ(value_text(31.968), "31.97");
  EXPECT_EQ(value_text(123.46), "123.5");
  EXPECT_EQ(value_text(1234567.8), "1,234,568");
  EXPECT_EQ(value_text(0.00012), "1.2e-04");
  EXPECT_EQ(value_text(0), "0.000");
  EXPECT_EQ(signed_text(-0.02), "−0.020");
  EXPECT_EQ(count_text(-1234), "-1,234");
  EXPECT_EQ(count_text(-123), "-123");
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
  const report::TrainingLog log =
      read("{\"tokens\": 1, \"loss\": 0.5}\n{\"loss\": 0.25, \"tokens\": 2}\n");
  EXPECT_EQ(log.lines, 2);
  EXPECT_FALSE(log.open_ended);
  EXPECT_EQ(log.columns.at("loss"), (std::vector<double>{0.5, 0.25}));
  EXPECT_TRUE(read("{\"tokens\": 1}\n{\"tok").open_ended);
  EXPECT_EQ(read("").lines, 0);
}

TEST_F(Log, NamesTheLine) {
  EXPECT_THAT(fault("{\"tokens\": 1}\nx\n"), HasSubstr("log_test.jsonl:2: "));
  EXPECT_THAT(fault("{\"loss\": 1}\n"), HasSubstr(":1: 'tokens' is missing"));
  EXPECT_THAT(fault("{\"tokens\": 1, \"loss\": 2}\n{\"tokens\": 1}\n"),
              HasSubstr(":2: 'loss' is missing"));
  EXPECT_THAT(fault("{\"tokens\": 1}\n{\"tokens\": 1, \"b\": 2}\n"),
              HasSubstr("'b' does not stand in the first line"));
  EXPECT_THAT(fault("{\"tokens\": \"1\"}\n"), HasSubstr("'tokens' is not a finite number"));
  EXPECT_THAT(fault("[" + std::string(100000, '[') + "\n"), HasSubstr(":1: expected numbers only"));
}

}  // namespace
}  // namespace assay::eval
