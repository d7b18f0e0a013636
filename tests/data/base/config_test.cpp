#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>

#include "data/base/config_fields.h"
#include "kernels/base/error.h"

namespace assay::config {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

struct Sample {
  int64_t steps = 2000;
  double rate = 2e-4;
  bool resume = true;
  std::string variant = "topk";
  std::string path = "shards";
  std::vector<std::string> tasks = {"core", "ood probing"};
  std::vector<int64_t> sizes = {1, 4, 16};
  std::vector<double> weights = {0.5, 2};
  int64_t lanes = 16;
};

Describe describe(Sample& s) {
  return [&s](Fields& f) {
    f.text("path", s.path, "Where the data is.");
    f.section(
        "train",
        [&s](Fields& g) {
          g.integer("steps", s.steps, {1, 1000000}, "steps", "How long.");
          g.real("rate", s.rate, {0, 1}, "", "How fast | steady.");
          g.boolean("resume", s.resume, "Go on?");
          g.choice("variant", s.variant, {"topk", "relu"}, "Which.");
          g.section(
              "stream",
              [&s](Fields& h) {
                h.integer("lanes", s.lanes, {1, 64}, "lanes", "How many.");
              },
              "Deep.");
        },
        "Training.");
    f.texts("tasks", s.tasks, "What to do.");
    f.integers("sizes", s.sizes, {1, 1024}, "latents", "How wide.");
    f.reals("weights", s.weights, {0, 10}, "", "How heavy.");
  };
}

class Config : public testing::Test {
 protected:
  void SetUp() override {
    file_ = std::filesystem::path(testing::TempDir()) /
            (std::string(testing::UnitTest::GetInstance()->current_test_info()->name()) + ".yaml");
  }
  void TearDown() override { std::filesystem::remove(file_); }
  Sample read(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    std::ofstream(file_, std::ios::binary) << yaml;
    Sample sample;
    read_yaml(file_.string(), overrides, describe(sample));
    return sample;
  }
  /// The error's text, which must be one line and a usage error.
  std::string fault(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
    try {
      read(yaml, overrides);
    } catch (const UsageError& e) {
      EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos);
      return e.what();
    }
    ADD_FAILURE() << "accepted: " << yaml.substr(0, 200);
    return "";
  }
  std::string at(int line) const { return file_.string() + ":" + std::to_string(line) + ": "; }
  std::filesystem::path file_;
};

TEST_F(Config, ReadsEveryType) {
  const Sample s = read(
      "# a comment\npath: 'a: b'\ntrain:\n  steps: 7\n  rate: 1e-3\n  resume: false\n  variant: "
      "relu\n"
      "  stream: {lanes: 4}\ntasks: [x, \"y z\"]\nsizes:\n  - 3\n  - 5\nweights: [1e-3, 4]\n");
  EXPECT_EQ(s.path, "a: b");
  EXPECT_EQ(s.steps, 7);
  EXPECT_EQ(s.rate, 1e-3);
  EXPECT_FALSE(s.resume);
  EXPECT_EQ(s.variant, "relu");
  EXPECT_EQ(s.lanes, 4);
  EXPECT_EQ(s.tasks, (std::vector<std::string>{"x", "y z"}));
  EXPECT_EQ(s.sizes, (std::vector<int64_t>{3, 5}));
  EXPECT_EQ(s.weights, (std::vector<double>{1e-3, 4}));
}

TEST_F(Config, EmptyFileLeavesDefaults) {
  EXPECT_EQ(read("").steps, 2000);
  EXPECT_EQ(read("# nothing\n").lanes, 16);
}

TEST_F(Config, UnknownKeyNamesTheNearest) {
  EXPECT_EQ(fault("path: x\ntrain:\n  stesp: 3\n"),
            at(3) + "unknown key 'train.stesp', nearest is 'train.steps'");
  EXPECT_THAT(fault("zebra: 1\n"),
              AllOf(StartsWith(at(1)), HasSubstr("the keys here are path, train, tasks, sizes")));
}

TEST_F(Config, DuplicateKey) {
  EXPECT_EQ(fault("path: x\ntasks: []\npath: y\n"),
            at(3) + "the key 'path' appears twice; remove one");
}

TEST_F(Config, ValueTwiceInAList) {
  EXPECT_EQ(fault("sizes: [4, 8, 4]\n"), at(1) + "'sizes' holds 4 twice; remove one");
}

