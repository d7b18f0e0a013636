#include "data/pickle.h"

#include <fmt/core.h>

#include <array>
#include <bit>
#include <utility>

#include "data/base/json_file.h"
#include "data/base/within_memory.h"
#include "data/pickle_stack.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

using Kind = PickleValue::Kind;

struct KnownName {
  std::string_view name;
  bool called;
};
constexpr std::string_view kOrderedDict = "collections.OrderedDict";
constexpr KnownName kNames[] = {
    {kOrderedDict, true},
    {"torch._utils._rebuild_tensor_v2", true},
    {"torch._utils._rebuild_parameter", true},
    {"torch.Size", true},
    {"torch.device", true},
    {"torch.FloatStorage", false},
    {"torch.DoubleStorage", false},
    {"torch.HalfStorage", false},
    {"torch.BFloat16Storage", false},
    {"torch.LongStorage", false},
    {"torch.IntStorage", false},
    {"torch.ShortStorage", false},
    {"torch.CharStorage", false},
    {"torch.ByteStorage", false},
    {"torch.BoolStorage", false},
};

const KnownName* find_name(std::string_view name) {
  for (const KnownName& known : kNames) {
    if (known.name == name) return &known;
  }
  return nullptr;
}

/// Of a name for a message.
std::string shown(std::string_view name) { return as_utf8(std::string(name.substr(0, 200))); }

/// A method for each opcode.
class Machine {
 public:
  Machine(std::string bytes, const std::string& where)
      : stack_(std::move(bytes), where), where_(where) {}
  Pickle run();

  void protocol();
  void frame();
  template <class T>
  void integer() {
    stack_.push_number(Kind::integer, static_cast<int64_t>(stack_.number<T>()));
  }
  template <class Length>
  void long_integer();
  void real();
  template <class Length>
  void text() {
    stack_.push_text(Kind::text, stack_.take(stack_.number<Length>()));
  }
  template <int64_t value>
  void boolean() {
    stack_.push_number(Kind::boolean, value);
  }
  template <Kind kind>
  void empty() {
    stack_.push_items(kind, {});
  }
  template <size_t count>
  void short_tuple() {
    stack_.push_items(Kind::tuple, stack_.pop(count));
  }
  void tuple() { stack_.push_items(Kind::tuple, stack_.above_mark()); }
  void list() { stack_.push_items(Kind::list, stack_.above_mark()); }
  void dict() {
    empty<Kind::dict>();
    const uint32_t made = stack_.pop(1)[0];
    const std::vector<uint32_t> items = stack_.above_mark();
    stack_.push(made);
    extend(Kind::dict, items);
  }
  void append() { extend(Kind::list, stack_.pop(1)); }
  void appends() { extend(Kind::list, stack_.above_mark()); }
  void set_item() { extend(Kind::dict, stack_.pop(2)); }
  void set_items() { extend(Kind::dict, stack_.above_mark()); }
  void mark() { stack_.mark(); }
  void drop() { stack_.drop(); }
  void drop_mark() { stack_.above_mark(); }
  void duplicate() { stack_.push(stack_.top()); }
  template <class Index>
  void keep() {
    stack_.keep(stack_.number<Index>());
  }
  void keep_next() { stack_.keep_next(); }
  template <class Index>
  void recall() {
    stack_.recall(stack_.number<Index>());
  }
  void name();
  void name_on_stack();
  void persistent() { stack_.push_items(Kind::reference, stack_.pop(1)); }
  void reduce();
  void build();
  void stop();
  // Known, and refused.
  void named_object();
  void object();
  void extension();

 private:
  void push_name(std::string_view module, std::string_view name);
  void extend(Kind kind, const std::vector<uint32_t>& items);

  PickleStack stack_;
  const std::string& where_;
  uint32_t root_ = 0;
  bool stopped_ = false;
};

