#include "data/index_file.h"

#include <fmt/ranges.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>

#include "data/base/atomic_file.h"
#include "data/base/within_memory.h"
#include "data/base/yaml_fault.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int kFormat = 1;
constexpr uintmax_t kMostBytes = 256u << 20;

fs::path index_path(const fs::path& folder) { return folder / "index.yaml"; }

std::string name_in(const fs::path& folder, const fs::path& file) {
  const fs::path base = fs::weakly_canonical(folder), full = fs::weakly_canonical(file);
  const fs::path relative = full.lexically_relative(base);
  return !relative.empty() && *relative.begin() != ".." ? relative.string() : full.string();
}

void emit_hook(YAML::Emitter& out, const HookInfo& hook, const Moments& moments) {
  out << YAML::BeginMap;
  out << YAML::Key << "name" << YAML::Value << YAML::DoubleQuoted << hook.name;
  out << YAML::Key << "d" << YAML::Value << hook.d;
  out << YAML::Key << "dtype" << YAML::Value << std::string(name_of(hook.dtype));
  out << YAML::Key << "rows_counted" << YAML::Value << moments.count;
  out << YAML::Key << "variance" << YAML::Value << moments.variance;
  out << YAML::Key << "scale" << YAML::Value << moments.scale();
  out << YAML::Key << "mean" << YAML::Value << YAML::Flow << moments.mean;
  out << YAML::EndMap;
}

void emit_sinks(YAML::Emitter& out, const FileLayout& file) {
  out << YAML::Key << "sinks" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "rows" << YAML::Value << *file.sinks.rows;
  out << YAML::Key << "crc32c" << YAML::Value << YAML::DoubleQuoted
      << fmt::format("{:08x}", file.sinks.crc32c);
  const auto of_each = [&](const char* key, double HookSinks::*member) {
    out << YAML::Key << key << YAML::Value << YAML::Flow << YAML::BeginSeq;
    for (const ArrayLayout& array : file.arrays) out << array.sinks.*member;
    out << YAML::EndSeq;
  };
  of_each("bound", &HookSinks::bound);
  of_each("square", &HookSinks::square);
  of_each("total", &HookSinks::total);
  out << YAML::EndMap;
}

/// The whole data set's, for whoever reads the file.
void emit_sinks(YAML::Emitter& out, const SinkInfo& sinks) {
  out << YAML::Key << "sinks" << YAML::Value << YAML::BeginMap;
  out << YAML::Key << "rows" << YAML::Value << *sinks.rows;
  out << YAML::Key << "share" << YAML::Value << YAML::Flow << YAML::BeginSeq;
  for (const double share : sinks.share) out << share;
  out << YAML::EndSeq << YAML::EndMap;
}

/// YAML has no form for bytes that are not UTF-8, nor for some characters.
bool survives_yaml(const std::string& name) {
  YAML::Emitter out;
  out << YAML::DoubleQuoted << name;
  return YAML::Load(out.c_str()).as<std::string>() == name;
}

void emit_file(YAML::Emitter& out, const fs::path& folder, const FileLayout& file) {
  out << YAML::BeginMap;
  const std::string name = name_in(folder, file.path);
  if (survives_yaml(name))
    out << YAML::Key << "path" << YAML::Value << YAML::DoubleQuoted << name;
  else
    out << YAML::Key << "path_hex" << YAML::Value << YAML::DoubleQuoted
        << fmt::format("{:02x}", fmt::join(std::vector<uint8_t>(name.begin(), name.end()), ""));
  out << YAML::Key << "bytes" << YAML::Value << file.bytes;
  out << YAML::Key << "rows" << YAML::Value << file.rows;
  out << YAML::Key << "chunk_rows" << YAML::Value << file.chunk_rows;
  out << YAML::Key << "crc32c" << YAML::Value << YAML::BeginMap;
  for (const ArrayLayout& array : file.arrays) {
    std::string hex;
    for (const uint32_t crc : array.crc32c) hex += fmt::format("{:08x}", crc);
    out << YAML::Key << YAML::DoubleQuoted << array.name << YAML::Value << YAML::DoubleQuoted
        << hex;
  }
  out << YAML::EndMap;
  if (file.sinks.rows) emit_sinks(out, file);
  out << YAML::EndMap;
}

