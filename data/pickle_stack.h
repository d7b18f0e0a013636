// What the pickle machine works on: the bytes, the stack with its marks, and the memo, each within
// bounds. Every fault is an Error that names the opcode and its byte.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "data/pickle.h"

namespace assay::data {

class PickleStack {
 public:
  PickleStack(std::string bytes, std::string where);

  [[noreturn]] void fail(const std::string& why) const;
  /// For what could run code; `what` follows "its pickle".
  [[noreturn]] void refuse(const std::string& what) const;
  /// The next byte, whose `name` messages say from now on.
  unsigned char next_opcode();
  void set_opcode(const char* name) { opcode_ = name; }
  /// Where the opcode stands.
  size_t place() const { return opcode_at_; }

  std::string_view take(uint64_t count);
  /// A text that a newline ends.
  std::string_view line();
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  uint64_t left() const { return pickle_.bytes->size() - at_; }

  /// The value on top of the stack, above the last mark.
  uint32_t top() const;
  std::vector<uint32_t> pop(size_t count);
  std::vector<uint32_t> above_mark();
  void mark();
  /// A value or, where none is above it, the last mark.
  void drop();
  void push(uint32_t index);
  void push_value(PickleValue&& value);
  void push_number(PickleValue::Kind kind, int64_t value);
  void push_text(PickleValue::Kind kind, std::string_view text);
  void push_items(PickleValue::Kind kind, std::vector<uint32_t> items);
  bool empty() const { return stack_.empty() && marks_.empty(); }
  /// The name that lies highest on the stack; "" where none does.
  std::string_view highest_name() const;

  void keep(uint64_t index);
  void keep_next() { keep(kept_); }
  void recall(uint64_t index);

  PickleValue& value(uint32_t index) { return pickle_.values[index]; }
  Pickle finish(uint32_t root);

 private:
  std::string where_;
  Pickle pickle_;
  size_t at_ = 0, opcode_at_ = 0;
  const char* opcode_ = "";
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::vector<uint32_t> memo_;  ///< index + 1; 0 where nothing was kept
  uint64_t kept_ = 0;
};

}  // namespace assay::data
