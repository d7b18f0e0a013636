#include "eval/report/vega.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace assay::eval::vega {
namespace {

using nlohmann::json;

// Told apart by people with colour-blindness, on light and dark pages alike.
const json kPalette = {"#3b82c4", "#d9822b", "#3a9d6e", "#c05a9b",
                       "#8a6fd1", "#a3862a", "#4fa8b8", "#c2504a"};

/// Colours come from the page (currentColor), so one specification serves light and dark.
json frame(json values, json body) {
  json spec = {{"data", {{"values", std::move(values)}}},
               {"width", "container"},
               {"background", nullptr},
               {"autosize", {{"type", "fit-x"}, {"contains", "padding"}}},
               {"config",
                {{"font", "system-ui, sans-serif"},
                 {"view", {{"stroke", nullptr}}},
                 {"axis",
                  {{"labelColor", "currentColor"},
                   {"titleColor", "currentColor"},
                   {"titleFontWeight", 500},
                   {"labelFontSize", 12},
                   {"titleFontSize", 12},
                   {"gridColor", "#8884"},
                   {"domainColor", "#888"},
                   {"tickColor", "#888"}}},
                 {"legend",
                  {{"labelColor", "currentColor"},
                   {"titleColor", "currentColor"},
                   {"labelFontSize", 12},
                   {"labelLimit", 320},
                   {"orient", "top"},
                   {"title", nullptr}}},
                 {"range", {{"category", kPalette}}}}}};
  spec.update(body);
  return spec;
}

/// Where names stand in their order, as a field to sort by. (A sort list would become an
/// expression, and not every text survives there.)
void add_order(json& values, const char* field, const std::vector<std::string>& order) {
  for (json& value : values) {
    const auto at =
        std::find(order.begin(), order.end(), value.at(field).get_ref<const std::string&>());
    value[std::string(field) + "_order"] = at - order.begin();
  }
}

json by_order(const char* field) {
  return {{"field", std::string(field) + "_order"}, {"op", "min"}};
}

json quantitative(const char* field, const std::string& title) {
  return {{"field", field}, {"type", "quantitative"}, {"title", title}};
}

json colour(const char* field, const std::vector<std::string>& order) {
  json out = {{"field", field}, {"type", "nominal"}, {"scale", {{"domain", order}}}};
  if (order.size() < 2) out["legend"] = nullptr;
  return out;
}

/// Where every y is 0 the axis needs a domain, else zero would float in its middle without scale.
bool all_zero(const json& values) {
  return std::all_of(values.begin(), values.end(), [](const json& v) { return v.at("y") == 0; });
}

/// x, logarithmic where it spans more than a factor of four.
json spread(const json& values, const std::string& title) {
  double low = HUGE_VAL, high = 0;
  for (const json& value : values) {
    low = std::min(low, value.at("x").get<double>());
    high = std::max(high, value.at("x").get<double>());
  }
  json x = quantitative("x", title);
  x["scale"] = {{"zero", false},
                {"type", low > 0 && high > 4 * low ? "log" : "linear"},
                {"padding", 24},
                {"nice", false}};
  x["axis"] = {{"grid", false}, {"tickCount", 6}, {"format", "~g"}};
  return x;
}

}  // namespace

json curve(json values, const std::string& y_title, const std::vector<std::string>& series) {
  json x = quantitative("x", "training tokens");
  x["axis"] = {{"format", "~s"}, {"grid", false}, {"tickCount", 6}};
  json y = quantitative("y", y_title);
  y["axis"] = {{"tickCount", 5}};
  if (all_zero(values)) y["scale"] = {{"domain", {0, 1}}};
  const json tooltip = {{{"field", "series"}, {"title", "run"}},
                        quantitative("x", "tokens"),
                        quantitative("y", y_title)};
  return frame(
      std::move(values),
      {{"height", 190},
       {"mark",
        {{"type", "line"}, {"strokeWidth", 1.6}, {"interpolate", "linear"}, {"tooltip", true}}},
       {"encoding",
        {{"x", x}, {"y", y}, {"color", colour("series", series)}, {"tooltip", tooltip}}}});
}

