#include "data/torch_values.h"

#include <fmt/core.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "data/base/json_file.h"
#include "data/strided.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

using Kind = PickleValue::Kind;

constexpr int kDeepest = 64;
constexpr int64_t kMostSteps = 4'000'000;
constexpr size_t kMostTensors = 100'000, kLongestKey = 4096;
constexpr uint64_t kMostText = 64u << 20;

constexpr std::pair<const char*, const char*> kStorages[] = {
    {"torch.FloatStorage", "F32"},     {"torch.DoubleStorage", "F64"}, {"torch.HalfStorage", "F16"},
    {"torch.BFloat16Storage", "BF16"}, {"torch.LongStorage", "I64"},   {"torch.IntStorage", "I32"},
    {"torch.ShortStorage", "I16"},     {"torch.CharStorage", "I8"},    {"torch.ByteStorage", "U8"},
    {"torch.BoolStorage", "BOOL"},
};

/// Walks through the values, which may have cycles and many owners: steps, depth and text count.
class Collector {
 public:
  Collector(const Pickle& pickle, const StorageOf& storage_of, TensorFile& content)
      : pickle_(pickle), storage_of_(storage_of), content_(content) {}

  void collect() {
    if (pickle_[pickle_.root].kind != Kind::dict) {
      throw Error(
          fmt::format("{}: it holds {} at its top, expected a dict of tensors; save "
                      "{{\"name\": tensor}}",
                      content_.path.string(), word(pickle_[pickle_.root])));
    }
    visit_dict("", pickle_[pickle_.root], 0);
  }

 private:
  [[noreturn]] void refuse(const std::string& name, const std::string& why) const {
    throw Error(fmt::format("{}: '{}' {}", content_.path.string(), name, why));
  }
  void visit(const std::string& name, uint32_t index, int depth);
  void visit_dict(const std::string& name, const PickleValue& dict, int depth);
  void visit_call(const std::string& name, const PickleValue& call, int depth);
  void add_tensor(const std::string& name, const PickleValue& call);
  std::shared_ptr<const ByteSource> storage(const std::string& name, const PickleValue& reference,
                                            Tensor& tensor, int64_t& held);
  void add_text(const std::string& name, const std::string& text);
  void check_new(const std::string& name) const;

  void step(const std::string& name, int depth);
  void spend(const std::string& name, size_t bytes);
  bool is_plain(const std::string& name, const PickleValue& value, int depth);
  nlohmann::json json_of(const std::string& name, const PickleValue& value);
  std::string key_of(const std::string& name, const PickleValue& key) const;
  std::vector<int64_t> integers_of(const std::string& name, uint32_t index) const;
  int64_t integer_of(const std::string& name, uint32_t index) const;
  static const char* word(const PickleValue& value);

  const Pickle& pickle_;
  const StorageOf& storage_of_;
  TensorFile& content_;
  std::map<std::string, std::shared_ptr<const ByteSource>> storages_;
  int64_t steps_ = 0;
  uint64_t text_ = 0;
};

const char* Collector::word(const PickleValue& value) {
  switch (value.kind) {
    case Kind::none:
      return "None";
    case Kind::boolean:
      return "a bool";
    case Kind::integer:
      return "an int";
    case Kind::real:
      return "a float";
    case Kind::text:
      return "a str";
    case Kind::tuple:
      return "a tuple";
    case Kind::list:
      return "a list";
    case Kind::dict:
      return "a dict";
    case Kind::name:
      return "a class";
    case Kind::call:
      return "one tensor, size or device";
    case Kind::reference:
      return "a storage";
  }
  return "a value";
}

void Collector::step(const std::string& name, int depth) {
  if (depth > kDeepest)
    refuse(name.substr(0, 100), fmt::format("is nested deeper than {} levels", kDeepest));
  if (++steps_ > kMostSteps) {
    throw Error(fmt::format("{}: more than {} values, counted where they are used; save fewer",
                            content_.path.string(), kMostSteps));
  }
}

void Collector::spend(const std::string& name, size_t bytes) {
  text_ += bytes;
  if (text_ > kMostText) {
    throw Error(fmt::format("{}: more than {} bytes of names and texts, at '{}'; save fewer",
                            content_.path.string(), kMostText, name.substr(0, 100)));
  }
}