TEST_F(Config, WrongTypes) {
  EXPECT_EQ(fault("train:\n  steps: many\n"),
            at(2) + "'train.steps' must be an integer, found 'many'");
  EXPECT_THAT(fault("train: {steps: 1.5}\n"), HasSubstr("must be an integer, found '1.5'"));
  EXPECT_THAT(fault("train: {steps: '5'}\n"),
              HasSubstr("must be an integer, found the text \"5\""));
  EXPECT_THAT(fault("train: {rate: .nan}\n"), HasSubstr("must be a finite number"));
  EXPECT_THAT(fault("train: {rate: inf}\n"), HasSubstr("must be a finite number"));
  EXPECT_THAT(fault("train: {rate: 1e999}\n"), HasSubstr("must be a finite number"));
  EXPECT_THAT(fault("train: {resume: yes}\n"), HasSubstr("must be true or false, found 'yes'"));
  EXPECT_THAT(fault("train: 3\n"),
              HasSubstr("'train' must be a mapping of keys to values, found '3'"));
  EXPECT_THAT(fault("path: [a]\n"), HasSubstr("'path' must be a text, found a list"));
  EXPECT_THAT(fault("path:\n"),
              HasSubstr("'path' must be a text (\"\" for the empty one), found nothing"));
  EXPECT_THAT(fault("tasks: core\n"), HasSubstr("'tasks' must be a list of texts, found 'core'"));
  EXPECT_THAT(fault("sizes:\n  - 1\n  - b\n"), StartsWith(at(3) + "'sizes' must be an integer"));
  EXPECT_THAT(fault("weights: 3\n"), HasSubstr("'weights' must be a list of numbers, found '3'"));
  EXPECT_THAT(fault("weights: [1, nan]\n"),
              HasSubstr("'weights' must be a finite number, found 'nan'"));
  EXPECT_THAT(fault("- a\n- b\n"), HasSubstr("expected a mapping"));
  EXPECT_THAT(fault("[a]: b\n"), HasSubstr("expected a key, found a list"));
}

TEST_F(Config, Bounds) {
  EXPECT_EQ(fault("train:\n  steps: 0\n"),
            at(2) + "'train.steps' must be in [1, 1000000] steps, found 0");
  EXPECT_THAT(fault("train: {steps: 99999999999999999999}\n"),
              HasSubstr("must be in [1, 1000000] steps"));
  EXPECT_THAT(fault("train: {rate: -0.5}\n"),
              HasSubstr("'train.rate' must be in [0, 1], found -0.5"));
  EXPECT_THAT(fault("sizes: [4, 4096]\n"),
              HasSubstr("'sizes' must be in [1, 1024] latents, found 4096"));
  EXPECT_THAT(fault("weights: [4, 10.5]\n"), HasSubstr("'weights' must be in [0, 10], found 10.5"));
  EXPECT_THAT(fault("train: {variant: topq}\n"),
              HasSubstr("one of topk, relu, found 'topq', nearest is 'topk'"));
}

TEST_F(Config, AnchorsAliasesTagsAndSecondDocuments) {
  EXPECT_EQ(fault("path: &a x\n"),
            at(1) + "an anchor (&name) is not allowed here; write the value out");
  EXPECT_THAT(fault("path: x\ntasks: *a\n"), StartsWith(at(2)));
  EXPECT_THAT(fault("path: !!python/object x\n"), HasSubstr("is not allowed here; remove it"));
  EXPECT_THAT(fault("path: x\n---\npath: y\n"), HasSubstr("a second YAML document"));
}

TEST_F(Config, ExpansionBombIsRefusedAtItsFirstAnchor) {
  std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
  for (char c = 'b'; c <= 'i'; ++c) {
    bomb += std::string(1, c) + ": &" + c + " [";
    for (int i = 0; i < 9; ++i) bomb += std::string(i ? "," : "") + "*" + static_cast<char>(c - 1);
    bomb += "]\n";
  }
  EXPECT_THAT(fault(bomb), StartsWith(at(1) + "an anchor"));
}

