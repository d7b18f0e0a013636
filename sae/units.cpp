#include "sae/units.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "data/base/sha256.h"
#include "kernels/base/error.h"

namespace assay::sae {

void Units::apply(float* y) const {
  for (size_t c = 0; c < shift.size(); ++c) y[c] = (y[c] - shift[c]) * static_cast<float>(scale[c]);
}

void Units::append(const Units& hook) {
  shift.insert(shift.end(), hook.shift.begin(), hook.shift.end());
  scale.insert(scale.end(), hook.scale.begin(), hook.scale.end());
  centred = centred || hook.centred;
}

std::string Units::hash() const {
  std::string text;
  for (size_t c = 0; c < shift.size(); ++c) text += fmt::format("{:a} {:a}\n", shift[c], scale[c]);
  return data::sha256(text);
}

double mean_ratio(const data::HookInfo& hook) {
  if (!(hook.variance > 0)) return 0;
  double squares = 0;
  for (const float m : hook.mean) squares += static_cast<double>(m) * m;
  return std::sqrt(squares / hook.variance);
}

double training_scale(const data::HookInfo& hook) {
  return mean_ratio(hook) > 1 ? 1 / std::sqrt(hook.variance) : hook.scale;
}

Units units_of(const std::vector<data::HookInfo>& hooks, const std::string& where) {
  Units all;
  for (const data::HookInfo& hook : hooks) {
    if (hook.mean.empty()) {
      throw Error(fmt::format(
          "{}: no mean and scale are known for {}; make them with `assay index FILES --out FOLDER`",
          where, hook.name));
    }
    const auto d = static_cast<size_t>(hook.d);
    const bool centred = mean_ratio(hook) > 1;
    all.append({centred ? hook.mean : std::vector<float>(d),
                std::vector<double>(d, training_scale(hook)), centred});
  }
  return all;
}

}  // namespace assay::sae
