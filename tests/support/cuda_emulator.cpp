#include "tests/support/cuda_emulator.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <exception>
#include <numeric>
#include <random>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

// Saves the callee's registers on the stack, stores the stack pointer at *rdi, and goes on at the
// stack rsi. (The standard library's swapcontext makes two system calls a switch.)
asm(R"(
.text
.globl assay_fibre_switch
.type assay_fibre_switch, @function
assay_fibre_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size assay_fibre_switch, .-assay_fibre_switch
)");
extern "C" void assay_fibre_switch(void** save, void* load);

namespace assay::emulator {

namespace {

enum class Meeting { none, barrier, warp, done };

constexpr int kWarp = 32;
constexpr size_t kStack = 128 * 1024;

}  // namespace

/// A block's fibres and their scheduler. The fibres switch to the scheduler and back, never to each
/// other.
class Block {
 public:
  Block(const std::function<void(Thread&)>& body, int threads, size_t shared_bytes, Order order)
      : body_(body),
        order_(order),
        random_(order.seed),
        shared_bytes_(shared_bytes),
        fibres_(threads) {
    std::iota(lanes_.begin(), lanes_.end(), 0);
    if (order.kind == Order::descending) std::reverse(lanes_.begin(), lanes_.end());
    for (Fibre& f : fibres_) f.stack.reset(new unsigned char[kStack]);
  }

  ~Block() {
#ifdef __SANITIZE_THREAD__
    for (Fibre& f : fibres_) {
      if (f.tsan != nullptr) __tsan_destroy_fiber(f.tsan);
    }
#endif
  }

  void run(int64_t block) {
    block_ = block;
    const GuardedBytes shared(shared_bytes_);
    std::memset(shared.data(), 0xff, shared.size());
    shared_ = shared.data();
    for (Fibre& f : fibres_) prepare(f);
    while (!finished()) {
      for (int warp = next_warp(); warp >= 0; warp = next_warp()) step_warp(warp);
      release_block();
    }
    shared.check();
  }

  int64_t block() const { return block_; }
  unsigned char* shared() const { return shared_; }

  /// Called on a fibre: waits until the meeting is complete.
  void meet(int thread, Meeting meeting, Site site, uint64_t payload) {
    Fibre& f = fibres_[thread];
    f.meeting = meeting;
    f.site = site;
    f.payload = payload;
    leave(f, false);
  }
  uint64_t delivered(int thread) const { return fibres_[thread].delivered; }
  bool delivered_any() const { return any_; }

 private:
  struct Fibre {
    std::unique_ptr<unsigned char[]> stack;
    void* stack_pointer = nullptr;
    void* fake_stack = nullptr;  // AddressSanitizer's
    void* tsan = nullptr;
    Meeting meeting = Meeting::none;
    Site site;
    uint64_t payload = 0, delivered = 0;
    std::exception_ptr error;
  };

  void prepare(Fibre& f) {
    f.meeting = Meeting::none;
#ifdef __SANITIZE_ADDRESS__
    __asan_unpoison_memory_region(f.stack.get(),
                                  kStack);  // frames of the last block never returned
#endif
#ifdef __SANITIZE_THREAD__
    if (f.tsan == nullptr) f.tsan = __tsan_create_fiber(0);
#endif
    const auto top = (reinterpret_cast<uintptr_t>(f.stack.get()) + kStack) / 16 * 16;
    auto* word = reinterpret_cast<uintptr_t*>(top);
    *--word = 0;  // no caller; keeps the alignment of a called function
    *--word = reinterpret_cast<uintptr_t>(&Block::enter);
    for (int saved = 0; saved < 6; ++saved) *--word = 0;
    f.stack_pointer = word;
  }

  void resume(int thread) {
    running_ = this;
    current_ = thread;
    Fibre& f = fibres_[thread];
#ifdef __SANITIZE_ADDRESS__
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(&fake, f.stack.get(), kStack);
#endif
#ifdef __SANITIZE_THREAD__
    tsan_scheduler_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f.tsan, 0);
#endif
    assay_fibre_switch(&scheduler_, f.stack_pointer);
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#endif
    if (f.error) std::rethrow_exception(std::exchange(f.error, nullptr));
  }

