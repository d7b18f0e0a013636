#include "data/safetensors.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "data/base/within_memory.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kLongestHeader = 100u << 20;  // the format's own limit
constexpr int64_t kMostTensors = 100'000;

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why) {
  throw Error(
      fmt::format("{}: not a valid safetensors file: {}; write it anew", file.string(), why));
}

struct Span {
  uint64_t begin, end;
};

/// Tensors lie one behind another from the first data byte to the last; empty ones anywhere
/// between.
void check_spans(std::vector<Span>& spans, uint64_t size, const std::filesystem::path& file) {
  std::sort(spans.begin(), spans.end(), [](const Span& a, const Span& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t end = 0;
  for (const Span& span : spans) {
    if (span.begin != end) refuse(file, "tensors overlap or leave gaps");
    end = span.end;
  }
  if (end != size) refuse(file, fmt::format("{} bytes after the last tensor", size - end));
}

/// Checks one header entry and gives its tensor and byte range.
Span parse_entry(const std::filesystem::path& file, const std::string& name, const Json& entry,
                 uint64_t size, Tensor& tensor) {
  try {
    tensor.dtype = entry.at("dtype").get<std::string>();
    tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
    const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
      refuse(file, fmt::format("tensor '{}' lies outside the file's {} data bytes", name, size));
    }
    const int64_t width = element_bytes(tensor.dtype), elements = shape_product(tensor.shape);
    int64_t bytes = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, width, &bytes) ||
        (width > 0 && static_cast<uint64_t>(bytes) != offsets[1] - offsets[0])) {
      refuse(file,
             fmt::format("tensor '{}' has shape [{}] of {} but {} bytes", name,
                         fmt::join(tensor.shape, ", "), tensor.dtype, offsets[1] - offsets[0]));
    }
    tensor.offset = offsets[0];
    return {offsets[0], offsets[1]};
  } catch (const Json::exception&) {
    refuse(file, fmt::format(
                     "the header's entry '{}' lacks dtype, shape or data_offsets of the right type",
                     name));
  }
}

/// Depth and number of entries, before anything is built of them. (The parser's own callback takes
/// time in the square of the entries.)
void check_header(const std::string& text, const std::filesystem::path& file) {
  constexpr int64_t kDeepest = 4;
  int64_t depth = 0, tensors = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      quoted = c != '"';
    } else if (c == '"') {
      quoted = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepest) refuse(file, "the header is nested too deep");
    } else if (c == '}' || c == ']') {
      --depth;
    } else if (c == ':' && depth == 1 && ++tensors > kMostTensors) {
      refuse(file, fmt::format("more than {} tensors", kMostTensors));
    }
  }
}

/// The header, and where the data bytes begin.
std::pair<Json, uint64_t> read_header(const std::filesystem::path& file, const ByteSource& in) {
  uint64_t length = 0;
  if (in.size() < 8) refuse(file, "shorter than 8 bytes");
  in.read(0, &length, 8);
  if (length > kLongestHeader || length > in.size() - 8)
    refuse(file, fmt::format("header of {} bytes", length));
  std::string text(length, '\0');
  in.read(8, text.data(), text.size());
  check_header(text, file);
  Json header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) refuse(file, "the header is not a JSON object");
  return {std::move(header), 8 + length};
}

TensorFile read_all_but_values(const std::filesystem::path& file) {
  TensorFile content;
  content.path = file;
  const std::shared_ptr<const ByteSource> source = open_bytes(file);
  const auto [header, data_start] = read_header(file, *source);
  const uint64_t size = source->size() - data_start;
  std::vector<Span> spans;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) refuse(file, "__metadata__ is no JSON object");
      for (const auto& [key, value] : entry.items())
        content.metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    Tensor& tensor = content.tensors[name];
    spans.push_back(parse_entry(file, name, entry, size, tensor));
    tensor.offset += data_start;
    tensor.source = source;
  }
  check_spans(spans, size, file);
  return content;
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& file) {
  return within_memory(file.string(), [&] { return read_all_but_values(file); });
}

}  // namespace assay::data