struct Opcode {
  unsigned char code;
  const char* name;
  void (Machine::*act)();
};
constexpr Opcode kOpcodes[] = {
    {0x80, "PROTO", &Machine::protocol},
    {0x95, "FRAME", &Machine::frame},
    {'.', "STOP", &Machine::stop},
    {'N', "NONE", &Machine::empty<Kind::none>},
    {0x88, "NEWTRUE", &Machine::boolean<1>},
    {0x89, "NEWFALSE", &Machine::boolean<0>},
    {'J', "BININT", &Machine::integer<int32_t>},
    {'K', "BININT1", &Machine::integer<uint8_t>},
    {'M', "BININT2", &Machine::integer<uint16_t>},
    {0x8a, "LONG1", &Machine::long_integer<uint8_t>},
    {0x8b, "LONG4", &Machine::long_integer<uint32_t>},
    {'G', "BINFLOAT", &Machine::real},
    {'X', "BINUNICODE", &Machine::text<uint32_t>},
    {0x8c, "SHORT_BINUNICODE", &Machine::text<uint8_t>},
    {0x8d, "BINUNICODE8", &Machine::text<uint64_t>},
    {')', "EMPTY_TUPLE", &Machine::empty<Kind::tuple>},
    {0x85, "TUPLE1", &Machine::short_tuple<1>},
    {0x86, "TUPLE2", &Machine::short_tuple<2>},
    {0x87, "TUPLE3", &Machine::short_tuple<3>},
    {'t', "TUPLE", &Machine::tuple},
    {']', "EMPTY_LIST", &Machine::empty<Kind::list>},
    {'l', "LIST", &Machine::list},
    {'a', "APPEND", &Machine::append},
    {'e', "APPENDS", &Machine::appends},
    {'}', "EMPTY_DICT", &Machine::empty<Kind::dict>},
    {'d', "DICT", &Machine::dict},
    {'s', "SETITEM", &Machine::set_item},
    {'u', "SETITEMS", &Machine::set_items},
    {'(', "MARK", &Machine::mark},
    {'0', "POP", &Machine::drop},
    {'1', "POP_MARK", &Machine::drop_mark},
    {'2', "DUP", &Machine::duplicate},
    {'q', "BINPUT", &Machine::keep<uint8_t>},
    {'r', "LONG_BINPUT", &Machine::keep<uint32_t>},
    {0x94, "MEMOIZE", &Machine::keep_next},
    {'h', "BINGET", &Machine::recall<uint8_t>},
    {'j', "LONG_BINGET", &Machine::recall<uint32_t>},
    {'c', "GLOBAL", &Machine::name},
    {0x93, "STACK_GLOBAL", &Machine::name_on_stack},
    {'Q', "BINPERSID", &Machine::persistent},
    {'R', "REDUCE", &Machine::reduce},
    {'b', "BUILD", &Machine::build},
    {'i', "INST", &Machine::named_object},
    {'o', "OBJ", &Machine::object},
    {0x81, "NEWOBJ", &Machine::object},
    {0x92, "NEWOBJ_EX", &Machine::object},
    {0x82, "EXT1", &Machine::extension},
    {0x83, "EXT2", &Machine::extension},
    {0x84, "EXT4", &Machine::extension},
};

constexpr std::array<const Opcode*, 256> by_code() {
  std::array<const Opcode*, 256> table{};
  for (const Opcode& opcode : kOpcodes) table[opcode.code] = &opcode;
  return table;
}
constexpr std::array<const Opcode*, 256> kByCode = by_code();

void Machine::protocol() {
  const int version = stack_.number<uint8_t>();
  if (version < 2 || version > 5) stack_.fail(fmt::format("protocol {}, expected 2 to 5", version));
}

void Machine::frame() {
  const auto bytes = stack_.number<uint64_t>();
  if (bytes > stack_.left())
    stack_.fail(fmt::format("{} bytes announced, {} left", bytes, stack_.left()));
}

template <class Length>
void Machine::long_integer() {
  const std::string_view bytes = stack_.take(stack_.number<Length>());
  if (bytes.size() > 8)
    stack_.fail(fmt::format("an integer of {} bytes, expected at most 8", bytes.size()));
  uint64_t value = 0;
  for (size_t i = 0; i < bytes.size(); ++i)
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])) << (8 * i);
  const bool negative = !bytes.empty() && static_cast<signed char>(bytes.back()) < 0;
  if (negative && bytes.size() < 8) value |= ~uint64_t{0} << (8 * bytes.size());
  stack_.push_number(Kind::integer, static_cast<int64_t>(value));
}