  void leave(Fibre& f, [[maybe_unused]] bool for_good) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_start_switch_fiber(for_good ? nullptr : &f.fake_stack, scheduler_bottom_,
                                   scheduler_size_);
#endif
#ifdef __SANITIZE_THREAD__
    __tsan_switch_to_fiber(tsan_scheduler_, 0);
#endif
    assay_fibre_switch(&f.stack_pointer, scheduler_);
    arrived(f.fake_stack);
  }

  void arrived([[maybe_unused]] void* fake_stack) {
#ifdef __SANITIZE_ADDRESS__
    __sanitizer_finish_switch_fiber(fake_stack, &scheduler_bottom_, &scheduler_size_);
#endif
  }

  static void enter() {
    Block& self = *running_;
    self.arrived(nullptr);
    const int index = self.current_;
    Fibre& f = self.fibres_[index];
    try {
      Thread thread(self, index);
      self.body_(thread);
    } catch (...) {
      f.error = std::current_exception();
    }
    f.meeting = Meeting::done;
    self.leave(f, true);
  }

  bool finished() const {
    return std::all_of(fibres_.begin(), fibres_.end(),
                       [](const Fibre& f) { return f.meeting == Meeting::done; });
  }

  static bool together(const Fibre& a, const Fibre& b) {
    return a.meeting == b.meeting && a.site.line() == b.site.line() &&
           a.site.column() == b.site.column() &&
           std::strcmp(a.site.file_name(), b.site.file_name()) == 0;
  }

  std::string where(int thread) const {
    const Fibre& f = fibres_[thread];
    if (f.meeting == Meeting::done) return fmt::format("thread {} has ended", thread);
    return fmt::format("thread {} waits at a {} ({}:{})", thread,
                       f.meeting == Meeting::barrier ? "barrier" : "shuffle or vote",
                       f.site.file_name(), f.site.line());
  }

  [[noreturn]] void diverged(int a, int b) const {
    throw Violation(fmt::format("block {}: divergence: {}, but {}", block_, where(a), where(b)));
  }

  bool runnable(int warp) const {
    return std::any_of(fibres_.begin() + warp * kWarp, fibres_.begin() + (warp + 1) * kWarp,
                       [](const Fibre& f) { return f.meeting == Meeting::none; });
  }

  /// The warp whose turn it is, −1 for none. In the fixed orders a warp runs as far as the next
  /// barrier before another starts, as far ahead as a device's warps may drift; in the shuffled
  /// ones any warp may go on at any time.
  int next_warp() {
    std::vector<int> ready;
    for (int warp = 0; warp < static_cast<int>(fibres_.size()) / kWarp; ++warp) {
      if (runnable(warp)) ready.push_back(warp);
    }
    if (ready.empty()) return -1;
    if (order_.kind == Order::shuffled) return ready[random_() % ready.size()];
    return order_.kind == Order::ascending ? ready.front() : ready.back();
  }

  /// Runs a warp's lanes, in turn, each to its next meeting.
  void step_warp(int warp) {
    if (order_.kind == Order::shuffled) std::shuffle(lanes_.begin(), lanes_.end(), random_);
    for (const int lane : lanes_) {
      if (fibres_[warp * kWarp + lane].meeting == Meeting::none) resume(warp * kWarp + lane);
    }
    release_warp(warp * kWarp);
  }

  /// Every thread waits at a barrier or has ended: all go on if it is the same barrier.
  void release_block() {
    if (finished()) return;
    any_ = false;
    for (int t = 0; t < static_cast<int>(fibres_.size()); ++t) {
      if (!together(fibres_[0], fibres_[t])) diverged(0, t);
      any_ = any_ || fibres_[t].payload != 0;
    }
    for (Fibre& f : fibres_) f.meeting = Meeting::none;
  }

  /// Every lane waits or has ended: if any is at a shuffle or vote, all must be at the same one,
  /// and go on.
  void release_warp(int first) {
    const auto at_warp = [this](int t) { return fibres_[t].meeting == Meeting::warp; };
    int leader = -1;
    for (int t = first; t < first + kWarp && leader < 0; ++t) leader = at_warp(t) ? t : -1;
    if (leader < 0) return;
    for (int t = first; t < first + kWarp; ++t) {
      if (!together(fibres_[leader], fibres_[t])) diverged(leader, t);
    }
    for (int t = first; t < first + kWarp; ++t) {
      fibres_[t].delivered = fibres_[t].payload;
      fibres_[t].meeting = Meeting::none;
    }
  }

  static inline thread_local Block* running_ = nullptr;

  const std::function<void(Thread&)>& body_;
  Order order_;
  std::mt19937_64 random_;
  size_t shared_bytes_;
  std::vector<Fibre> fibres_;
  std::array<int, kWarp> lanes_;
  int64_t block_ = 0;
  unsigned char* shared_ = nullptr;
  int current_ = 0;
  bool any_ = false;
  void* scheduler_ = nullptr;
  [[maybe_unused]] void* tsan_scheduler_ = nullptr;
  [[maybe_unused]] const void* scheduler_bottom_ = nullptr;
  [[maybe_unused]] size_t scheduler_size_ = 0;
};

