#include "eval/report/vega.h"

#include <algorithm>
#include <cmath>
#include <string_view>
#include <utility>

namespace assay::eval::vega {
namespace {

using nlohmann::json;

// Told apart by people with colour-blindness, on light and dark pages alike.
const json kPalette = {"#3b82c4", "#d9822b", "#3a9d6e", "#c05a9b",
                       "#8a6fd1", "#a3862a", "#4fa8b8", "#c2504a"};
constexpr const char* kGrey = "#8a9099";

constexpr size_t kRowLetters = 30;    // of a row's name in one line
constexpr size_t kTitleLetters = 34;  // of a y axis' title: charts are no higher
constexpr double kLetter = 6.9;       // pixels, the widest usual letter of 12 pixels
constexpr int kPlotRoom = 260;        // pixels that a plot needs, and its legend above it
constexpr int kKeyRoom = 26;          // pixels of a legend's mark and gap
constexpr auto kLegendLetters = static_cast<size_t>((kPlotRoom - kKeyRoom) / kLetter);

size_t letters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  }));
}

/// Broken at spaces into lines of at most `most` letters; a longer word has a line of its own.
std::vector<std::string> broken(const std::string& text, size_t most) {
  std::vector<std::string> out(1);
  size_t from = 0;
  while (from <= text.size()) {
    const size_t end = std::min(text.find(' ', from), text.size());
    const std::string word = text.substr(from, end - from);
    if (!out.back().empty() && letters(out.back()) + 1 + letters(word) > most) out.emplace_back();
    out.back() += (out.back().empty() ? "" : " ") + word;
    from = end + 1;
  }
  return out;
}

/// Lines in one text, which kSplit takes apart again.
std::string joined(const std::string& text, size_t most) {
  std::string out;
  for (const std::string& line : broken(text, most)) out += (out.empty() ? "" : "\n") + line;
  return out;
}
constexpr const char* kSplit = "split(datum.label, '\\n')";
/// Vega puts the first line at a row's middle: two lines are moved up by half of one.
json centred_lines() {
  return {{"condition", {{"test", "indexof(datum.label, '\\n') >= 0"}, {"value", -7}}},
          {"value", 0}};
}

std::vector<std::string> all_joined(const std::vector<std::string>& texts, size_t most) {
  std::vector<std::string> out;
  for (const std::string& text : texts) out.push_back(joined(text, most));
  return out;
}

void join_field(json& values, const char* field, size_t most) {
  for (json& value : values)
    value[field] = joined(value.at(field).get_ref<const std::string&>(), most);
}

size_t longest_line(const std::vector<std::string>& names, size_t most) {
  size_t longest = 0;
  for (const std::string& name : names)
    for (const std::string& line : broken(name, most)) longest = std::max(longest, letters(line));
  return longest;
}

int pixels(size_t count) { return static_cast<int>(std::ceil(kLetter * double(count))) + 12; }

