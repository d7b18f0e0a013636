// Corpora and a lower half with known answers.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/corpus.h"
#include "data/harvest.h"
#include "tests/support/files.h"

namespace assay::data {

using support::TemporaryFolder;

/// Texts of 1 to 40 tokens in a scrambled but fixed order.
inline Corpus make_corpus(int64_t texts) {
  Corpus c;
  c.path = "corpus.h5";
  c.model = "toy";
  c.tokenizer_hash = "t";
  c.source_hash = "s";
  c.max_length = 40;
  c.offsets = {0};
  c.text_offsets = {0};
  c.labels = {{"kind", {"even", "odd"}}, {"number", {}}};
  c.label_values.resize(2);
  for (int64_t t = 0; t < texts; ++t) {
    const int64_t length = 1 + (t * 7919) % 40;
    for (int64_t i = 0; i < length; ++i) {
      c.tokens.push_back(static_cast<int32_t>((t * 31 + i * 17) % 1000));
      c.special.push_back(i == 0 ? 1 : 0);
    }
    c.offsets.push_back(static_cast<int64_t>(c.tokens.size()));
    c.document.push_back(t / 3);
    c.label_values[0].push_back(static_cast<int32_t>(t % 2));
    c.label_values[1].push_back(static_cast<int32_t>(t * 1000));
    const std::string text = "text " + std::to_string(t);
    c.text_bytes.insert(c.text_bytes.end(), text.begin(), text.end());
    c.text_offsets.push_back(static_cast<int64_t>(c.text_bytes.size()));
  }
  return c;
}

/// out[b, t, :] = (id, t, text length, batch length): what a row holds names the token it belongs
/// to. Calls `before` with the number of calls so far.
class ToyHalf final : public LowerHalf {
 public:
  static constexpr int64_t kDimensions = 4;
  explicit ToyHalf(std::function<void(int64_t)> before = {}) : before_(std::move(before)) {}
  int64_t d() const override { return kDimensions; }
  void run(const int64_t* ids, const int64_t* mask, int64_t batch, int64_t length,
           float* out) override {
    if (before_) before_(calls_++);
    for (int64_t b = 0; b < batch; ++b) {
      int64_t n = 0;
      for (int64_t t = 0; t < length; ++t) n += mask[b * length + t];
      for (int64_t t = 0; t < length; ++t, out += kDimensions) {
        out[0] = static_cast<float>(ids[b * length + t]);
        out[1] = static_cast<float>(t);
        out[2] = static_cast<float>(n);
        out[3] = static_cast<float>(length);
      }
    }
  }

 private:
  std::function<void(int64_t)> before_;
  std::atomic<int64_t> calls_ = 0;
};

inline HarvestOptions toy_options(const std::filesystem::path& out) {
  HarvestOptions o;
  o.out = out;
  o.dtype = DType::f32;
  o.threads = 2;
  o.rows_per_shard = 5000;
  o.model = "toy";
  o.hook = "layer 1";
  o.tokenizer_hash = "t";
  o.vocabulary = 1000;
  o.max_length = 64;
  return o;
}

}  // namespace assay::data
