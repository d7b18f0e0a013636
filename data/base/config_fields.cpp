// Reading: the file becomes a small tree of our own (event by event, so nothing is expanded), then
// a visitor takes the described fields out of it.
#include "data/base/config_fields.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <set>
#include <sstream>

#include "data/base/yaml_fault.h"
#include "fmt/format.h"
#include "fmt/ranges.h"
#include "kernels/base/error.h"

namespace assay::config {
namespace {

constexpr std::streamsize kMaxBytes = 1 << 20;
constexpr size_t kMaxDepth = 32;

/// Text from a file, safe to print on one line.
std::string shown(const std::string& text) {
  std::string out;
  for (const char c : text.substr(0, 60)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return text.size() > 60 ? out + "..." : out;
}

struct Node {
  enum class Kind { null, plain, quoted, sequence, mapping };
  Kind kind = Kind::null;
  std::string origin;  ///< "FILE:LINE" or "--set KEY=VALUE"
  std::string value;
  std::vector<std::string> keys;                ///< of a mapping, as its children
  std::vector<std::unique_ptr<Node>> children;  ///< of a mapping or sequence

  const Node* find(const std::string& key) const {
    const auto it = std::find(keys.begin(), keys.end(), key);
    return it == keys.end() ? nullptr : children[static_cast<size_t>(it - keys.begin())].get();
  }
};

std::string describe_kind(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::plain:
      return fmt::format("'{}'", shown(node.value));
    case Node::Kind::quoted:
      return fmt::format("the text \"{}\"", shown(node.value));
    case Node::Kind::sequence:
      return "a list";
    case Node::Kind::mapping:
      break;
  }
  return "a mapping";
}

/// Builds the tree and refuses what a configuration has no use for, before anything grows.
class Builder : public YAML::EventHandler {
 public:
  /// An empty `file` makes `fixed_origin` the origin of every node.
  Builder(std::string file, std::string fixed_origin)
      : file_(std::move(file)), fixed_origin_(std::move(fixed_origin)) {}

  std::unique_ptr<Node> take() { return std::move(root_); }
  std::string origin(const YAML::Mark& mark) const {
    return file_.empty() ? fixed_origin_ : fmt::format("{}:{}", file_, mark.line + 1);
  }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    add(mark, "?", anchor, Node::Kind::null, "");
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    throw UsageError(origin(mark) + ": an alias (*name) is not allowed here; write the value out");
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    add(mark, tag, anchor, tag == "!" ? Node::Kind::quoted : Node::Kind::plain, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::sequence);
  }
  void OnSequenceEnd() override { stack_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    open(mark, tag, anchor, Node::Kind::mapping);
  }
  void OnMapEnd() override { stack_.pop_back(); }

 private:
  void open(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
            Node::Kind kind) {
    if (stack_.size() >= kMaxDepth) {
      throw UsageError(fmt::format("{}: nested deeper than {} levels", origin(mark), kMaxDepth));
    }
    stack_.push_back(add(mark, tag, anchor, kind, ""));
  }

  Node* add(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, Node::Kind kind,
            const std::string& value) {
    if (anchor != YAML::NullAnchor) {
      throw UsageError(origin(mark) +
                       ": an anchor (&name) is not allowed here; write the value out");
    }
    if (!tag.empty() && tag != "?" && tag != "!") {
      throw UsageError(
          fmt::format("{}: the tag '{}' is not allowed here; remove it", origin(mark), shown(tag)));
    }
    auto node = std::make_unique<Node>();
    node->kind = kind;
    node->origin = origin(mark);
    node->value = value;
    Node* const added = node.get();
    place(mark, std::move(node));
    return added;
  }

