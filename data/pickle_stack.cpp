#include "data/pickle_stack.h"

#include <fmt/core.h>

#include <utility>

#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr size_t kMostValues = 2'000'000, kMostAtWork = 1'000'000, kMostMarks = 1000;
constexpr size_t kMostMemo = 2'000'000;
constexpr size_t kLongestLine = 200;

}  // namespace

PickleStack::PickleStack(std::string bytes, std::string where) : where_(std::move(where)) {
  pickle_.bytes = std::make_shared<const std::string>(std::move(bytes));
}

void PickleStack::fail(const std::string& why) const {
  throw Error(fmt::format("{}: its pickle is damaged: {} (opcode {} at byte {}); save it anew",
                          where_, why, opcode_, opcode_at_));
}

void PickleStack::refuse(const std::string& what) const {
  throw Error(
      fmt::format("{}: its pickle {} (opcode {} at byte {}), which could run code: nothing was "
                  "run; save the tensors as safetensors",
                  where_, what, opcode_, opcode_at_));
}

unsigned char PickleStack::next_opcode() {
  opcode_ = "missing";
  opcode_at_ = at_;
  return static_cast<unsigned char>(take(1)[0]);
}

std::string_view PickleStack::take(uint64_t count) {
  if (count > left()) fail(fmt::format("{} bytes announced, {} left", count, left()));
  const std::string_view taken = std::string_view(*pickle_.bytes).substr(at_, count);
  at_ += count;
  return taken;
}

std::string_view PickleStack::line() {
  const std::string_view rest = std::string_view(*pickle_.bytes).substr(at_);
  const size_t end = rest.substr(0, kLongestLine + 1).find('\n');
  if (end == std::string_view::npos) fail(fmt::format("no line of {} bytes or less", kLongestLine));
  at_ += end + 1;
  return rest.substr(0, end);
}

uint32_t PickleStack::top() const {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) fail("nothing is on the stack");
  return stack_.back();
}

std::vector<uint32_t> PickleStack::pop(size_t count) {
  const size_t floor = marks_.empty() ? 0 : marks_.back();
  if (stack_.size() - floor < count) fail("too little is on the stack");
  std::vector<uint32_t> taken(stack_.end() - static_cast<ptrdiff_t>(count), stack_.end());
  stack_.resize(stack_.size() - count);
  return taken;
}

std::vector<uint32_t> PickleStack::above_mark() {
  if (marks_.empty()) fail("no mark is open");
  std::vector<uint32_t> taken = pop(stack_.size() - marks_.back());
  marks_.pop_back();
  return taken;
}

void PickleStack::mark() {
  if (marks_.size() >= kMostMarks) fail(fmt::format("more than {} open marks", kMostMarks));
  marks_.push_back(stack_.size());
}

void PickleStack::drop() {
  if (!marks_.empty() && marks_.back() == stack_.size()) return marks_.pop_back();
  pop(1);
}

void PickleStack::push(uint32_t index) {
  if (stack_.size() >= kMostAtWork) fail(fmt::format("more than {} values at work", kMostAtWork));
  stack_.push_back(index);
}

void PickleStack::push_value(PickleValue&& value) {
  if (pickle_.values.size() >= kMostValues) fail(fmt::format("more than {} values", kMostValues));
  push(static_cast<uint32_t>(pickle_.values.size()));
  pickle_.values.push_back(std::move(value));
}

void PickleStack::push_number(PickleValue::Kind kind, int64_t value) {
  PickleValue made;
  made.kind = kind;
  made.number = value;
  push_value(std::move(made));
}

void PickleStack::push_text(PickleValue::Kind kind, std::string_view text) {
  PickleValue made;
  made.kind = kind;
  made.text = text;
  push_value(std::move(made));
}

void PickleStack::push_items(PickleValue::Kind kind, std::vector<uint32_t> items) {
  PickleValue made;
  made.kind = kind;
  made.items = std::move(items);
  push_value(std::move(made));
}

std::string_view PickleStack::highest_name() const {
  for (size_t i = stack_.size(); i-- > 0;) {
    const PickleValue& value = pickle_[stack_[i]];
    if (value.kind == PickleValue::Kind::name) return value.text;
  }
  return "";
}

void PickleStack::keep(uint64_t index) {
  if (index >= kMostMemo) fail(fmt::format("memo {}, expected less than {}", index, kMostMemo));
  const uint32_t kept = top() + 1;
  if (index >= memo_.size()) memo_.resize(index + 1, 0);
  if (memo_[index] == 0) ++kept_;
  memo_[index] = kept;
}

void PickleStack::recall(uint64_t index) {
  if (index >= memo_.size() || memo_[index] == 0) fail(fmt::format("nothing is in memo {}", index));
  push(memo_[index] - 1);
}

Pickle PickleStack::finish(uint32_t root) {
  pickle_.root = root;
  return std::move(pickle_);
}

}  // namespace assay::data
