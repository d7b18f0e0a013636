#include "data/base/yaml_fault.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace assay::data {
namespace {

/// Follows quotes through a text: a quote opens where a value can begin, "" escapes by \ and '' by
/// doubling. Comments begin with # behind a blank.
class Quotes {
 public:
  void take(char c) {
    if (c == '\n') ++line_, comment_ = false;
    if (comment_) return;
    if (quote_ != 0) return within(c);
    if (c == '#' && std::strchr(" \t\n", before_)) {
      comment_ = true;
    } else if ((c == '"' || c == '\'') && can_open()) {
      quote_ = c;
      opened_ = line_;
    }
    before_ = c;
    if (c != ' ' && c != '\t') last_ = c;
  }
  /// The line of a quote that is open now; 0 where none is.
  int open() const { return quote_ != 0 ? opened_ : 0; }

 private:
  bool can_open() const {
    return std::strchr("\n:-?,[{", last_) != nullptr && (last_ == '\n' || before_ != ':');
  }
  void within(char c) {
    if (escaped_) {
      escaped_ = false;
    } else if (c == '\\' && quote_ == '"') {
      escaped_ = true;
    } else if (c == quote_) {
      quote_ = 0;
      before_ = last_ = '"';  // 'it''s' opens again right away, and `"a" "b"` does not
      if (c == '\'') last_ = ',';
    }
  }

  int line_ = 1, opened_ = 0;
  char quote_ = 0, before_ = '\n', last_ = '\n';
  bool comment_ = false, escaped_ = false;
};

int line_of_open_quote(const std::string& text) {
  Quotes quotes;
  for (const char c : text) quotes.take(c);
  return quotes.open();
}

/// Whether line `number`, from 0, is indented with a tab.
bool tab_indents(const std::string& text, int number) {
  size_t start = 0;
  for (int line = 0; line < number && start != std::string::npos; ++line) {
    start = text.find('\n', start);
    if (start != std::string::npos) ++start;
  }
  if (start == std::string::npos) return false;
  const size_t end = std::min(text.find_first_not_of(" \t", start), text.size());
  return text.substr(start, end - start).find('\t') != std::string::npos;
}

}  // namespace

std::string yaml_fault(const std::string& file, const std::string& text,
                       const YAML::Exception& error) {
  const int line = error.mark.line + 1;
  if (tab_indents(text, error.mark.line))
    return fmt::format("{}:{}: not valid YAML: a tab indents this line; use spaces", file, line);
  if (const int quote = line_of_open_quote(text); quote > 0)
    return fmt::format("{}:{}: not valid YAML: a quote opens here and is never closed; close it",
                       file, quote);
  return fmt::format("{}:{}: not valid YAML: {} (is a bracket or quote left open?); correct it",
                     file, line, error.msg);
}

}  // namespace assay::data