TEST_F(Config, HugeAndDeepAndBinary) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(fault(std::string(2 << 20, '#')),
            at(1) + "larger than 1 MiB; expected a small YAML file");
  EXPECT_THAT(fault("tasks: " + std::string(1000000, '[')), StartsWith(at(1)));
  EXPECT_THAT(fault("tasks: " + std::string(1000000, '{')), StartsWith(at(1)));
  std::string block;
  for (int i = 0; i < 1000; ++i) block += std::string(static_cast<size_t>(i), ' ') + "a:\n";
  EXPECT_THAT(fault(block), HasSubstr("nested deeper than 32 levels"));
  EXPECT_THAT(fault("- - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - - x\n"),
              HasSubstr("deeper"));
  EXPECT_THAT(fault(std::string("path: a\0b\n", 10)), HasSubstr("control byte 0x00"));
  EXPECT_THAT(fault("path: \"unclosed\n"), HasSubstr("not valid YAML"));
  EXPECT_THAT(fault("path: \"unclosed"), HasSubstr("not valid YAML"));
  EXPECT_THAT(fault("tasks: [a, b\n"), StartsWith(file_.string()));
  EXPECT_EQ(read("path: x\n...\n").path, "x");
  EXPECT_THAT(fault("path: a\n\tb: c\n"), StartsWith(file_.string()));
  EXPECT_THAT(fault("? " + std::string(900000, 'k') + "\n: 1\n"), HasSubstr("unknown key"));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST_F(Config, MissingFileAndFolder) {
  Sample s;
  EXPECT_THROW(read_yaml(file_.string() + ".absent", {}, describe(s)), UsageError);
  EXPECT_THROW(read_yaml(testing::TempDir(), {}, describe(s)), UsageError);
}

TEST_F(Config, OverridesComeAfterTheFileAndAreCheckedAlike) {
  const Sample s = read("train: {steps: 5}\n",
                        {"train.steps=100", "tasks=[a, b]", "path=x: y=z", "train.stream.lanes=2"});
  EXPECT_EQ(s.steps, 100);
  EXPECT_EQ(s.tasks, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(s.path, "x: y=z");
  EXPECT_EQ(s.lanes, 2);
  EXPECT_EQ(fault("", {"train.stpes=3"}),
            "--set train.stpes=3: unknown key 'train.stpes', nearest is 'train.steps'");
  EXPECT_EQ(fault("", {"train.steps=0"}),
            "--set train.steps=0: 'train.steps' must be in [1, 1000000] steps, found 0");
  EXPECT_THAT(fault("", {"train.steps="}), HasSubstr("must be an integer"));
  EXPECT_THAT(fault("", {"train=5"}), HasSubstr("must be a mapping"));
  EXPECT_THAT(fault("", {"train.steps"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(fault("", {"=5"}), HasSubstr("expected KEY=VALUE"));
  EXPECT_THAT(fault("", {"tasks=[a"}), StartsWith("--set tasks=[a: "));
  EXPECT_THAT(fault("", {"tasks=[&a x]"}), StartsWith("--set tasks=[&a x]: an anchor"));
  EXPECT_THAT(fault("train: {steps: 0}\n", {"train.steps=5"}), StartsWith(at(1)));
}

TEST_F(Config, WritesWhatItReadsBack) {
  Sample s;
  s.path = "quote \" back\\slash\nline é # : {";
  s.tasks = {"", "no", "null", "12", "plain_word", " space "};
  s.rate = 0.1 + 0.2;
  s.sizes = {};
  const std::string yaml = write_yaml(describe(s));
  const Sample back = read(yaml);
  EXPECT_EQ(back.path, s.path);
  EXPECT_EQ(back.tasks, s.tasks);
  EXPECT_EQ(back.rate, s.rate);
  EXPECT_EQ(back.sizes, s.sizes);
  EXPECT_EQ(back.weights, s.weights);
  Sample again = back;
  EXPECT_EQ(write_yaml(describe(again)), yaml);
}

TEST_F(Config, WritesInTheOrderDescribed) {
  Sample s;
  EXPECT_EQ(
      write_yaml(describe(s)),
      "path: shards\ntrain:\n  steps: 2000\n  rate: 0.0002\n  resume: true\n  variant: topk\n  "
      "stream:\n"
      "    lanes: 16\ntasks: [core, \"ood probing\"]\nsizes: [1, 4, 16]\nweights: [0.5, 2]\n");
}

TEST_F(Config, Reference) {
  Sample s;
  const std::string page = document(describe(s));
  EXPECT_THAT(page, HasSubstr("\n## `train.stream`\n\nDeep.\n"));
  EXPECT_THAT(page, HasSubstr("| `steps` | integer | `2000` | 1 … 1000000 | steps | How long. |"));
  EXPECT_THAT(page, HasSubstr("| `rate` | number | `0.0002` | 0 … 1 |  | How fast \\| steady. |"));
  EXPECT_THAT(page, HasSubstr("| `variant` | choice | `topk` | topk, relu |"));
}

TEST(Nearest, EditDistanceWithSwapsAndALimit) {
  EXPECT_EQ(nearest("stesp", {"rate", "steps"}), "steps");
  EXPECT_EQ(nearest("lr", {"lanes", "l"}), "l");
  EXPECT_EQ(nearest("zebra", {"path", "steps"}), "");
  EXPECT_EQ(nearest("a", {}), "");
}

}  // namespace
}  // namespace assay::config