json histogram(json values, const std::string& x_title, const std::string& y_title,
               const std::vector<std::string>& series) {
  json x = quantitative("low", x_title);
  x["bin"] = "binned";
  x["axis"] = {{"grid", false}, {"tickMinStep", 0.5}, {"format", "~g"}};
  json y = quantitative("count", y_title);
  y["stack"] = nullptr;
  const json tooltip = {{{"field", "series"}, {"title", "dictionary"}},
                        quantitative("low", "from"),
                        quantitative("high", "to"),
                        quantitative("count", y_title)};
  return frame(
      std::move(values),
      {{"height", 230},
       {"mark", {{"type", "bar"}, {"fillOpacity", 0.55}, {"strokeWidth", 0.8}, {"binSpacing", 0}}},
       {"encoding",
        {{"x", x},
         {"x2", {{"field", "high"}}},
         {"y", y},
         {"color", colour("series", series)},
         {"stroke", colour("series", series)},
         {"tooltip", tooltip}}}});
}

json dots(json values, const DotOptions& options) {
  add_order(values, "row", options.rows);
  add_order(values, "part", options.parts);
  const json domain = {{"domain", {options.low, options.high}}, {"nice", false}, {"zero", false}};
  const json y = {{"field", "row"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", by_order("row")},
                  {"axis",
                   {{"minExtent", options.label_room},
                    {"maxExtent", options.label_room},
                    {"labelLimit", options.label_room - 5},
                    {"ticks", false},
                    {"domain", false}}}};
  json x = quantitative("value", options.x_title);
  x["scale"] = domain;
  x["axis"] = {{"tickCount", 6}};
  json low = x;
  low["field"] = "low";
  const json offset = {{"field", "part"}, {"type", "nominal"}, {"sort", by_order("part")}};
  const json tooltip = {{{"field", "row"}, {"title", "arm"}}, {{"field", "part"}},
                        quantitative("value", "value"),       quantitative("low", "95 % from"),
                        quantitative("high", "to"),           quantitative("n", "n")};
  const json part = colour("part", options.parts);
  json layers = json::array();
  for (const double reference : options.references) {
    layers.push_back(
        {{"data", {{"values", {{{"at", reference}}}}}},
         {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}, {"color", "#888"}}},
         {"encoding", {{"x", {{"field", "at"}, {"type", "quantitative"}, {"scale", domain}}}}}});
  }
  layers.push_back({{"mark", {{"type", "rule"}, {"strokeWidth", 1.6}}},
                    {"encoding",
                     {{"y", y},
                      {"x", low},
                      {"x2", {{"field", "high"}}},
                      {"yOffset", offset},
                      {"color", part}}}});
  layers.push_back(
      {{"mark", {{"type", "point"}, {"filled", true}, {"size", 48}, {"opacity", 1}}},
       {"encoding",
        {{"y", y}, {"x", x}, {"yOffset", offset}, {"color", part}, {"tooltip", tooltip}}}});
  return frame(std::move(values), {{"height", 26 * options.rows.size()}, {"layer", layers}});
}

json frontier(json values, const std::string& x_title, const std::string& y_title,
              const std::vector<std::string>& series, std::optional<double> reference) {
  json x = spread(values, x_title), y = quantitative("y", y_title), from = y;
  y["scale"] = {{"zero", false}};
  y["axis"] = {{"tickCount", 6}};
  from["field"] = "low";
  json mean = y;  // reseeds share an x: the line runs through their mean
  mean["aggregate"] = "mean";
  const json tooltip = {{{"field", "name"}, {"title", "dictionary"}},
                        quantitative("x", x_title),
                        quantitative("y", y_title),
                        quantitative("low", "95 % from"),
                        quantitative("high", "to")};
  const json colours = colour("series", series);
  json layers = json::array();
  if (reference) {
    layers.push_back({{"data", {{"values", {{{"at", *reference}}}}}},
                      {"mark", {{"type", "rule"}, {"strokeDash", {4, 4}}, {"color", "#888"}}},
                      {"encoding", {{"y", {{"field", "at"}, {"type", "quantitative"}}}}}});
  }
  layers.push_back({{"mark", {{"type", "line"}, {"strokeWidth", 1.2}, {"opacity", 0.6}}},
                    {"encoding", {{"x", x}, {"y", mean}, {"color", colours}}}});
  layers.push_back(
      {{"mark", {{"type", "rule"}, {"strokeWidth", 1.4}}},
       {"encoding", {{"x", x}, {"y", from}, {"y2", {{"field", "high"}}}, {"color", colours}}}});
  layers.push_back({{"mark", {{"type", "point"}, {"filled", true}, {"size", 56}, {"opacity", 1}}},
                    {"encoding", {{"x", x}, {"y", y}, {"color", colours}, {"tooltip", tooltip}}}});
  return frame(std::move(values), {{"height", 260}, {"layer", layers}});
}