  void place(const YAML::Mark& mark, std::unique_ptr<Node> node) {
    if (stack_.empty()) {
      root_ = std::move(node);
      return;
    }
    Node& parent = *stack_.back();
    if (parent.kind == Node::Kind::mapping && parent.keys.size() == parent.children.size()) {
      if (node->kind != Node::Kind::plain && node->kind != Node::Kind::quoted) {
        throw UsageError(
            fmt::format("{}: expected a key, found {} (is a bracket or quote left open, or the key "
                        "over 1,024 bytes long?)",
                        origin(mark), describe_kind(*node)));
      }
      if (!seen_.emplace(&parent, node->value).second) {
        throw UsageError(fmt::format("{}: the key '{}' appears twice; remove one", origin(mark),
                                     shown(node->value)));
      }
      parent.keys.push_back(node->value);
      return;
    }
    parent.children.push_back(std::move(node));
  }

  std::string file_, fixed_origin_;
  std::vector<Node*> stack_;
  std::set<std::pair<const Node*, std::string>> seen_;
  std::unique_ptr<Node> root_;
};

std::unique_ptr<Node> parse(const std::string& text, const std::string& file,
                            const std::string& fixed_origin) {
  Builder builder(file, fixed_origin);
  int line = 1;
  for (const char c : text) {
    line += c == '\n';
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\r' && c != '\t') {
      const std::string where = file.empty() ? fixed_origin : fmt::format("{}:{}", file, line);
      throw UsageError(
          fmt::format("{}: control byte 0x{:02x}; expected a YAML text in UTF-8", where, c));
    }
  }
  // The document end mark makes yaml-cpp notice a quote that is never closed.
  std::istringstream stream(text + "\n...\n");
  try {
    YAML::Parser parser(stream);
    parser.HandleNextDocument(builder);
    std::unique_ptr<Node> root = builder.take();
    if (parser.HandleNextDocument(builder)) {
      const std::unique_ptr<Node> second = builder.take();
      throw UsageError((second ? second->origin : fixed_origin) +
                       ": a second YAML document; one is allowed");
    }
    return root;
  } catch (const YAML::Exception& e) {
    if (!file.empty()) throw UsageError(data::yaml_fault(file, text, e));
    throw UsageError(fmt::format("{}: not valid YAML: {}; correct it", fixed_origin, e.msg));
  }
}

/// Takes the described fields of one mapping out of the tree; `finish` then names what nothing
/// described.
class Reader : public Fields {
 public:
  Reader(const Node& mapping, std::string path) : mapping_(mapping), path_(std::move(path)) {}

