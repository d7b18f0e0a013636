#include "sae/checkpoint_policy.h"

#include <algorithm>

namespace assay::sae {

bool CheckpointClock::due(int64_t step, Clock::time_point now) const {
  if (policy_.every_steps > 0 && step % policy_.every_steps == 0) return true;
  if (policy_.keep_every > 0 && step % policy_.keep_every == 0) return true;
  return policy_.every_minutes > 0 &&
         now - last_ >= std::chrono::duration<double, std::ratio<60>>(policy_.every_minutes);
}

std::vector<int64_t> superseded(const std::vector<int64_t>& steps, int64_t current,
                                const CheckpointPolicy& policy) {
  std::vector<int64_t> past;
  std::copy_if(steps.begin(), steps.end(), std::back_inserter(past),
               [&](int64_t step) { return step <= current; });
  std::sort(past.rbegin(), past.rend());
  past.erase(past.begin(),
             past.begin() + std::min<int64_t>(policy.keep_last, static_cast<int64_t>(past.size())));
  std::erase_if(
      past, [&](int64_t step) { return policy.keep_every > 0 && step % policy.keep_every == 0; });
  return past;
}

}  // namespace assay::sae
