#include "data/safetensors.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "data/base/within_memory.h"
#include "kernels/base/dtype.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

using Json = nlohmann::json;

constexpr uint64_t kLongestHeader = 100u << 20;  // the format's own limit
constexpr int64_t kMostTensors = 100'000;

/// Bytes of an element; 0 for types (as float8) whose tensors are carried along but not looked
/// into.
int64_t width_of(const std::string& dtype) {
  static const std::map<std::string, int64_t> widths{
      {"F64", 8}, {"F32", 4}, {"F16", 2},  {"BF16", 2}, {"I64", 8}, {"I32", 4}, {"I16", 2},
      {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"U16", 2},  {"U32", 4}, {"U64", 8}};
  const auto found = widths.find(dtype);
  return found == widths.end() ? 0 : found->second;
}

/// The product of a shape, or -1 where it is negative somewhere or overflows.
int64_t product(const std::vector<int64_t>& shape) {
  int64_t total = 1;
  for (const int64_t extent : shape) {
    if (extent < 0 || __builtin_mul_overflow(total, extent, &total)) return -1;
  }
  return total;
}

[[noreturn]] void refuse(const std::filesystem::path& file, const std::string& why) {
  throw Error(
      fmt::format("{}: not a valid safetensors file: {}; write it anew", file.string(), why));
}

struct Span {
  uint64_t begin, end;
  Tensor* tensor;
};

/// Tensors lie one behind another from the first data byte to the last; empty ones anywhere
/// between. Checked before memory is taken for them, which is then that of the file.
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

/// Checks one header entry and gives its tensor (without bytes) and byte range.
Span parse_entry(const std::filesystem::path& file, const std::string& name, const Json& entry,
                 uint64_t size, Tensor& tensor) {
  try {
    tensor.dtype = entry.at("dtype").get<std::string>();
    tensor.shape = entry.at("shape").get<std::vector<int64_t>>();
    const auto offsets = entry.at("data_offsets").get<std::vector<uint64_t>>();
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > size) {
      refuse(file, fmt::format("tensor '{}' lies outside the file's {} data bytes", name, size));
    }
    const int64_t width = width_of(tensor.dtype), elements = product(tensor.shape);
    int64_t bytes = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, width, &bytes) ||
        (width > 0 && static_cast<uint64_t>(bytes) != offsets[1] - offsets[0])) {
      refuse(file,
             fmt::format("tensor '{}' has shape [{}] of {} but {} bytes", name,
                         fmt::join(tensor.shape, ", "), tensor.dtype, offsets[1] - offsets[0]));
    }
    return {offsets[0], offsets[1], &tensor};
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

Json read_header(const std::filesystem::path& file, std::ifstream& in, uint64_t size) {
  uint64_t length = 0;
  if (!in.read(reinterpret_cast<char*>(&length), 8)) refuse(file, "shorter than 8 bytes");
  if (length > kLongestHeader || length > size - 8)
    refuse(file, fmt::format("header of {} bytes", length));
  std::string text(length, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(length))) refuse(file, "truncated header");
  check_header(text, file);
  Json header = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) refuse(file, "the header is not a JSON object");
  return header;
}

}  // namespace

int64_t Tensor::elements() const { return product(shape); }

const Tensor& TensorFile::at(const std::string& name, const std::vector<int64_t>& shape) const {
  const auto found = tensors.find(name);
  if (found == tensors.end()) throw Error(fmt::format("{}: no tensor '{}'", path.string(), name));
  const Tensor& tensor = found->second;
  bool fits = tensor.shape.size() == shape.size();
  for (size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] == -1 || shape[i] == tensor.shape[i];
  if (!fits) {
    throw Error(fmt::format("{}: tensor '{}' has shape [{}], expected [{}] (-1 = any)",
                            path.string(), name, fmt::join(tensor.shape, ", "),
                            fmt::join(shape, ", ")));
  }
  return tensor;
}

std::vector<float> TensorFile::floats(const std::string& name,
                                      const std::vector<int64_t>& shape) const {
  const Tensor& tensor = at(name, shape);
  std::vector<float> values(static_cast<size_t>(tensor.elements()));
  const auto read_as = [&](DType type) {
    to_float(type, tensor.bytes.data(), values.data(), tensor.elements());
    return std::move(values);
  };
  if (tensor.dtype == "F32") return read_as(DType::f32);
  if (tensor.dtype == "F16") return read_as(DType::f16);
  if (tensor.dtype == "BF16") return read_as(DType::bf16);
  throw Error(fmt::format("{}: tensor '{}' is {}, expected F32, F16 or BF16; convert it",
                          path.string(), name, tensor.dtype));
}

std::vector<int64_t> TensorFile::integers(const std::string& name,
                                          const std::vector<int64_t>& shape) const {
  const Tensor& tensor = at(name, shape);
  if (tensor.dtype != "I64") {
    throw Error(fmt::format("{}: tensor '{}' is {}, expected I64; convert it", path.string(), name,
                            tensor.dtype));
  }
  std::vector<int64_t> values(static_cast<size_t>(tensor.elements()));
  if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), 8 * values.size());
  return values;
}

namespace {

TensorFile read_whole(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary | std::ios::ate);
  if (!in) throw Error(fmt::format("{}: cannot open the file", file.string()));
  const auto total = static_cast<uint64_t>(in.tellg());
  in.seekg(0);
  if (total < 8) refuse(file, "shorter than 8 bytes");
  const Json header = read_header(file, in, total);
  const auto data_start = static_cast<uint64_t>(in.tellg());
  const uint64_t size = total - data_start;

  TensorFile content;
  content.path = file;
  std::vector<Span> spans;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) refuse(file, "__metadata__ is no JSON object");
      for (const auto& [key, value] : entry.items())
        content.metadata[key] = value.is_string() ? value.get<std::string>() : value.dump();
      continue;
    }
    spans.push_back(parse_entry(file, name, entry, size, content.tensors[name]));
  }
  check_spans(spans, size, file);
  in.seekg(static_cast<std::streamoff>(data_start));
  for (const Span& span : spans) {
    std::vector<std::byte>& bytes = span.tensor->bytes;
    bytes.resize(span.end - span.begin);
    if (!in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size())))
      refuse(file, "truncated");
  }
  return content;
}

}  // namespace

TensorFile read_safetensors(const std::filesystem::path& file) {
  return within_memory(file.string(), [&] { return read_whole(file); });
}

}  // namespace assay::data