  void integer(const char* key, int64_t& value, IntBounds bounds, const char* unit,
               const char*) override {
    if (const Node* node = look_up(key)) value = to_integer(key, *node, bounds, unit);
  }
  void real(const char* key, double& value, RealBounds bounds, const char* unit,
            const char*) override {
    if (const Node* node = look_up(key)) value = to_real(key, *node, bounds, unit);
  }
  void boolean(const char* key, bool& value, const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    if (node->kind != Node::Kind::plain || (node->value != "true" && node->value != "false")) {
      fail_type(key, *node, "true or false");
    }
    value = node->value == "true";
  }
  void text(const char* key, std::string& value, const char*) override {
    if (const Node* node = look_up(key)) value = to_text(key, *node);
  }
  void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
              const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    const std::string found = to_text(key, *node);
    if (std::find(choices.begin(), choices.end(), found) == choices.end()) {
      const std::string near = nearest(found, choices);
      throw UsageError(fmt::format("{}: '{}' must be one of {}, found '{}'{}", node->origin,
                                   path_ + key, fmt::join(choices, ", "), shown(found),
                                   near.empty() ? "" : fmt::format(", nearest is '{}'", near)));
    }
    value = found;
  }
  void texts(const char* key, std::vector<std::string>& value, const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    if (node->kind != Node::Kind::sequence) fail_type(key, *node, "a list of texts");
    value.clear();
    for (const auto& child : node->children) value.push_back(to_text(key, *child));
    require_different(key, *node, value);
  }
  void integers(const char* key, std::vector<int64_t>& value, IntBounds bounds, const char* unit,
                const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    if (node->kind != Node::Kind::sequence) fail_type(key, *node, "a list of integers");
    value.clear();
    for (const auto& child : node->children) value.push_back(to_integer(key, *child, bounds, unit));
    require_different(key, *node, value);
  }
  void reals(const char* key, std::vector<double>& value, RealBounds bounds, const char* unit,
             const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    if (node->kind != Node::Kind::sequence) fail_type(key, *node, "a list of numbers");
    value.clear();
    for (const auto& child : node->children) value.push_back(to_real(key, *child, bounds, unit));
    require_different(key, *node, value);
  }
  void section(const char* key, const std::function<void(Fields&)>& describe,
               const char*) override {
    const Node* node = look_up(key);
    if (!node) return;
    if (node->kind != Node::Kind::mapping) fail_type(key, *node, "a mapping of keys to values");
    Reader reader(*node, path_ + key + ".");
    describe(reader);
    reader.finish();
  }

  void finish() const {
    for (size_t i = 0; i < mapping_.keys.size(); ++i) {
      const std::string& key = mapping_.keys[i];
      if (std::find(known_.begin(), known_.end(), key) != known_.end()) continue;
      const std::string near = nearest(key, known_);
      throw UsageError(
          fmt::format("{}: unknown key '{}', {}", mapping_.children[i]->origin, path_ + shown(key),
                      near.empty() ? fmt::format("the keys here are {}", fmt::join(known_, ", "))
                                   : fmt::format("nearest is '{}'", path_ + near)));
    }
  }

 private:
  const Node* look_up(const char* key) {
    known_.emplace_back(key);
    return mapping_.find(key);
  }

  [[noreturn]] void fail_type(const char* key, const Node& node, const char* expected) const {
    throw UsageError(fmt::format("{}: '{}' must be {}, found {}", node.origin, path_ + key,
                                 expected, describe_kind(node)));
  }
  template <typename T>
  [[noreturn]] void fail_bounds(const char* key, const Node& node, T low, T high,
                                const char* unit) const {
    const std::string suffix = *unit ? fmt::format(" {}", unit) : "";
    throw UsageError(fmt::format("{}: '{}' must be in [{}, {}]{}, found {}", node.origin,
                                 path_ + key, low, high, suffix, shown(node.value)));
  }

  /// A list names each of its values once.
  template <typename T>
  void require_different(const char* key, const Node& node, const std::vector<T>& values) const {
    std::set<T> seen;
    for (const T& value : values) {
      if (seen.insert(value).second) continue;
      throw UsageError(fmt::format("{}: '{}' holds {} twice; remove one", node.origin, path_ + key,
                                   shown(fmt::format("{}", value))));
    }
  }
  double to_real(const char* key, const Node& node, RealBounds bounds, const char* unit) const {
    double parsed = 0;
    const char* end = node.value.data() + node.value.size();
    const auto [stop, error] = std::from_chars(node.value.data(), end, parsed);
    if (node.kind != Node::Kind::plain || error != std::errc() || stop != end ||
        !std::isfinite(parsed)) {
      fail_type(key, node, "a finite number");
    }
    if (parsed < bounds.low || parsed > bounds.high)
      fail_bounds(key, node, bounds.low, bounds.high, unit);
    return parsed;
  }

  int64_t to_integer(const char* key, const Node& node, IntBounds bounds, const char* unit) const {
    int64_t parsed = 0;
    const char* end = node.value.data() + node.value.size();
    const auto [stop, error] = std::from_chars(node.value.data(), end, parsed);
    if (node.kind == Node::Kind::plain && error == std::errc::result_out_of_range && stop == end) {
      fail_bounds(key, node, bounds.low, bounds.high, unit);
    }
    if (node.kind != Node::Kind::plain || error != std::errc() || stop != end)
      fail_type(key, node, "an integer");
    if (parsed < bounds.low || parsed > bounds.high)
      fail_bounds(key, node, bounds.low, bounds.high, unit);
    return parsed;
  }
  std::string to_text(const char* key, const Node& node) const {
    if (node.kind == Node::Kind::null) fail_type(key, node, "a text (\"\" for the empty one)");
    if (node.kind != Node::Kind::plain && node.kind != Node::Kind::quoted)
      fail_type(key, node, "a text");
    return node.value;
  }

  const Node& mapping_;
  std::string path_;  ///< "" or "section." with its dot
  std::vector<std::string> known_;
};

