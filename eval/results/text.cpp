#include "eval/results/text.h"

#include <cmath>
#include <cstdlib>

#include "fmt/format.h"

namespace assay::eval {

std::string value_text(double value) {
  const double size = std::abs(value);
  if (size >= 1000 && size < 1e15) return count_text(static_cast<int64_t>(std::llround(value)));
  if (size >= 100) return fmt::format("{:.4g}", value);
  if (size >= 10) return fmt::format("{:.2f}", value);
  if (size == 0 || size >= 0.0005) return fmt::format("{:.3f}", value);
  return fmt::format("{:.1e}", value);
}

std::string signed_text(double value) {
  const std::string text = value_text(std::abs(value));
  return value < 0 ? "−" + text : "+" + text;
}

std::string interval_text(const Number& number, bool with_sign) {
  if (!number.interval) return "";
  const auto text = with_sign ? signed_text : value_text;
  return fmt::format("[{}, {}]", text((*number.interval)[0]), text((*number.interval)[1]));
}

std::string estimate_text(const Estimate& estimate, bool with_sign) {
  const auto text = with_sign ? signed_text : value_text;
  if (!estimate.interval) return text(estimate.value);
  const auto [low, high] = *estimate.interval;
  return fmt::format("{} [{}, {}]", text(estimate.value), text(low), text(high));
}

std::string chance_text(const std::optional<double>& chance) {
  return chance ? "chance " + value_text(*chance) : "";
}

std::string with_chance(const std::string& text, const std::optional<double>& chance) {
  return text + (text.empty() || !chance ? "" : ", ") + chance_text(chance);
}

std::string count_text(int64_t count) {
  std::string digits = std::to_string(count);
  for (int64_t at = std::ssize(digits) - 3; at > (count < 0 ? 1 : 0); at -= 3) {
    digits.insert(static_cast<size_t>(at), ",");
  }
  return digits;
}

std::string printable(const std::string& text) {
  std::string out = text;
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return out;
}

}  // namespace assay::eval
