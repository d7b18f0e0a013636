// Writing the resolved configuration and its reference page, and the nearest known key.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "data/base/config_fields.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/base/error.h"

namespace assay::config {
namespace {

/// Plain where no YAML reader could take it for anything but this text, else double-quoted.
std::string quoted(const std::string& text) {
  static const std::vector<std::string> words = {"null", "true", "false", "yes", "no",
                                                 "on",   "off",  "y",     "n"};
  std::string lower = text;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto plain = [](char c) { return (c >= 'a' && c <= 'z') || c == '_' || c == '/'; };
  const auto later = [&](char c) {
    return plain(c) || (c >= '0' && c <= '9') || c == '.' || c == '-';
  };
  if (!lower.empty() && plain(lower[0]) && std::all_of(lower.begin(), lower.end(), later) &&
      std::find(words.begin(), words.end(), lower) == words.end()) {
    return text;
  }
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", c);
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string number(double value) {
  if (!std::isfinite(value)) throw Error("a configuration value is not finite");
  return fmt::format("{}", value);
}

std::string list(const std::vector<std::string>& values) {
  std::vector<std::string> items;
  for (const std::string& value : values) items.push_back(quoted(value));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

std::string list(const std::vector<double>& values) {
  std::vector<std::string> items;
  for (const double value : values) items.push_back(number(value));
  return fmt::format("[{}]", fmt::join(items, ", "));
}

class Writer : public Fields {
 public:
  explicit Writer(std::string indent) : indent_(std::move(indent)) {}
  std::string out;

  void integer(const char* key, int64_t& value, IntBounds, const char*, const char*) override {
    line(key, fmt::format("{}", value));
  }
  void real(const char* key, double& value, RealBounds, const char*, const char*) override {
    line(key, number(value));
  }
  void boolean(const char* key, bool& value, const char*) override {
    line(key, value ? "true" : "false");
  }
  void text(const char* key, std::string& value, const char*) override { line(key, quoted(value)); }
  void choice(const char* key, std::string& value, const std::vector<std::string>&,
              const char*) override {
    line(key, quoted(value));
  }
  void texts(const char* key, std::vector<std::string>& value, const char*) override {
    line(key, list(value));
  }
  void integers(const char* key, std::vector<int64_t>& value, IntBounds, const char*,
                const char*) override {
    line(key, fmt::format("[{}]", fmt::join(value, ", ")));
  }
  void reals(const char* key, std::vector<double>& value, RealBounds, const char*,
             const char*) override {
    line(key, list(value));
  }
  void section(const char* key, const std::function<void(Fields&)>& describe,
               const char*) override {
    Writer inner(indent_ + "  ");
    describe(inner);
    if (inner.out.empty()) {
      line(key, "{}");
    } else {
      out += fmt::format("{}{}:\n{}", indent_, key, inner.out);
    }
  }

 private:
  void line(const char* key, const std::string& value) {
    out += fmt::format("{}{}: {}\n", indent_, key, value);
  }
  std::string indent_;
};

/// Text inside a Markdown table cell.
std::string cell(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

template <typename T>
std::string range(T low, T high, bool low_open, bool high_open) {
  if (low_open && high_open) return "";
  if (low_open) return fmt::format("≤ {}", high);
  if (high_open) return fmt::format("≥ {}", low);
  return fmt::format("{} … {}", low, high);
}

std::string range(IntBounds b) {
  const IntBounds all;
  return range(b.low, b.high, b.low == all.low, b.high == all.high);
}

std::string range(RealBounds b) {
  return range(b.low, b.high, std::isinf(b.low), std::isinf(b.high));
}

class Documenter : public Fields {
 public:
  struct Page {
    std::string path, doc, rows;
  };
  Documenter(std::vector<Page>& pages, std::string path, const char* doc)
      : pages_(pages), here_(pages.size()) {
    pages_.push_back({std::move(path), doc, ""});
  }

  void integer(const char* key, int64_t& value, IntBounds b, const char* unit,
               const char* doc) override {
    row(key, "integer", fmt::format("{}", value), range(b), unit, doc);
  }
  void real(const char* key, double& value, RealBounds b, const char* unit,
            const char* doc) override {
    row(key, "number", number(value), range(b), unit, doc);
  }
  void boolean(const char* key, bool& value, const char* doc) override {
    row(key, "boolean", value ? "true" : "false", "true, false", "", doc);
  }
  void text(const char* key, std::string& value, const char* doc) override {
    row(key, "text", quoted(value), "", "", doc);
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
              const char* doc) override {
    row(key, "choice", quoted(value), fmt::format("{}", fmt::join(choices, ", ")), "", doc);
  }
  void texts(const char* key, std::vector<std::string>& value, const char* doc) override {
    row(key, "list of texts", list(value), "", "", doc);
  }
  void integers(const char* key, std::vector<int64_t>& value, IntBounds b, const char* unit,
                const char* doc) override {
    row(key, "list of integers", fmt::format("[{}]", fmt::join(value, ", ")), range(b), unit, doc);
  }
  void reals(const char* key, std::vector<double>& value, RealBounds b, const char* unit,
             const char* doc) override {
    row(key, "list of numbers", list(value), range(b), unit, doc);
  }
  void section(const char* key, const std::function<void(Fields&)>& describe,
               const char* doc) override {
    const std::string& path = pages_[here_].path;
    Documenter inner(pages_, path.empty() ? key : path + "." + key, doc);
    describe(inner);
  }

 private:
  void row(const char* key, const char* type, const std::string& value, const std::string& bounds,
           const char* unit, const char* doc) {
    pages_[here_].rows += fmt::format("| `{}` | {} | `{}` | {} | {} | {} |\n", key, type,
                                      cell(value), cell(bounds), cell(unit), cell(doc));
  }
  std::vector<Page>& pages_;
  size_t here_;
};

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<size_t> before, last(b.size() + 1), row(b.size() + 1);
  std::iota(last.begin(), last.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = std::exchange(last, row);
  }
  return last.back();
}

}  // namespace

std::string write_yaml(const Describe& describe) {
  Writer writer("");
  describe(writer);
  return writer.out;
}

std::string document(const Describe& describe) {
  std::vector<Documenter::Page> pages;
  Documenter documenter(pages, "", "");
  describe(documenter);
  std::string out =
      "# Configuration reference\n\nGenerated by `assay config --reference`; every key may be left "
      "out.\n";
  for (const Documenter::Page& page : pages) {
    if (!page.path.empty()) out += fmt::format("\n## `{}`\n\n{}\n", page.path, page.doc);
    if (page.rows.empty()) continue;
    out += "\n| key | type | default | allowed | unit | meaning |\n|---|---|---|---|---|---|\n" +
           page.rows;
  }
  return out;
}

std::string nearest(const std::string& word, const std::vector<std::string>& candidates) {
  const size_t limit = std::max<size_t>(2, word.size() / 3);
  size_t best = limit + 1;
  std::string found;
  for (const std::string& candidate : candidates) {
    const size_t gap =
        std::max(word.size(), candidate.size()) - std::min(word.size(), candidate.size());
    if (gap > limit) continue;
    const size_t distance = edit_distance(word, candidate);
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return found;
}

}  // namespace assay::config