/// Reading: every access goes through a place that can name the file and line.
class Place {
 public:
  Place(std::string where, const YAML::Node& node) : where_(std::move(where)), node_(node) {}

  [[noreturn]] void fail(const std::string& what) const {
    const YAML::Mark mark = node_.Mark();
    throw Error(fmt::format("{}:{}: {}; make the index anew with `assay index`", where_,
                            mark.line + 1, what));
  }
  /// The node is a mapping with exactly these keys; `optional` may be missing.
  void require_keys(const std::set<std::string>& keys, const std::string& optional = "") const {
    if (!node_.IsMap()) fail("expected a mapping");
    std::set<std::string> seen;
    for (const auto& entry : node_) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "?";
      if (keys.count(key) == 0 && key != optional) fail(fmt::format("unknown key '{}'", key));
      if (!seen.insert(key).second) fail(fmt::format("key '{}' stands twice", key));
    }
    for (const std::string& key : keys) {
      if (seen.count(key) == 0) fail(fmt::format("missing key '{}'", key));
    }
  }
  bool has(const std::string& key) const { return node_.IsMap() && node_[key].IsDefined(); }
  Place at(const std::string& key) const {
    if (!node_.IsMap() || !node_[key]) fail(fmt::format("missing key '{}'", key));
    return {where_, node_[key]};
  }
  std::vector<Place> items() const {
    if (!node_.IsSequence()) fail("expected a list");
    std::vector<Place> places;
    for (const auto& item : node_) places.emplace_back(where_, item);
    return places;
  }
  std::string text() const {
    if (!node_.IsScalar()) fail("expected a text");
    return node_.Scalar();
  }
  int64_t integer(int64_t low, int64_t high) const {
    int64_t value = 0;
    if (!node_.IsScalar() || !YAML::convert<int64_t>::decode(node_, value) || value < low ||
        value > high) {
      fail(fmt::format("expected an integer from {} to {}", low, high));
    }
    return value;
  }
  double real() const {
    double value = 0;
    if (!node_.IsScalar() || !YAML::convert<double>::decode(node_, value) ||
        !std::isfinite(value)) {
      fail("expected a finite number");
    }
    return value;
  }

 private:
  std::string where_;
  YAML::Node node_;
};

constexpr int64_t kMost = int64_t{1} << 48;

struct HookEntry {
  std::string name;
  int64_t d = 0;
  DType dtype = DType::f32;
  Moments moments;
};

HookEntry read_hook(const Place& place) {
  place.require_keys({"name", "d", "dtype", "rows_counted", "variance", "scale", "mean"});
  HookEntry hook;
  hook.name = place.at("name").text();
  hook.d = place.at("d").integer(1, 1 << 20);
  const std::string dtype = place.at("dtype").text();
  if (dtype != "f32" && dtype != "f16" && dtype != "bf16")
    place.at("dtype").fail("expected f32, f16 or bf16");
  hook.dtype = parse_dtype(dtype);
  hook.moments.count = place.at("rows_counted").integer(0, kMost);
  hook.moments.variance = place.at("variance").real();
  for (const Place& item : place.at("mean").items()) hook.moments.mean.push_back(item.real());
  if (static_cast<int64_t>(hook.moments.mean.size()) != (hook.moments.count > 0 ? hook.d : 0) &&
      static_cast<int64_t>(hook.moments.mean.size()) != hook.d) {
    place.at("mean").fail(fmt::format("expected {} numbers", hook.d));
  }
  const double scale = place.at("scale").real();
  if (std::abs(scale - hook.moments.scale()) > 1e-6 * scale)
    place.at("scale").fail("contradicts mean and variance");
  return hook;
}

std::vector<uint32_t> read_checksums(const Place& place, int64_t chunks) {
  const std::string hex = place.text();
  if (static_cast<int64_t>(hex.size()) != 8 * chunks ||
      hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    place.fail(fmt::format("expected {} checksums of 8 hexadecimal digits", chunks));
  }
  std::vector<uint32_t> checksums;
  for (size_t i = 0; i < hex.size(); i += 8) {
    checksums.push_back(static_cast<uint32_t>(std::stoul(hex.substr(i, 8), nullptr, 16)));
  }
  return checksums;
}