std::string Collector::key_of(const std::string& name, const PickleValue& key) const {
  if (key.kind == Kind::integer) return std::to_string(key.number);
  if (key.kind != Kind::text)
    refuse(name, fmt::format("has {} as a key, expected a str or an int", word(key)));
  std::string text(key.text);
  if (text.size() + name.size() > kLongestKey)
    refuse(name,
           fmt::format("has a key of {} bytes, expected at most {}", text.size(), kLongestKey));
  if (as_utf8(text) != text) refuse(name, "has a key that is not UTF-8; save the file anew");
  return text;
}

void Collector::visit_dict(const std::string& name, const PickleValue& dict, int depth) {
  for (size_t i = 0; i < dict.items.size(); i += 2) {
    const std::string key = key_of(name, pickle_[dict.items[i]]);
    visit(depth == 0 ? key : name + "." + key, dict.items[i + 1], depth + 1);
  }
}

void Collector::visit(const std::string& name, uint32_t index, int depth) {
  step(name, depth);
  const PickleValue& value = pickle_[index];
  if (value.kind == Kind::dict) return visit_dict(name, value, depth);
  if (value.kind == Kind::call) return visit_call(name, value, depth);
  if (value.kind == Kind::text) return add_text(name, std::string(value.text));
  if (is_plain(name, value, depth)) return add_text(name, json_of(name, value).dump());
  if (value.kind != Kind::list && value.kind != Kind::tuple)
    refuse(name, fmt::format("is {}, expected a tensor or a plain value", word(value)));
  for (size_t i = 0; i < value.items.size(); ++i)
    visit(fmt::format("{}.{}", name, i), value.items[i], depth + 1);
}

void Collector::visit_call(const std::string& name, const PickleValue& call, int depth) {
  const std::string_view called = pickle_[call.items[0]].text;
  const PickleValue& arguments = pickle_[call.items[1]];
  if (called == "torch._utils._rebuild_tensor_v2") return add_tensor(name, arguments);
  if (arguments.items.empty()) refuse(name, fmt::format("calls {} of nothing", called));
  if (called == "torch.device" && arguments.items.size() == 2) {
    return add_text(name, fmt::format("{}:{}", pickle_[arguments.items[0]].text,
                                      integer_of(name, arguments.items[1])));
  }
  if (called == "torch._utils._rebuild_parameter" &&
      pickle_[arguments.items[0]].kind != Kind::call) {
    refuse(name, "is a parameter without a tensor");
  }
  // A parameter's tensor, a device's name, a size's extents.
  visit(name, arguments.items[0], depth + 1);
}

bool Collector::is_plain(const std::string& name, const PickleValue& value, int depth) {
  step(name, depth);
  if (value.kind == Kind::list || value.kind == Kind::tuple) {
    for (const uint32_t item : value.items) {
      if (!is_plain(name, pickle_[item], depth + 1)) return false;
    }
    return true;
  }
  return value.kind == Kind::none || value.kind == Kind::boolean || value.kind == Kind::integer ||
         value.kind == Kind::real || value.kind == Kind::text;
}

nlohmann::json Collector::json_of(const std::string& name, const PickleValue& value) {
  switch (value.kind) {
    case Kind::boolean:
      return value.number != 0;
    case Kind::integer:
      return value.number;
    case Kind::real:
      if (std::isfinite(value.real)) return value.real;
      return fmt::format("{}", value.real);
    case Kind::text:
      spend(name, value.text.size());
      return as_utf8(std::string(value.text));
    case Kind::list:
    case Kind::tuple: {
      nlohmann::json items = nlohmann::json::array();
      for (const uint32_t item : value.items) items.push_back(json_of(name, pickle_[item]));
      return items;
    }
    default:
      return nullptr;
  }
}

void Collector::check_new(const std::string& name) const {
  if (content_.tensors.count(name) + content_.metadata.count(name) > 0)
    refuse(name, "is there twice, in different places; rename one and save anew");
}

void Collector::add_text(const std::string& name, const std::string& text) {
  check_new(name);
  spend(name, name.size() + text.size());
  content_.metadata[name] = as_utf8(text);
}

