#include "sae/progress.h"

#include <fmt/core.h>
#include <unistd.h>

#include <utility>

#include "data/base/say.h"

namespace assay::sae {

Progress::Progress(int64_t total_steps, std::string name)
    : total_(total_steps),
      name_(std::move(name)),
      terminal_(isatty(STDERR_FILENO) != 0),
      start_(Clock::now()) {}

Progress::~Progress() {
  if (terminal_ && first_ >= 0) data::say("\n");
}

void Progress::show(const MetricsLog::Line& line, int64_t latents) {
  const auto now = Clock::now();
  if (first_ < 0) {
    first_ = line.step;
    start_ = now;
  }
  if (!terminal_ && line.step < total_ && now - shown_ < std::chrono::seconds(10)) return;
  shown_ = now;
  const double elapsed = std::chrono::duration<double>(now - start_).count();
  const int64_t done = line.step - first_;
  const std::string eta = done > 0
                              ? fmt::format("{:.0f} s", elapsed / static_cast<double>(done) *
                                                            static_cast<double>(total_ - line.step))
                              : "—";
  const std::string sparsity =
      line.sparsity > 0 ? fmt::format("λ {:.4g}  ", line.sparsity) : std::string();
  data::say(fmt::format(
      "{}{}: step {}/{}  {:.0f} tokens/s  loss {:.4f}  FVU {:.4f}  {}L0 {:.1f}  dead {:.1f} % "
      " ETA {}{}",
      terminal_ ? "\r" : "", name_, line.step, total_, line.tokens_per_s, line.loss, line.fvu,
      sparsity, line.l0, 100.0 * static_cast<double>(line.dead) / static_cast<double>(latents), eta,
      terminal_ ? "   " : "\n"));
}

}  // namespace assay::sae
