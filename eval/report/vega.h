// Vega-Lite specifications of the report's charts. Data stand inside the specification; nothing is
// fetched. Text from results enters as data, titles or sort keys only, never as an expression.
// No name is cut off: long ones are broken into lines, and charts ask for the room they need.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace assay::eval::vega {

/// A chart and the pixels below which it is not readable: a narrower page scrolls it.
struct Chart {
  nlohmann::json spec;
  int least_width = 0;
};

/// Lines over tokens. `values`: [{"x", "y", "series"}], one line a series, in the order of
/// `series`.
Chart curve(nlohmann::json values, const std::string& y_title,
            const std::vector<std::string>& series);

/// Counts over ready-made bins. `values`: [{"low", "high", "count", "series"}].
Chart histogram(nlohmann::json values, const std::string& x_title, const std::string& y_title,
                const std::vector<std::string>& series);

/// A value a row and part, with its interval. `values`: [{"row", "part", "value", "low", "high",
/// "n"}]; low and high are null where there is no interval. Rows in the order of `rows`.
struct DotOptions {
  std::string x_title;
  std::vector<std::string> rows, parts;
  double low = 0, high = 1;  ///< domain of x; what lies beyond is drawn at its end
  /// rows of other charts beside this one: they get the same room for names, so that axes align
  std::vector<std::string> other_rows;
  std::vector<double> references;  ///< dashed vertical lines
};
Chart dots(nlohmann::json values, const DotOptions& options);

/// Points with vertical intervals, joined by a line within a series. `values`: [{"x", "y", "low",
/// "high", "series", "name"}]; low and high are null where there is no interval. The x axis is
/// logarithmic where x spans more than a factor of four.
struct LineOptions {
  std::string x_title, y_title;
  std::vector<std::string> series;
  size_t controls = 0;               ///< the last so many of series: grey
  std::vector<double> references;    ///< dashed horizontal lines
  std::vector<double> x_references;  ///< dashed vertical lines
};
Chart lines(nlohmann::json values, const LineOptions& options);

/// Points of dictionaries, a line through the means of the settings within a series. `values`:
/// [{"x", "y", "series", "setting", "name"}]. The x axis is logarithmic where x spans more than a
/// factor of four; the y axis begins at 0 where `from_zero`.
Chart clouds(nlohmann::json values, const std::string& x_title, const std::string& y_title,
             const std::vector<std::string>& series, bool from_zero);

/// One coloured cell a row and column, its value printed inside. `values`: [{"row", "column",
/// "value"}]. White is `middle`.
struct HeatOptions {
  std::string value_title;
  std::vector<std::string> rows, columns;
  double low = 0, middle = 0.5, high = 1;
};
Chart heat(nlohmann::json values, const HeatOptions& options);

}  // namespace assay::eval::vega