json clouds(json values, const std::string& x_title, const std::string& y_title,
            const std::vector<std::string>& series, bool from_zero) {
  json x = spread(values, x_title), y = quantitative("y", y_title);
  y["scale"] = {{"zero", from_zero}};
  if (all_zero(values)) y["scale"] = {{"domain", {0, 1}}};
  y["axis"] = {{"tickCount", 6}};
  json mean_x = x, mean_y = y;
  mean_x["field"] = "mean_x";
  mean_y["field"] = "mean_y";
  const json means = {{"aggregate",
                       {{{"op", "mean"}, {"field", "x"}, {"as", "mean_x"}},
                        {{"op", "mean"}, {"field", "y"}, {"as", "mean_y"}}}},
                      {"groupby", {"series", "setting"}}};
  const json tooltip = {{{"field", "name"}, {"title", "dictionary"}},
                        quantitative("x", x_title),
                        quantitative("y", y_title)};
  json colours = colour("series", series);
  if (series.size() > 1) colours["legend"] = {{"columns", 2}};  // long names, narrow columns
  return frame(
      std::move(values),
      {{"height", 260},
       {"layer",
        {{{"transform", json::array({means})},
          {"mark", {{"type", "line"}, {"strokeWidth", 1.2}, {"opacity", 0.6}}},
          {"encoding", {{"x", mean_x}, {"y", mean_y}, {"color", colours}}}},
         {{"mark", {{"type", "point"}, {"filled", true}, {"size", 56}, {"opacity", 1}}},
          {"encoding", {{"x", x}, {"y", y}, {"color", colours}, {"tooltip", tooltip}}}}}}});
}

json heat(json values, const std::string& value_title, const std::vector<std::string>& rows,
          const std::vector<std::string>& columns) {
  add_order(values, "row", rows);
  add_order(values, "column", columns);
  const json y = {{"field", "row"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", by_order("row")},
                  {"axis", {{"labelLimit", 160}, {"ticks", false}, {"domain", false}}}};
  const json x = {{"field", "column"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", by_order("column")},
                  {"axis",
                   {{"labelAngle", -90},
                    {"labelLimit", 190},
                    {"orient", "top"},
                    {"ticks", false},
                    {"domain", false}}}};
  json fill = quantitative("value", value_title);
  fill["scale"] = {{"scheme", "redblue"}, {"domain", {0, 1}}, {"clamp", true}};
  fill["legend"] = nullptr;
  json text = quantitative("value", value_title);
  text["format"] = ".2f";
  const json ink = {
      {"condition", {{"test", "datum.value < 0.2 || datum.value > 0.8"}, {"value", "white"}}},
      {"value", "#222"}};
  const json tooltip = {
      {{"field", "row"}}, {{"field", "column"}}, quantitative("value", value_title)};
  return frame(
      std::move(values),
      {{"height", 22 * rows.size()},
       {"encoding", {{"x", x}, {"y", y}, {"tooltip", tooltip}}},
       {"layer",
        {{{"mark", {{"type", "rect"}, {"cornerRadius", 2}}}, {"encoding", {{"color", fill}}}},
         {{"mark", {{"type", "text"}, {"fontSize", 11}}},
          {"encoding", {{"text", text}, {"color", ink}}}}}}});
}

}  // namespace assay::eval::vega