/// The numbers of a list with one for each hook, none negative.
std::vector<double> read_of_each(const Place& place, size_t hooks) {
  std::vector<double> values;
  for (const Place& item : place.items()) values.push_back(item.real());
  if (values.size() != hooks || *std::min_element(values.begin(), values.end()) < 0)
    place.fail(fmt::format("expected {} numbers from 0", hooks));
  return values;
}

void read_sinks(const Place& place, FileLayout& file) {
  place.require_keys({"rows", "crc32c", "bound", "square", "total"});
  file.sinks.rows = place.at("rows").integer(0, file.rows);
  file.sinks.crc32c = read_checksums(place.at("crc32c"), 1).front();
  const auto bound = read_of_each(place.at("bound"), file.arrays.size()),
             square = read_of_each(place.at("square"), file.arrays.size()),
             total = read_of_each(place.at("total"), file.arrays.size());
  for (size_t h = 0; h < file.arrays.size(); ++h)
    file.arrays[h].sinks = {bound[h], square[h], total[h]};
}

/// The bytes that pairs of hexadecimal digits stand for.
std::string from_hex(const Place& place) {
  const std::string hex = place.text();
  if (hex.empty() || hex.size() % 2 != 0 ||
      hex.find_first_not_of("0123456789abcdef") != std::string::npos)
    place.fail("expected pairs of hexadecimal digits");
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  return bytes;
}

/// The file on disk as the index describes it.
FileLayout read_file(const Place& place, const fs::path& folder,
                     const std::vector<HookEntry>& hooks) {
  const std::string key = place.has("path_hex") ? "path_hex" : "path";
  place.require_keys({key, "bytes", "rows", "chunk_rows", "crc32c"}, "sinks");
  const std::string own = key == "path" ? place.at(key).text() : from_hex(place.at(key));
  if (own.find('\0') != std::string::npos) place.at(key).fail("expected a name without a NUL");
  const fs::path path = folder / own;
  const int64_t rows = place.at("rows").integer(0, kMost),
                bytes = place.at("bytes").integer(0, kMost);
  FileLayout file = read_layouts({path}).front();
  const std::string name = path.string();
  if (file.rows != rows || file.bytes != bytes) {
    place.fail(fmt::format("{} has {} rows in {} bytes, the index says {} rows in {} bytes", name,
                           file.rows, file.bytes, rows, bytes));
  }
  file.chunk_rows = place.at("chunk_rows").integer(1, kMost);
  if (file.arrays.size() != hooks.size())
    place.fail(
        fmt::format("{} has {} hooks, the index {}", name, file.arrays.size(), hooks.size()));
  for (size_t i = 0; i < hooks.size(); ++i) {
    ArrayLayout& array = file.arrays[i];
    if (array.name != hooks[i].name || array.d != hooks[i].d || array.dtype != hooks[i].dtype) {
      place.fail(fmt::format("{}: {} is {} with d = {}, the index says {} is {} with d = {}", name,
                             array.name, name_of(array.dtype), array.d, hooks[i].name,
                             name_of(hooks[i].dtype), hooks[i].d));
    }
    array.crc32c = read_checksums(place.at("crc32c").at(array.name), file.chunks());
  }
  if (place.has("sinks")) read_sinks(place.at("sinks"), file);
  return file;
}