void read_tree(const Node& root, const Describe& describe) {
  Reader reader(root, "");
  describe(reader);
  reader.finish();
}

std::string read_text(const std::string& file) {
  std::ifstream stream(file, std::ios::binary);
  if (!stream)
    throw UsageError(
        fmt::format("{}: cannot read the configuration: {}", file, std::strerror(errno)));
  std::string text(static_cast<size_t>(kMaxBytes) + 1, '\0');
  stream.read(text.data(), kMaxBytes + 1);
  if (stream.bad())
    throw UsageError(fmt::format("{}: cannot read the configuration; expected a YAML file", file));
  if (stream.gcount() > kMaxBytes)
    throw UsageError(file + ":1: larger than 1 MiB; expected a small YAML file");
  text.resize(static_cast<size_t>(stream.gcount()));
  return text;
}

/// The mapping that the file holds; null where it is empty.
std::unique_ptr<Node> parse_file(const std::string& file) {
  std::unique_ptr<Node> root = parse(read_text(file), file, "");
  if (!root || root->kind == Node::Kind::null) return nullptr;
  if (root->kind != Node::Kind::mapping) {
    throw UsageError(fmt::format("{}: expected a mapping of keys to values, found {}", root->origin,
                                 describe_kind(*root)));
  }
  return root;
}

/// "a.b=c" as the tree {a: {b: c}}. Values that open with [ { " or ' are YAML; all others are taken
/// as they are.
std::unique_ptr<Node> parse_override(const std::string& override_text) {
  const std::string origin = "--set " + shown(override_text);
  const size_t equals = override_text.find('=');
  if (equals == std::string::npos || equals == 0)
    throw UsageError(origin + ": expected KEY=VALUE, as train.steps=100");
  const std::string value = override_text.substr(equals + 1);
  std::unique_ptr<Node> node;
  if (!value.empty() && std::strchr("[{\"'", value[0])) {
    node = parse(value, "", origin);
  } else {
    node = std::make_unique<Node>();
    node->kind = Node::Kind::plain;
    node->origin = origin;
    node->value = value;
  }
  std::vector<std::string> keys;
  std::istringstream path(override_text.substr(0, equals));
  for (std::string key; std::getline(path, key, '.');) keys.push_back(key);
  if (keys.size() > kMaxDepth)
    throw UsageError(fmt::format("{}: nested deeper than {} levels", origin, kMaxDepth));
  for (auto key = keys.rbegin(); key != keys.rend(); ++key) {
    auto parent = std::make_unique<Node>();
    parent->kind = Node::Kind::mapping;
    parent->origin = origin;
    parent->keys.push_back(*key);
    parent->children.push_back(std::move(node));
    node = std::move(parent);
  }
  return node;
}

}  // namespace

void read_yaml(const std::string& file, const std::vector<std::string>& overrides,
               const Describe& describe) {
  if (const auto root = file.empty() ? nullptr : parse_file(file)) read_tree(*root, describe);
  for (const std::string& text : overrides) read_tree(*parse_override(text), describe);
}

void read_sections(const std::string& file, const std::vector<std::string>& sections,
                   const Describe& describe) {
  const auto root = parse_file(file);
  if (!root) return;
  for (size_t i = root->keys.size(); i-- > 0;) {
    if (std::find(sections.begin(), sections.end(), root->keys[i]) != sections.end()) continue;
    root->keys.erase(root->keys.begin() + static_cast<std::ptrdiff_t>(i));
    root->children.erase(root->children.begin() + static_cast<std::ptrdiff_t>(i));
  }
  read_tree(*root, describe);
}

}  // namespace assay::config
