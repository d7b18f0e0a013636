// The project's own thread pool. Results never depend on the number of threads: each task writes
// its own output, and where tasks are summed or ordered their number does not follow the threads,
// or does not show.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace assay {

class ThreadPool {
 public:
  /// `threads` >= 1 workers including the caller; 0 = the processors this process may run on.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;

  /// Run body(task, worker) for every task in [0, tasks), worker in [0, threads()). Returns when
  /// all are done and rethrows the exception of the lowest task that threw. Not reentrant: a body
  /// must not call run on the same pool.
  void run(int64_t tasks, const std::function<void(int64_t task, int worker)>& body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace assay
