#include "eval/report/page.h"

#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "data/base/sha256.h"
#include "eval/report/assets.h"
#include "fmt/format.h"
#include "kernels/base/error.h"

namespace assay::eval::report {
namespace {

constexpr const char* kCharts = "<script id=\"assay-charts\"";  // every page has it

std::string attribute(const char* name, const std::string& value) {
  return value.empty() ? "" : fmt::format(" {}=\"{}\"", name, escape_html(value));
}

std::string cell_html(const char* tag, const TableCell& cell) {
  const std::string note =
      cell.note.empty() ? ""
                        : fmt::format("<span class=\"note\">{}</span>", escape_html(cell.note));
  return fmt::format("<{}{}>{}{}</{}>", tag, attribute("class", cell.css), escape_html(cell.text),
                     note, tag);
}

int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' ? ' ' : c;
    }
  }
  return out;
}

std::string script_json(const nlohmann::json& value) {
  const std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    // These three occur inside JSON strings only, where \u escapes mean the same.
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string csp_hash(std::string_view script) {
  static const char* const digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string hex = data::sha256(script);
  std::string out;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : hex) {
    bits = bits << 4 | static_cast<uint32_t>(hex_digit(c));
    held += 4;
    if (held >= 6) {
      held -= 6;
      out += digits[bits >> held & 63];
    }
  }
  // 256 bits = 42 digits and 4 bits; the policy wants the padding.
  out += digits[bits << (6 - held) & 63];
  return "'sha256-" + out + "='";
}

std::string chart_runtime() {
  std::error_code error;
  const std::filesystem::path file =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "vega-bundle.js";
  std::ifstream stream(file, std::ios::binary);
  if (error || !stream) {
    throw Error(
        fmt::format("{}: the charts' runtime is missing; make it with: .venv/bin/python "
                    "experiments/vega_bundle.py {}",
                    file.string(), file.string()));
  }
  std::ostringstream text;
  text << stream.rdbuf();
  std::string runtime = text.str();
  const bool fits = runtime.find("vegaEmbed") != std::string::npos &&
                    runtime.find("</script") == std::string::npos &&
                    runtime.find("<!--") == std::string::npos &&
                    runtime.find('\r') == std::string::npos;
  if (!fits) {
    throw Error(fmt::format(
        "{}: not the charts' runtime; make it with: .venv/bin/python experiments/vega_bundle.py {}",
        file.string(), file.string()));
  }
  return runtime;
}

void Page::heading(int level, const std::string& text, const std::string& id) {
  body_ += fmt::format("<h{0}{1}>{2}</h{0}>\n", level, attribute("id", id), escape_html(text));
}

void Page::paragraph(const std::string& text, const std::string& css) {
  body_ += fmt::format("<p{}>{}</p>\n", attribute("class", css), escape_html(text));
}

void Page::preformatted(const std::string& text) {
  body_ += "<pre>" + escape_html(text) + "</pre>\n";
}

void Page::table(const Table& table, const std::string& caption) {
  body_ += "<div class=\"scroll\"><table>";
  if (!caption.empty()) body_ += fmt::format("<caption>{}</caption>", escape_html(caption));
  body_ += "<thead><tr>";
  for (const TableCell& cell : table.head) body_ += cell_html("th", cell);
  body_ += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    body_ += "<tr>";
    for (const TableCell& cell : row) body_ += cell_html("td", cell);
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

void Page::figure(nlohmann::json spec, const std::string& title, const std::string& alt,
                  int least_width) {
  body_ += fmt::format("<figure role=\"img\" aria-label=\"{}\">", escape_html(alt));
  if (!title.empty()) body_ += fmt::format("<p class=\"title\">{}</p>", escape_html(title));
  body_ +=
      fmt::format("<div class=\"chart\" style=\"min-width:{}px\" id=\"chart-{}\"></div></figure>\n",
                  least_width, charts_.size());
  charts_.push_back(std::move(spec));
}

void Page::begin_grid() { body_ += "<div class=\"grid\">\n"; }
void Page::end_grid() { body_ += "</div>\n"; }
void Page::begin_cell() { body_ += "<div class=\"cell\">\n"; }
void Page::end_cell() { body_ += "</div>\n"; }

void Page::caption(const std::string& text) {
  body_ +=
      fmt::format("<p class=\"caption\"><b>Figure {}.</b> {}</p>\n", ++figures_, escape_html(text));
}

void Page::begin_fold(const std::string& summary, bool open) {
  body_ +=
      fmt::format("<details{}><summary>{}</summary>\n", open ? " open" : "", escape_html(summary));
}
void Page::end_fold() { body_ += "</details>\n"; }

std::string Page::render(const std::string& title, const std::string& runtime) const {
  const std::string script = kScript;
  // default-src 'none' also forbids connections, frames, fonts and objects. Charts bring inline
  // styles.
  const std::string policy = fmt::format(
      "default-src 'none'; script-src {} {}; style-src 'unsafe-inline'; img-src data: blob:; "
      "base-uri 'none'; "
      "form-action 'none'",
      csp_hash(runtime), csp_hash(script));
  std::string out = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n";
  out += fmt::format("<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n", policy);
  out += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
  out += fmt::format("<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n",
                     escape_html(title), kStyle);
  out +=
      body_ +
      "<noscript><p class=\"notice\">The charts need JavaScript; every number also stands in the "
      "tables.</p></noscript>\n";
  out += "</main>\n" + std::string(kCharts) + " type=\"application/json\">" + script_json(charts_) +
         "</script>\n";
  out += "<script>" + runtime + "</script>\n<script>" + script + "</script>\n</body>\n</html>\n";
  return out;
}

bool is_page(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  const std::string html = text.str();
  return html.empty() || html.find(kCharts) != std::string::npos;
}

}  // namespace assay::eval::report