Index parse(const fs::path& folder, const YAML::Node& root) {
  const Place place(index_path(folder).string(), root);
  place.require_keys({"format", "rows", "content_hash", "hooks", "files"}, "sinks");
  if (place.at("format").integer(0, 1 << 20) != kFormat)
    place.at("format").fail(fmt::format("expected format {}", kFormat));
  std::vector<HookEntry> hooks;
  for (const Place& item : place.at("hooks").items()) hooks.push_back(read_hook(item));
  if (hooks.empty() || hooks[0].name != "activations")
    place.at("hooks").fail("the first hook must be activations");
  std::vector<FileLayout> files;
  for (const Place& item : place.at("files").items())
    files.push_back(read_file(item, folder, hooks));
  Index index = combine(folder, std::move(files));
  if (index.info.rows != place.at("rows").integer(0, kMost))
    place.at("rows").fail("the files' rows make another sum");
  if (index.info.content_hash != place.at("content_hash").text())
    place.at("content_hash").fail("contradicts the checksums");
  if (place.has("sinks") && index.sinks.rows != place.at("sinks").at("rows").integer(0, kMost))
    place.at("sinks").fail("the files' sinks make another sum");
  for (size_t i = 0; i < hooks.size(); ++i) {
    const Moments& moments = hooks[i].moments;
    index.moments[i] = moments;
    index.info.hooks[i].mean.assign(moments.mean.begin(), moments.mean.end());
    index.info.hooks[i].variance = moments.variance;
    index.info.hooks[i].scale = moments.scale();
  }
  return index;
}

/// Walks over the text without building anything: a node costs hundreds of times its byte.
class NodeCount : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t) override { count(mark); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw YAML::ParserException(mark, "an index has no aliases");
  }
  void OnScalar(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                const std::string&) override {
    count(mark);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark& mark, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    enter(mark);
  }
  void OnMapEnd() override { --depth_; }

 private:
  void enter(const YAML::Mark& mark) {
    count(mark);
    if (++depth_ > 8) throw YAML::ParserException(mark, "lists and mappings lie too deep");
  }
  void count(const YAML::Mark& mark) {
    constexpr int64_t kMostNodes = 1 << 20;
    if (++nodes_ > kMostNodes)
      throw YAML::ParserException(mark, fmt::format("more than {} entries", kMostNodes));
  }
  int64_t nodes_ = 0, depth_ = 0;
};

void count_nodes(const fs::path& file) {
  std::ifstream in(file);
  YAML::Parser parser(in);
  NodeCount counter;
  parser.HandleNextDocument(counter);
}

}  // namespace

void write_index(const fs::path& folder, const Index& index) {
  YAML::Emitter out;
  out.SetDoublePrecision(17);
  out << YAML::BeginMap;
  out << YAML::Key << "format" << YAML::Value << kFormat;
  out << YAML::Key << "rows" << YAML::Value << index.info.rows;
  out << YAML::Key << "content_hash" << YAML::Value << YAML::DoubleQuoted
      << index.info.content_hash;
  if (index.sinks.rows) emit_sinks(out, index.sinks);
  out << YAML::Key << "hooks" << YAML::Value << YAML::BeginSeq;
  for (size_t i = 0; i < index.info.hooks.size(); ++i)
    emit_hook(out, index.info.hooks[i], index.moments[i]);
  out << YAML::EndSeq;
  out << YAML::Key << "files" << YAML::Value << YAML::BeginSeq;
  for (const FileLayout& file : index.files) emit_file(out, folder, file);
  out << YAML::EndSeq << YAML::EndMap << YAML::Newline;
  write_file_atomically(index_path(folder), out.c_str());
}

Index read_index(const fs::path& folder) {
  const fs::path file = index_path(folder);
  std::error_code failed;
  const uintmax_t size = fs::file_size(file, failed);
  if (failed)
    throw Error(fmt::format(
        "{}: no index.yaml here; make one with `assay index FILES --out FOLDER`", folder.string()));
  if (size > kMostBytes)
    throw Error(
        fmt::format("{}: {} bytes; an index has at most {}", file.string(), size, kMostBytes));
  std::ifstream in(file, std::ios::binary);
  std::string text(size, '\0');
  if (!in.read(text.data(), static_cast<std::streamsize>(size)))
    throw Error(
        fmt::format("{}: cannot be read; make the index anew with `assay index`", file.string()));
  try {
    return within_memory(file.string(), [&] {
      count_nodes(file);
      return parse(folder, YAML::Load(text));
    });
  } catch (const YAML::Exception& error) {
    throw Error(yaml_fault(file.string(), text, error));
  }
}

}  // namespace assay::data
