// Vega-Lite specifications of the report's charts. Data stand inside the specification; nothing is
// fetched. Text from results enters as data, titles or sort keys only, never as an expression.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace assay::eval::vega {

/// Lines over tokens. `values`: [{"x", "y", "series"}], one line a series, in the order of
/// `series`.
nlohmann::json curve(nlohmann::json values, const std::string& y_title,
                     const std::vector<std::string>& series);

/// Counts over ready-made bins. `values`: [{"low", "high", "count", "series"}].
nlohmann::json histogram(nlohmann::json values, const std::string& x_title,
                         const std::string& y_title, const std::vector<std::string>& series);

/// A value a row and part, with its interval. `values`: [{"row", "part", "value", "low", "high",
/// "n"}]; low and high are null where there is no interval. Rows in the order of `rows`.
struct DotOptions {
  std::string x_title;
  std::vector<std::string> rows, parts;
  double low = 0, high = 1;  ///< domain of x
  /// pixels for the rows' names: equal room aligns charts above each other
  int label_room = 150;
  std::vector<double> references;  ///< dashed vertical lines
};
nlohmann::json dots(nlohmann::json values, const DotOptions& options);

/// Points with vertical intervals, joined by a line within a series. `values`: [{"x", "y", "low",
/// "high", "series", "name"}]; low and high are null where there is no interval. The x axis is
/// logarithmic where x spans more than a factor of four; `reference` is a dashed horizontal line.
nlohmann::json frontier(nlohmann::json values, const std::string& x_title,
                        const std::string& y_title, const std::vector<std::string>& series,
                        std::optional<double> reference);

/// Points of dictionaries, a line through the means of the settings within a series. `values`:
/// [{"x", "y", "series", "setting", "name"}]. The x axis is logarithmic where x spans more than a
/// factor of four; the y axis begins at 0 where `from_zero`.
nlohmann::json clouds(nlohmann::json values, const std::string& x_title, const std::string& y_title,
                      const std::vector<std::string>& series, bool from_zero);

/// One coloured cell a row and column, its value printed inside. `values`: [{"row", "column",
/// "value"}].
nlohmann::json heat(nlohmann::json values, const std::string& value_title,
                    const std::vector<std::string>& rows, const std::vector<std::string>& columns);

}  // namespace assay::eval::vega