/// Colours come from the page (currentColor), so one specification serves light and dark.
json frame(json values, const json& body) {
  json spec = {{"data", {{"values", std::move(values)}}},
               {"width", "container"},
               {"background", nullptr},
               {"padding", {{"left", 4}, {"right", 10}, {"top", 4}, {"bottom", 4}}},
               {"autosize", {{"type", "fit-x"}, {"contains", "padding"}}},
               {"config",
                {{"font", "system-ui, sans-serif"},
                 {"view", {{"stroke", nullptr}}},
                 {"axis",
                  {{"labelColor", "currentColor"},
                   {"titleColor", "currentColor"},
                   {"titleFontWeight", 500},
                   {"labelFontSize", 12},
                   {"labelLimit", 0},
                   {"titleFontSize", 12},
                   {"titleLimit", 0},
                   {"gridColor", "#8884"},
                   {"domainColor", "#888"},
                   {"tickColor", "#888"}}},
                 {"legend",
                  {{"labelColor", "currentColor"},
                   {"titleColor", "currentColor"},
                   {"labelFontSize", 12},
                   {"labelLimit", 0},
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

/// Vega puts titles into expressions that describe marks to screen readers, and escapes no more
/// than quotes: what could end such a text there becomes a space.
std::string safe_title(const std::string& title) {
  std::string out;
  for (size_t i = 0; i < title.size(); ++i) {
    const std::string_view rest = std::string_view(title).substr(i, 3);
    const bool line_end = rest == "\u2028" || rest == "\u2029";
    const auto c = static_cast<unsigned char>(title[i]);
    out += line_end || c < 0x20 || c == '"' || c == '\\' ? ' ' : title[i];
    if (line_end) i += 2;
  }
  return out;
}

json quantitative(const char* field, const std::string& title) {
  return {{"field", field},
          {"type", "quantitative"},
          {"title", broken(safe_title(title), kTitleLetters)}};
}

/// A colour each, the last `controls` grey. As many legend columns as surely fit.
json colour(const char* field, const std::vector<std::string>& order, size_t controls = 0) {
  const std::vector<std::string> names = all_joined(order, kLegendLetters);
  json range = json::array();
  for (size_t i = 0; i < order.size(); ++i)
    range.push_back(i + controls < order.size() ? kPalette[i % kPalette.size()] : json(kGrey));
  json out = {
      {"field", field}, {"type", "nominal"}, {"scale", {{"domain", names}, {"range", range}}}};
  const int entry = pixels(longest_line(order, kLegendLetters)) + kKeyRoom - 12;
  out["legend"] = {{"columns", std::max(1, kPlotRoom / entry)}, {"labelExpr", kSplit}};
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
  const bool logarithmic = low > 0 && high > 4 * low;
  x["scale"] = {{"type", logarithmic ? "log" : "linear"}, {"padding", 24}, {"nice", false}};
  if (!logarithmic) x["scale"]["zero"] = false;
  x["axis"] = {{"grid", false}, {"tickCount", 6}, {"format", "~g"}};
  return x;
}

const json kPoint = {{"type", "point"}, {"filled", true}, {"size", 52}, {"opacity", 1}};
const json kDashed = {{"type", "rule"}, {"strokeDash", {4, 4}}, {"color", "#888"}};

}  // namespace

Chart curve(json values, const std::string& y_title, const std::vector<std::string>& series) {
  json x = quantitative("x", "training tokens");
  x["axis"] = {{"format", "~s"}, {"grid", false}, {"tickCount", 6}};
  json y = quantitative("y", y_title);
  y["axis"] = {{"tickCount", 5}};
  if (all_zero(values)) y["scale"] = {{"domain", {0, 1}}};
  join_field(values, "series", kLegendLetters);
  const json tooltip = {{{"field", "series"}, {"title", "run"}},
                        quantitative("x", "tokens"),
                        quantitative("y", y_title)};
  return {
      frame(
          std::move(values),
          {{"height", 190},
           {"mark",
            {{"type", "line"}, {"strokeWidth", 1.6}, {"interpolate", "linear"}, {"tooltip", true}}},
           {"encoding",
            {{"x", x}, {"y", y}, {"color", colour("series", series)}, {"tooltip", tooltip}}}}),
      kPlotRoom};
}

Chart histogram(json values, const std::string& x_title, const std::string& y_title,
                const std::vector<std::string>& series) {
  json x = quantitative("low", x_title);
  x["bin"] = "binned";
  x["axis"] = {{"grid", false}, {"tickMinStep", 0.5}, {"format", "~g"}};
  json y = quantitative("count", y_title);
  y["stack"] = nullptr;
  join_field(values, "series", kLegendLetters);
  const json colours = colour("series", series);
  const json tooltip = {{{"field", "series"}, {"title", "dictionary"}},
                        quantitative("low", "from"),
                        quantitative("high", "to"),
                        quantitative("count", y_title)};
  const json bar = {
      {"type", "bar"}, {"fillOpacity", 0.55}, {"strokeWidth", 0.8}, {"binSpacing", 0}};
  return {frame(std::move(values), {{"height", 260},
                                    {"mark", bar},
                                    {"encoding",
                                     {{"x", x},
                                      {"x2", {{"field", "high"}}},
                                      {"y", y},
                                      {"color", colours},
                                      {"stroke", colours},
                                      {"tooltip", tooltip}}}}),
          kPlotRoom};
}

Chart dots(json values, const DotOptions& options) {
  add_order(values, "row", options.rows);
  add_order(values, "part", options.parts);
  for (json& value : values) value["name"] = value["row"];
  join_field(values, "row", kRowLetters);
  join_field(values, "part", kLegendLetters);
  const int room = pixels(std::max(longest_line(options.rows, kRowLetters),
                                   longest_line(options.other_rows, kRowLetters)));
  const json domain = {
      {"domain", {options.low, options.high}}, {"nice", false}, {"zero", false}, {"clamp", true}};
  const json y = {{"field", "row"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", by_order("row")},
                  {"axis",
                   {{"minExtent", room},
                    {"labelExpr", kSplit},
                    {"labelOffset", centred_lines()},
                    {"ticks", false},
                    {"domain", false}}}};
  json x = quantitative("value", options.x_title);
  x["scale"] = domain;
  x["axis"] = {{"tickCount", 5}, {"labelFlush", false}};
  json low = x;
  low["field"] = "low";
  const json offset = {{"field", "part"}, {"type", "nominal"}, {"sort", by_order("part")}};
  const json tooltip = {{{"field", "name"}, {"title", "arm"}},
                        {{"field", "part"}},
                        quantitative("value", "value"),
                        quantitative("low", "95 % from"),
                        quantitative("high", "to"),
                        quantitative("n", "n")};
  const json part = colour("part", options.parts);
  json layers = json::array();
  for (const double reference : options.references) {
    layers.push_back(
        {{"data", {{"values", {{{"at", reference}}}}}},
         {"mark", kDashed},
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
      {{"mark", kPoint},
       {"encoding",
        {{"y", y}, {"x", x}, {"yOffset", offset}, {"color", part}, {"tooltip", tooltip}}}});
  size_t height = 0;
  for (const std::string& row : options.rows)
    height = std::max(height, broken(row, kRowLetters).size());
  height = options.rows.size() * std::max<size_t>(26, 8 + 13 * height);
  return {frame(std::move(values), {{"height", height}, {"layer", layers}}), room + kPlotRoom};
}

Chart lines(json values, const LineOptions& options) {
  json x = spread(values, options.x_title), y = quantitative("y", options.y_title), from = y;
  y["scale"] = {{"zero", false}};
  y["axis"] = {{"tickCount", 6}};
  from["field"] = "low";
  json mean = y;  // reseeds share an x: the line runs through their mean
  mean["aggregate"] = "mean";
  const json tooltip = {{{"field", "name"}, {"title", "arm"}},
                        quantitative("x", options.x_title),
                        quantitative("y", options.y_title),
                        quantitative("low", "95 % from"),
                        quantitative("high", "to")};
  join_field(values, "series", kLegendLetters);
  const json colours = colour("series", options.series, options.controls);
  json layers = json::array();
  for (const double reference : options.references) {
    layers.push_back({{"data", {{"values", {{{"at", reference}}}}}},
                      {"mark", kDashed},
                      {"encoding", {{"y", {{"field", "at"}, {"type", "quantitative"}}}}}});
  }
  for (const double reference : options.x_references) {
    if (reference <= 0 && x["scale"]["type"] == "log") continue;  // it has no place there
    layers.push_back({{"data", {{"values", {{{"at", reference}}}}}},
                      {"mark", kDashed},
                      {"encoding", {{"x", {{"field", "at"}, {"type", "quantitative"}}}}}});
  }
  layers.push_back({{"mark", {{"type", "line"}, {"strokeWidth", 1.2}, {"opacity", 0.6}}},
                    {"encoding", {{"x", x}, {"y", mean}, {"color", colours}}}});
  layers.push_back(
      {{"mark", {{"type", "rule"}, {"strokeWidth", 1.4}}},
       {"encoding", {{"x", x}, {"y", from}, {"y2", {{"field", "high"}}}, {"color", colours}}}});
  layers.push_back({{"mark", kPoint},
                    {"encoding", {{"x", x}, {"y", y}, {"color", colours}, {"tooltip", tooltip}}}});
  return {frame(std::move(values), {{"height", 260}, {"layer", layers}}), kPlotRoom};
}

Chart clouds(json values, const std::string& x_title, const std::string& y_title,
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
  join_field(values, "series", kLegendLetters);
  const json colours = colour("series", series);
  return {
      frame(std::move(values),
            {{"height", 260},
             {"layer",
              {{{"transform", json::array({means})},
                {"mark", {{"type", "line"}, {"strokeWidth", 1.2}, {"opacity", 0.6}}},
                {"encoding", {{"x", mean_x}, {"y", mean_y}, {"color", colours}}}},
               {{"mark", kPoint},
                {"encoding", {{"x", x}, {"y", y}, {"color", colours}, {"tooltip", tooltip}}}}}}}),
      kPlotRoom};
}

Chart heat(json values, const HeatOptions& options) {
  add_order(values, "row", options.rows);
  add_order(values, "column", options.columns);
  const double below = options.middle - options.low, above = options.high - options.middle;
  for (json& value : values) {
    const double v = value.at("value").get<double>();
    value["deep"] = v < options.low + 0.4 * below || v > options.high - 0.4 * above;
  }
  const json y = {{"field", "row"},
                  {"type", "nominal"},
                  {"title", nullptr},
                  {"sort", by_order("row")},
                  {"axis", {{"ticks", false}, {"domain", false}}}};
  const json x = {
      {"field", "column"},
      {"type", "nominal"},
      {"title", nullptr},
      {"sort", by_order("column")},
      {"axis", {{"labelAngle", -90}, {"orient", "top"}, {"ticks", false}, {"domain", false}}}};
  json fill = quantitative("value", options.value_title);
  fill["scale"] = {{"scheme", "redblue"},
                   {"domain", {options.low, options.high}},
                   {"domainMid", options.middle},
                   {"clamp", true}};
  fill["legend"] = nullptr;
  json text = quantitative("value", options.value_title);
  text["format"] = ".2f";
  const json ink = {{"condition", {{"test", "datum.deep"}, {"value", "white"}}}, {"value", "#222"}};
  const json tooltip = {
      {{"field", "row"}}, {{"field", "column"}}, quantitative("value", options.value_title)};
  const int room = pixels(longest_line(options.rows, 1000));
  return {
      frame(std::move(values),
            {{"height", 22 * options.rows.size()},
             {"encoding", {{"x", x}, {"y", y}, {"tooltip", tooltip}}},
             {"layer",
              {{{"mark", {{"type", "rect"}, {"cornerRadius", 2}}}, {"encoding", {{"color", fill}}}},
               {{"mark", {{"type", "text"}, {"fontSize", 11}}},
                {"encoding", {{"text", text}, {"color", ink}}}}}}}),
      room + 32 * static_cast<int>(options.columns.size())};
}

}  // namespace assay::eval::vega
