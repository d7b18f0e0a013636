#include "sae/batch_source.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <bit>
#include <memory>

#include "data/dataset.h"

namespace assay::sae {

namespace {

data::Sources open_sources(const DataConfig& c) {
  if (c.rolling) return data::Sources::open_rolling(c.path, c.rolling_wait);
  if (!c.mixture.empty()) return data::Sources::open_mixture(c.mixture);
  return data::Sources({{std::make_shared<const data::Dataset>(data::Dataset::open(c.path)), 1}});
}

/// By the bits of the exponent, which the compiler turns into vector instructions.
bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i) bad |= (std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
  return bad == 0;
}

data::StreamOptions stream_options(const DataConfig& data, const TrainConfig& train,
                                   const volatile std::sig_atomic_t& stop) {
  data::StreamOptions o;
  o.interrupted = [&stop] { return stop != 0; };
  o.hook = data.hook;
  o.batch = train.step_rows();
  o.lanes = static_cast<int>(data.lanes);
  o.window_chunks = data.window_chunks;
  o.seed = static_cast<uint64_t>(data.order_seed < 0 ? train.seed : data.order_seed);
  o.readers = static_cast<int>(data.readers);
  o.include_special = data.include_special;
  o.skip_corrupt = data.skip_corrupt;
  o.rule = data.rule();
  return o;
}

}  // namespace

BatchSource::BatchSource(const DataConfig& data, const TrainConfig& train, const volatile std::sig_atomic_t& stop)
    : sources_(open_sources(data)),
      hook_(sources_.hook(data.hook)),
      options_(stream_options(data, train, stop)),
      stream_(sources_, options_),
      rows_(train.step_rows()),
      batch_(static_cast<size_t>(rows_ * hook_.d)) {
  for (const std::string& line : stream_.skipped()) spdlog::warn("left out: {}", line);
  if (!stream_.skipped().empty()) spdlog::warn("{} corrupt chunk(s) left out", stream_.skipped().size());
}

void BatchSource::read(float* to) {
  stream_.next(Matrix(to, rows_, hook_.d));
  int64_t bad = 0;
  while (bad < rows_ && all_finite(to + bad * hook_.d, hook_.d)) ++bad;
  if (bad == rows_) return;
  const data::RowOrigin origin = stream_.origin(bad);
  throw BadRow(fmt::format("{}, row {}: the activation is not finite", origin.file, origin.row));
}

Batch BatchSource::next(float* place) {
  peeked_ = {};
  float* to = place != nullptr ? place : batch_.data();
  read(to);
  const ConstMatrix x(to, rows_, hook_.d);
  return {x, x};
}

Batch BatchSource::peek() {
  if (peeked_.empty()) {
    const data::StreamPosition origin = stream_.position();
    const int64_t batches = (kSampleTokens + rows_ - 1) / rows_;
    std::vector<float> sample(static_cast<size_t>(batches * rows_ * hook_.d));
    try {
      for (int64_t b = 0; b < batches; ++b) read(sample.data() + b * rows_ * hook_.d);
    } catch (const data::Interrupted&) {
      stream_.seek(origin);
      throw;
    }
    stream_.seek(origin);
    peeked_ = std::move(sample);
  }
  const ConstMatrix x(peeked_.data(), static_cast<int64_t>(peeked_.size()) / hook_.d, hook_.d);
  return {x, x};
}

std::vector<float> BatchSource::validation(bool scaled) {
  data::StreamOptions options = options_;
  options.split = data::Split::validation;
  options.lanes = 1;
  options.scaled = scaled;
  options.batch = kSampleTokens;
  data::ActivationStream stream(sources_, options);
  std::vector<float> rows(static_cast<size_t>(kSampleTokens * hook_.d));
  stream.next(Matrix(rows.data(), kSampleTokens, hook_.d));
  return rows;
}

void BatchSource::seek(const data::StreamPosition& position) {
  peeked_ = {};
  stream_.seek(position);
}

}  // namespace assay::sae
