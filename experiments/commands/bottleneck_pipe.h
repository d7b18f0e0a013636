// The program at the other end of `assay bottleneck`: numbers over standard input and output.
#pragma once

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <csignal>
#include <string>

#include "kernels/base/error.h"
#include "sae/outside_loss.h"

namespace assay::commands {

/// The other program has gone, or a signal has come: no more numbers. The step in hand is
/// abandoned.
class Ended : public Error {
 public:
  using Error::Error;
};

/// Numbers on standard input and output. What is written goes out with flush(). While it waits a
/// set `stop` ends it.
class Pipe {
 public:
  explicit Pipe(const volatile std::sig_atomic_t& stop) : stop_(stop) {}

  template <class T>
  void read(T* to, size_t count, const char* what) {
    auto* at = reinterpret_cast<char*>(to);
    for (size_t left = count * sizeof(T); left > 0;) {
      wait(STDIN_FILENO, POLLIN);
      const ssize_t got = ::read(STDIN_FILENO, at, left);
      if (got <= 0) throw Ended(fmt::format("standard input ended within {}", what));
      at += got;
      left -= static_cast<size_t>(got);
    }
  }
  template <class T>
  T read(const char* what) {
    T value{};
    read(&value, 1, what);
    return value;
  }
  template <class T>
  void write(const T* from, size_t count) {
    out_.append(reinterpret_cast<const char*>(from), count * sizeof(T));
  }
  template <class T>
  void write(T value) {
    write(&value, 1);
  }
  void flush() {
    for (size_t done = 0; done < out_.size();) {
      wait(STDOUT_FILENO, POLLOUT);
      // What a pipe that is ready takes without blocking.
      const ssize_t put = ::write(STDOUT_FILENO, out_.data() + done,
                                  std::min<size_t>(PIPE_BUF, out_.size() - done));
      if (put < 0) throw Ended("standard output is closed");
      done += static_cast<size_t>(put);
    }
    out_.clear();
  }

 private:
  static constexpr int kPatience = 100;  // ms between two looks at whether a signal has come

  void wait(int file, short event) const {
    pollfd ready{file, event, 0};
    while (::poll(&ready, 1, kPatience) <= 0) {
      if (stop_ != 0) throw Ended("stopped by a signal");
    }
  }

  const volatile std::sig_atomic_t& stop_;
  std::string out_;
};

/// The program at the other end gets the codes and answers with their gradient.
class Partner : public sae::OutsideLoss {
 public:
  explicit Partner(Pipe& pipe) : pipe_(pipe) {}

  sae::OutsideGradient differentiate(const sae::OutsideInput& input) override {
    const SparseCodes& codes = input.codes;
    if (codes.rows() != input.reconstruction.rows) {
      throw UsageError(
          "bottleneck: this variant's nested groups give a row several sets of codes; choose "
          "another");
    }
    pipe_.write(codes.rows());
    pipe_.write(codes.pairs());
    pipe_.write(codes.row_offsets.data(), codes.row_offsets.size());
    pipe_.write(codes.indices.data(), codes.indices.size());
    pipe_.write(codes.values.data(), codes.values.size());
    pipe_.flush();
    sae::OutsideGradient result;
    result.loss = pipe_.read<double>("a loss");
    result.error_weight = pipe_.read<double>("a loss");
    const auto pairs = pipe_.read<int64_t>("a gradient");
    if (pairs != codes.pairs() || !std::isfinite(result.loss) || !(result.error_weight >= 0)) {
      throw UsageError(
          fmt::format("bottleneck: a gradient of {} numbers for {} codes, loss {}, error_weight {}",
                      pairs, codes.pairs(), result.loss, result.error_weight));
    }
    result.d_codes.resize(static_cast<size_t>(pairs));
    pipe_.read(result.d_codes.data(), result.d_codes.size(), "a gradient");
    for (const float value : result.d_codes) {
      if (!std::isfinite(value)) throw Error("bottleneck: the gradient is not finite");
    }
    return result;
  }

 private:
  Pipe& pipe_;
};

}  // namespace assay::commands