int64_t Collector::integer_of(const std::string& name, uint32_t index) const {
  const PickleValue& value = pickle_[index];
  if (value.kind != Kind::integer)
    refuse(name, fmt::format("has {} where a number belongs, expected an int", word(value)));
  return value.number;
}

std::vector<int64_t> Collector::integers_of(const std::string& name, uint32_t index) const {
  const PickleValue* value = &pickle_[index];
  if (value->kind == Kind::call && pickle_[value->items[0]].text == "torch.Size" &&
      pickle_[value->items[1]].items.size() == 1) {
    value = &pickle_[pickle_[value->items[1]].items[0]];
  }
  if (value->kind != Kind::tuple && value->kind != Kind::list)
    refuse(name, fmt::format("has {} for its shape or strides, expected a tuple", word(*value)));
  std::vector<int64_t> integers;
  for (const uint32_t item : value->items) integers.push_back(integer_of(name, item));
  return integers;
}

std::shared_ptr<const ByteSource> Collector::storage(const std::string& name,
                                                     const PickleValue& reference, Tensor& tensor,
                                                     int64_t& held) {
  const auto damaged = [&] { refuse(name, "refers to no storage that torch.save writes"); };
  if (reference.kind != Kind::reference) damaged();
  const std::vector<uint32_t>& parts = pickle_[reference.items[0]].items;
  // ("storage", class, key, where it was, elements)
  if (parts.size() != 5 || pickle_[parts[0]].text != "storage" ||
      pickle_[parts[1]].kind != Kind::name || pickle_[parts[2]].kind != Kind::text) {
    damaged();
  }
  tensor.dtype = dtype_of_storage(std::string(pickle_[parts[1]].text));
  if (tensor.dtype.empty()) damaged();
  const std::string key(pickle_[parts[2]].text.substr(0, kLongestKey));
  auto found = storages_.find(key);
  if (found == storages_.end()) found = storages_.emplace(key, storage_of_(key)).first;
  if (!found->second)
    refuse(name, fmt::format("is in storage '{}', which is not in the file; copy it anew", key));
  const int64_t width = element_bytes(tensor.dtype), claimed = integer_of(name, parts[4]);
  held = static_cast<int64_t>(found->second->size()) / width;
  if (claimed < 0 || claimed > held) {
    refuse(name, fmt::format("is in storage '{}' of {} elements of {} bytes, which has {} bytes; "
                             "copy the file anew",
                             key, claimed, width, found->second->size()));
  }
  held = claimed;
  return found->second;
}

/// (storage, first element, shape, strides, requires_grad, hooks[, metadata])
void Collector::add_tensor(const std::string& name, const PickleValue& arguments) {
  const std::vector<uint32_t>& given = arguments.items;
  if (given.size() != 6 && given.size() != 7) refuse(name, "is a tensor of unknown making");
  if (given.size() == 7 && !pickle_[given[6]].items.empty())
    refuse(name, "is a conjugate or negated view; save a contiguous copy");
  check_new(name);
  spend(name, name.size());
  if (content_.tensors.size() >= kMostTensors)
    refuse(name, fmt::format("is one of more than {} tensors", kMostTensors));
  Tensor tensor;
  int64_t held = 0;
  tensor.source = storage(name, pickle_[given[0]], tensor, held);
  tensor.shape = integers_of(name, given[2]);
  place(tensor, integers_of(name, given[3]), integer_of(name, given[1]), held,
        fmt::format("{}: tensor '{}'", content_.path.string(), name));
  content_.tensors.emplace(name, std::move(tensor));
}

}  // namespace

void collect_values(const Pickle& pickle, const StorageOf& storage_of, TensorFile& content) {
  Collector(pickle, storage_of, content).collect();
}

std::string dtype_of_storage(const std::string& storage) {
  for (const auto& [name, dtype] : kStorages) {
    if (storage == name) return dtype;
  }
  return "";
}

std::string storage_of_dtype(const std::string& dtype) {
  for (const auto& [name, of] : kStorages) {
    if (dtype == of) return name;
  }
  return "";
}

}  // namespace assay::data
