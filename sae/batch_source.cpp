#include "sae/batch_source.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <memory>

#include "data/base/say.h"
#include "data/dataset.h"

namespace assay::sae {

namespace {

data::Sources open_sources(const DataConfig& c) {
  if (c.rolling) return data::Sources::open_rolling(c.path, c.rolling_wait, c.sinks());
  if (!c.mixture.empty()) return data::Sources::open_mixture(c.mixture, c.sinks());
  return data::Sources(
      {{std::make_shared<const data::Dataset>(data::Dataset::open(c.path, c.sinks())), 1}});
}

/// One line a data set that has any.
void say_sinks(const data::Sources& sources, bool kept) {
  for (const data::Source& source : sources.all()) {
    const data::SinkInfo& sinks = source.dataset->sinks();
    if (sinks.rows.value_or(0) == 0) continue;
    data::note(fmt::format(
        "{}: {} of {} rows are sinks with {:.4g} % of the squared norms: {}",
        source.dataset->info().path.string(), *sinks.rows, source.dataset->info().rows,
        100 * sinks.share.front(),
        kept ? "kept, as data.include_sinks says" : "left out; data.include_sinks keeps them"));
  }
}

/// By the bits of the exponent, which the compiler turns into vector instructions.
bool all_finite(const float* values, int64_t count) {
  uint32_t bad = 0;
  for (int64_t i = 0; i < count; ++i)
    bad |= (std::bit_cast<uint32_t>(values[i]) & 0x7f800000u) == 0x7f800000u;
  return bad == 0;
}

data::StreamOptions stream_options(const DataConfig& data, const TrainConfig& train,
                                   const volatile std::sig_atomic_t& stop) {
  data::StreamOptions o;
  o.interrupted = [&stop] { return stop != 0; };
  o.hook = data.hook;
  o.more_hooks = data.more_hooks;
  if (!data.target_hook.empty()) o.more_hooks.push_back(data.target_hook);
  o.batch = train.step_rows();
  o.lanes = static_cast<int>(data.lanes);
  o.window_chunks = data.window_chunks;
  o.mix_documents = data.mix_documents;
  o.seed = static_cast<uint64_t>(data.order_seed < 0 ? train.seed : data.order_seed);
  o.readers = static_cast<int>(data.readers);
  o.include_special = data.include_special;
  o.skip_corrupt = data.skip_corrupt;
  o.rule = data.rule();
  return o;
}

std::vector<data::HookInfo> hooks_of(const data::Sources& sources,
                                     const std::vector<std::string>& names) {
  std::vector<data::HookInfo> hooks;
  hooks.reserve(names.size());
  for (const std::string& name : names) hooks.push_back(sources.hook(name));
  return hooks;
}

}  // namespace

BatchSource::BatchSource(const DataConfig& data, const TrainConfig& train,
                         const volatile std::sig_atomic_t& stop)
    : sources_(open_sources(data)),
      inputs_(hooks_of(sources_, input_names(data))),
      target_(data.target_hook.empty() ? std::vector<data::HookInfo>{}
                                       : hooks_of(sources_, {data.target_hook})),
      input_units_(units_of(inputs_, sources_.info().path.string())),
      target_units_(units_of(target_, sources_.info().path.string())),
      training_units_{
          {"the activations' mean and scale", input_units_.hash() + target_units_.hash()}},
      options_(stream_options(data, train, stop)),
      stream_(sources_, options_),
      rows_(train.step_rows()) {
  batch_.x.resize(static_cast<size_t>(rows_ * width_of(inputs_)));
  batch_.y.resize(static_cast<size_t>(rows_ * width_of(target_)));
  say_sinks(sources_, data.include_sinks);
  for (const std::string& line : stream_.skipped()) data::note(fmt::format("left out: {}", line));
  if (!stream_.skipped().empty())
    data::note(fmt::format("{} corrupt chunk(s) left out", stream_.skipped().size()));
}

void BatchSource::tell_mixing() const {
  const data::Mixing mixing = stream_.mixing();
  if (mixing.documents == 0) return;
  const std::string of_a_batch =
      mixing.batch_documents > 0 ? fmt::format("; a batch of {} rows holds about {:.0f} of them",
                                               rows_, mixing.batch_documents)
                                 : std::string();
  data::note(fmt::format("shuffle: windows of {} chunks in {} lanes mix {} documents{}",
                         mixing.window_chunks, options_.lanes, mixing.documents, of_a_batch));
  if (mixing.documents < options_.mix_documents) {
    data::note(fmt::format(
        "shuffle: fewer documents than data.mix_documents = {}: the training split has no more",
        options_.mix_documents));
  }
}

Batch BatchSource::batch_of(const float* x, const float* y, int64_t rows) const {
  const ConstMatrix input(x, rows, width_of(inputs_));
  return {input, transcodes() ? ConstMatrix(y, rows, width_of(target_)) : input};
}

void BatchSource::read(data::ActivationStream& stream, float* x, float* y, int64_t rows) const {
  std::vector<Matrix> arrays;
  const auto place = [&](const std::vector<data::HookInfo>& hooks, float* to) {
    const int64_t stride = width_of(hooks);
    for (const data::HookInfo& hook : hooks) {
      arrays.emplace_back(to, rows, hook.d, stride);
      to += hook.d;
    }
  };
  place(inputs_, x);
  place(target_, y);
  stream.next(arrays);
  for (int64_t i = 0; i < rows; ++i) {
    const bool finite = std::all_of(arrays.begin(), arrays.end(), [&](const Matrix& array) {
      return all_finite(array.row(i), array.cols);
    });
    if (finite) continue;
    const data::RowOrigin origin = stream.origin(i);
    throw BadRow(fmt::format("{}, row {}: the activation is not finite", origin.file, origin.row));
  }
}

void BatchSource::to_units(float* x, float* y, int64_t rows) const {
  for (int64_t i = 0; i < rows; ++i) {
    input_units_.apply(x + i * width_of(inputs_));
    target_units_.apply(y + i * width_of(target_));
  }
}

Batch BatchSource::next(float* place) {
  peeked_ = {};
  float* x = place != nullptr ? place : batch_.x.data();
  read(stream_, x, batch_.y.data(), rows_);
  to_units(x, batch_.y.data(), rows_);
  return batch_of(x, batch_.y.data(), rows_);
}

Batch BatchSource::peek() {
  const int64_t batches = (kSampleTokens + rows_ - 1) / rows_, count = batches * rows_;
  const int64_t wide = width_of(inputs_), target = width_of(target_);
  if (peeked_.x.empty()) {
    const data::StreamPosition origin = stream_.position();
    Rows sample{std::vector<float>(static_cast<size_t>(count * wide)),
                std::vector<float>(static_cast<size_t>(count * target))};
    try {
      for (int64_t b = 0; b < batches; ++b) {
        read(stream_, sample.x.data() + b * rows_ * wide, sample.y.data() + b * rows_ * target,
             rows_);
      }
    } catch (const data::Interrupted&) {
      stream_.seek(origin);
      throw;
    }
    stream_.seek(origin);
    to_units(sample.x.data(), sample.y.data(), count);
    peeked_ = std::move(sample);
  }
  return batch_of(peeked_.x.data(), peeked_.y.data(), count);
}

std::vector<float> BatchSource::validation(bool raw) {
  data::StreamOptions options = options_;
  options.split = data::Split::validation;
  options.mix_documents = 0;
  options.lanes = 1;
  options.batch = kSampleTokens;
  data::ActivationStream stream(sources_, options);
  Rows rows{std::vector<float>(static_cast<size_t>(kSampleTokens * width_of(inputs_))),
            std::vector<float>(static_cast<size_t>(kSampleTokens * width_of(target_)))};
  read(stream, rows.x.data(), rows.y.data(), kSampleTokens);
  if (!raw) to_units(rows.x.data(), rows.y.data(), kSampleTokens);
  return rows.x;
}

void BatchSource::seek(const data::StreamPosition& position) {
  peeked_ = {};
  stream_.seek(position);
}

}  // namespace assay::sae