void Machine::real() {
  PickleValue value;
  value.kind = Kind::real;
  value.real = std::bit_cast<double>(__builtin_bswap64(stack_.number<uint64_t>()));  // big-endian
  stack_.push_value(std::move(value));
}

void Machine::extend(Kind kind, const std::vector<uint32_t>& items) {
  PickleValue& value = stack_.value(stack_.top());
  if (value.kind != kind) stack_.fail("items for what holds none of this kind");
  if (kind == Kind::dict && items.size() % 2 != 0) stack_.fail("a key without a value");
  value.items.insert(value.items.end(), items.begin(), items.end());
}

void Machine::push_name(std::string_view module, std::string_view name) {
  const std::string asked = fmt::format("{}.{}", module, name);
  const KnownName* known = find_name(asked);
  if (known == nullptr) stack_.refuse("asks for " + shown(asked));
  stack_.push_text(Kind::name, known->name);
}

void Machine::name() {
  const std::string_view module = stack_.line();
  push_name(module, stack_.line());
}

void Machine::name_on_stack() {
  const std::vector<uint32_t> parts = stack_.pop(2);
  const PickleValue &module = stack_.value(parts[0]), &name = stack_.value(parts[1]);
  if (module.kind != Kind::text || name.kind != Kind::text) stack_.fail("a name that is no text");
  push_name(module.text.substr(0, 200), name.text.substr(0, 200));
}

void Machine::reduce() {
  const std::vector<uint32_t> parts = stack_.pop(2);
  const PickleValue& callee = stack_.value(parts[0]);
  if (callee.kind != Kind::name) stack_.refuse("calls what is no name");
  if (!find_name(callee.text)->called) stack_.refuse(fmt::format("calls {}", callee.text));
  if (stack_.value(parts[1]).kind != Kind::tuple) stack_.fail("arguments that are no tuple");
  if (callee.text != kOrderedDict) return stack_.push_items(Kind::call, parts);
  if (!stack_.value(parts[1]).items.empty()) stack_.fail("an ordered dict with arguments");
  empty<Kind::dict>();
  stack_.value(stack_.top()).number = 1;
}

/// The state of an ordered dict (versions of a module's parts, in torch) is no part of its content.
void Machine::build() {
  stack_.pop(1);
  const PickleValue& built = stack_.value(stack_.top());
  if (built.kind == Kind::dict && built.number == 1) return;
  stack_.refuse(built.kind == Kind::call
                    ? fmt::format("sets the state of {}", stack_.value(built.items[0]).text)
                    : "sets the state of what is no ordered dict");
}

void Machine::named_object() {
  const std::string_view module = stack_.line();
  stack_.refuse("asks for " + shown(fmt::format("{}.{}", module, stack_.line())));
}

void Machine::object() {
  const std::string_view name = stack_.highest_name();
  stack_.refuse(name.empty() ? "makes an object" : fmt::format("makes an object of {}", name));
}

void Machine::extension() { stack_.refuse("asks for an extension"); }

void Machine::stop() {
  root_ = stack_.pop(1)[0];
  if (!stack_.empty()) stack_.fail("something is left on the stack");
  if (stack_.left() > 0) stack_.fail(fmt::format("{} bytes follow its end", stack_.left()));
  stopped_ = true;
}

Pickle Machine::run() {
  while (!stopped_) {
    const unsigned char code = stack_.next_opcode();
    const Opcode* opcode = kByCode[code];
    if (opcode == nullptr) {
      throw Error(
          fmt::format("{}: its pickle has opcode {:#04x} at byte {}, which plain tensors "
                      "do not need; save them as safetensors",
                      where_, code, stack_.place()));
    }
    stack_.set_opcode(opcode->name);
    (this->*opcode->act)();
  }
  return stack_.finish(root_);
}

}  // namespace

Pickle read_pickle(std::string bytes, const std::string& where) {
  if (bytes.size() > kLongestPickle) {
    throw Error(
        fmt::format("{}: a pickle of {} bytes, expected at most {}; save the tensors as "
                    "safetensors",
                    where, bytes.size(), kLongestPickle));
  }
  return within_memory(where, [&] { return Machine(std::move(bytes), where).run(); });
}

}  // namespace assay::data
