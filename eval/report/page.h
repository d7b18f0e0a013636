// A page under construction: text is escaped here and nowhere else, charts are collected, and the
// whole becomes one file whose policy allows its own scripts (by hash) and no network.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace assay::eval::report {

/// For element content and quoted attributes.
std::string escape_html(std::string_view text);
/// JSON that can stand inside <script>: ASCII, without <, > and &. Texts that are not UTF-8 get
/// replacement characters.
std::string script_json(const nlohmann::json& value);
/// The source expression of an inline script in a content security policy: 'sha256-…'.
std::string csp_hash(std::string_view script);

/// The charts' script: vega-bundle.js beside the executable. Throws Error where it is missing or
/// something else.
std::string chart_runtime();

struct TableCell {
  std::string text;
  std::string css = "";   ///< class names, ours only
  std::string note = "";  ///< a smaller second line
};

struct Table {
  std::vector<TableCell> head;
  std::vector<std::vector<TableCell>> rows;
};

class Page {
 public:
  void heading(int level, const std::string& text, const std::string& id = "");
  void paragraph(const std::string& text, const std::string& css = "");
  /// Text whose line breaks and spaces stay.
  void preformatted(const std::string& text);
  void table(const Table& table, const std::string& caption = "");
  /// A figure with one chart; never inside a closed fold, where it would have no width. `alt` says
  /// in words what it shows. On a page narrower than `least_width` pixels it scrolls sideways.
  void figure(nlohmann::json spec, const std::string& title, const std::string& alt,
              int least_width = 0);
  /// Figures between the two calls, or cells, stand beside each other where there is room.
  void begin_grid();
  void end_grid();
  /// What stands together in one place of a grid: a figure and its caption.
  void begin_cell();
  void end_cell();
  /// The caption under a figure or grid; numbered.
  void caption(const std::string& text);
  /// A part that opens on a click.
  void begin_fold(const std::string& summary, bool open = false);
  void end_fold();

  /// The document. `runtime` is the charts' script.
  std::string render(const std::string& title, const std::string& runtime) const;

 private:
  std::string body_;
  nlohmann::json charts_ = nlohmann::json::array();
  int figures_ = 0;
};

/// Whether a file is a document that Page::render made, or is empty.
bool is_page(const std::filesystem::path& file);

}  // namespace assay::eval::report
