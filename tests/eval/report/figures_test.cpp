// Kinds of figures on results whose charts are known beforehand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <tuple>

#include "eval/report/figure_parts.h"
#include "tests/eval/report/numbers.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;
using testing::ElementsAre;

Number number(const std::string& metric, const std::string& method, const std::string& dictionary,
              const std::string& part, double value) {
  return test::number(metric, method, dictionary, part, value, 1);
}

class Figures : public testing::Test {
 protected:
  void SetUp() override {
    results_.dictionaries = {{"mine", "", "", "topk", "", 8, 16, 2, 0, 0, true, "", {}},
                             {"null", "", "", "", "random", 8, 16, 2, 0, 0, false, "mine", {}}};
    task_.metrics = {{"loss", "loss", "lower", 9.0}, {"gain", "gain", "higher"}};
    task_.parts = {{"few", "few texts", 4.0}, {"many", "many texts", 64.0}, {"all", "all texts"}};
    task_.arms = {{"plain", "plain probe", "baseline", "activations", "probe"},
                  {"ours", "our probe", "headline", "latents", "probe", 2}};
    for (const auto& [part, shift] : {std::pair("few", 1.0), {"many", 0.0}, {"all", 5.0}})
      for (const auto& [method, dictionary, value] :
           {std::tuple("plain", "", 3.0), {"ours", "mine", 2.0}, {"ours", "null", 7.0}}) {
        task_.numbers.push_back(number("loss", method, dictionary, part, value + shift));
        task_.numbers.push_back(number("gain", method, dictionary, part, -value));
      }
  }
  FigureInput input(const Figure& figure) const { return {results_, task_, figure}; }

  Results results_;
  TaskResult task_;
};

/// The values of a field, in the order of another field's numbers.
std::vector<std::string> rows_in_order(const json& spec) {
  std::map<int64_t, std::string> rows;
  for (const json& value : spec["data"]["values"]) rows[value["row_order"]] = value["name"];
  std::vector<std::string> names;
  for (const auto& [place, name] : rows) names.push_back(name);
  return names;
}

TEST_F(Figures, TheBestStandsFirstWhateverIsBetter) {
  const Figure figure{.kind = "dots",
                      .caption = "",
                      .metrics = {"loss"},
                      .parts = {"few", "many"},
                      .order = "best_first"};
  const auto panels = dot_panels(input(figure));
  ASSERT_EQ(panels.size(), 1u);
  EXPECT_THAT(rows_in_order(panels[0].chart.spec),
              ElementsAre("mine: our probe", "plain probe", "null: our probe"));
  EXPECT_EQ(panels[0].chart.spec["data"]["values"].size(), 6u) << "the part 'all' is not asked for";
}

TEST_F(Figures, PanelsShareAnAxisThatHoldsChanceAndTheBestBaseline) {
  const Figure figure{.kind = "dots",
                      .caption = "",
                      .metrics = {"loss"},
                      .parts = {"few", "many"},
                      .panels = "dictionary"};
  EXPECT_EQ(best_baseline(input(figure)), 3.0) << "the lowest, at the last part";
  const auto panels = dot_panels(input(figure));
  ASSERT_EQ(panels.size(), 3u);
  EXPECT_EQ(panels[2].title, "null (control: random)");
  std::vector<json> domains;
  for (const Panel& panel : panels) {
    const json& layers = panel.chart.spec["layer"];
    EXPECT_EQ(layers[0]["data"]["values"][0]["at"], 9.0);
    EXPECT_EQ(layers[1]["data"]["values"][0]["at"], 3.0);
    domains.push_back(layers[0]["encoding"]["x"]["scale"]["domain"]);
  }
  EXPECT_EQ(domains[0], domains[2]);
  EXPECT_LT(domains[0][0], 1.0) << "2 less its interval";
  EXPECT_GT(domains[0][1], 9.0);
}