int64_t Thread::block() const { return block_.block(); }
unsigned char* Thread::shared() const { return block_.shared(); }
void Thread::sync(Site site) { block_.meet(index_, Meeting::barrier, site, 0); }

bool Thread::sync_or(bool mine, Site site) {
  block_.meet(index_, Meeting::barrier, site, mine ? 1 : 0);
  return block_.delivered_any();
}

uint64_t Thread::exchange(uint64_t payload, int lane, Site site) {
  block_.meet(index_, Meeting::warp, site, payload);
  return block_.delivered(index_ / kWarp * kWarp + lane);
}

uint32_t Thread::ballot(bool mine, Site site) {
  block_.meet(index_, Meeting::warp, site, mine ? 1 : 0);
  uint32_t bits = 0;
  for (int lane = 0; lane < kWarp; ++lane) {
    bits |= static_cast<uint32_t>(block_.delivered(index_ / kWarp * kWarp + lane)) << lane;
  }
  return bits;
}

GuardedBytes::GuardedBytes(size_t bytes)
    : bytes_(bytes),
      after_(kGuard + (8 - bytes % 8) % 8),
      memory_(new unsigned char[kGuard + bytes + after_]) {
  std::memset(memory_.get(), 0xa5, kGuard);
  std::memset(data() + bytes_, 0xa5, after_);
#ifdef __SANITIZE_ADDRESS__
  __asan_poison_memory_region(memory_.get(), kGuard);
  __asan_poison_memory_region(data() + bytes_, after_);
#endif
}

GuardedBytes::~GuardedBytes() {
#ifdef __SANITIZE_ADDRESS__
  __asan_unpoison_memory_region(memory_.get(), kGuard + bytes_ + after_);
#endif
}

void GuardedBytes::check() const {
#ifndef __SANITIZE_ADDRESS__
  const auto intact = [](unsigned char byte) { return byte == 0xa5; };
  if (!std::all_of(memory_.get(), memory_.get() + kGuard, intact)) {
    throw Violation(
        fmt::format("something was written before the start of an array of {} bytes", bytes_));
  }
  if (!std::all_of(data() + bytes_, data() + bytes_ + after_, intact)) {
    throw Violation(
        fmt::format("something was written behind the end of an array of {} bytes", bytes_));
  }
#endif
}

void run_blocks(const std::function<void(Thread&)>& body, int64_t blocks, int threads,
                size_t shared_bytes, Order order) {
  if (threads % kWarp != 0 || threads == 0) {
    throw Violation(fmt::format("{} threads a block are not whole warps of {}", threads, kWarp));
  }
  Block block(body, threads, shared_bytes, order);
  for (int64_t b = 0; b < blocks; ++b) block.run(b);
}

}  // namespace assay::emulator