TEST_F(Figures, ACurveOverPartsStandsWhereTheyAreAndControlsAreGrey) {
  const Figure figure{.kind = "curve", .caption = "", .metrics = {"loss"}, .x = "part"};
  const auto panels = curve_panels(input(figure));
  ASSERT_EQ(panels.size(), 1u);
  const json& spec = panels[0].chart.spec;
  EXPECT_EQ(spec["data"]["values"].size(), 6u) << "a part without a place is left out";
  EXPECT_EQ(spec["data"]["values"][0]["x"], 4.0);
  const json& scale = spec["layer"][1]["encoding"]["color"]["scale"];
  EXPECT_EQ(scale["domain"], json({"plain probe", "mine: our probe", "null: our probe"}));
  EXPECT_EQ(scale["range"][2], "#8a9099");
  EXPECT_NE(scale["range"][1], "#8a9099");
}

TEST_F(Figures, AFrontierPairsTwoMetricsOfOnePart) {
  const Figure figure{.kind = "frontier", .caption = "", .metrics = {"loss", "gain"}};
  const auto panels = frontier_panels(input(figure));
  ASSERT_EQ(panels.size(), 1u);
  const json& values = panels[0].chart.spec["data"]["values"];
  ASSERT_EQ(values.size(), 9u);
  EXPECT_EQ(values[1]["series"], "mine: our probe");
  EXPECT_EQ(values[1]["x"], 3.0);
  EXPECT_EQ(values[1]["y"], -2.0);
}

/// Where the dashed lines of a chart stand, vertical and horizontal ones.
std::pair<std::vector<double>, std::vector<double>> dashed(const json& spec) {
  std::pair<std::vector<double>, std::vector<double>> at;
  for (const json& layer : spec["layer"]) {
    if (!layer["mark"].is_object() || !layer["mark"].contains("strokeDash")) continue;
    auto& list = layer["encoding"].contains("x") ? at.first : at.second;
    list.push_back(layer["data"]["values"][0]["at"]);
  }
  return at;
}

TEST_F(Figures, EveryKindDrawsTheChanceOfEveryMetricItDraws) {
  task_.metrics[1].chance = -4.5;
  const auto lines = [&](Figure figure) {
    const FigureInput in = input(figure);
    const auto panels = figure.kind == "dots"    ? dot_panels(in)
                        : figure.kind == "curve" ? curve_panels(in)
                                                 : frontier_panels(in);
    return dashed(panels.at(0).chart.spec);
  };
  using Lines = std::vector<double>;
  EXPECT_EQ(lines({.kind = "dots", .caption = "", .metrics = {"loss", "gain"}}),
            std::pair(Lines({9.0, -4.5}), Lines()));
  EXPECT_EQ(lines({.kind = "curve", .caption = "", .metrics = {"gain"}, .x = "part"}),
            std::pair(Lines(), Lines({-4.5})));
  EXPECT_EQ(lines({.kind = "frontier", .caption = "", .metrics = {"loss", "gain"}}),
            std::pair(Lines({9.0}), Lines({-4.5})));
  task_.metrics[1].chance = 9.0;
  EXPECT_EQ(lines({.kind = "dots", .caption = "", .metrics = {"loss", "gain"}}),
            std::pair(Lines({9.0}), Lines()))
      << "one line where both have one level";
  const Figure figure{.kind = "dots",
                      .caption = "",
                      .metrics = {"loss"},
                      .references = {{9, "hides nothing"}, {1, "hides all"}}};
  EXPECT_EQ(lines(figure), std::pair(Lines({9.0, 1.0}), Lines()));
  EXPECT_EQ(reference_lines(input(figure), {"loss"})[0].label, "chance, hides nothing");
}

TEST_F(Figures, WhatIsNotThereIsLeftOut) {
  EXPECT_TRUE(dot_panels(input({.kind = "dots", .caption = "", .metrics = {"none"}})).empty());
  task_.details["bins"] = {{"mine", {{{"low", 0}, {"high", 1}}}}};
  const Figure histogram{
      .kind = "histogram", .caption = "", .details = "bins", .fields = {"low", "high", "count"}};
  EXPECT_TRUE(histogram_panels(input(histogram)).empty()) << "a bin lacks its count";
  task_.details["bins"]["mine"][0]["count"] = 3;
  EXPECT_EQ(histogram_panels(input(histogram)).size(), 1u);
}

}  // namespace
}  // namespace assay::eval::report
