#include "data/harvest.h"

#include <fmt/core.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "data/base/atomic_file.h"
#include "data/hdf5.h"
#include "data/hdf5_values.h"
#include "data/shard_writer.h"
#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kBlockTexts = 4096;
constexpr int64_t kBlockBytes = int64_t{256} << 20;  ///< of fp32 activations
/// with padding; enough for a full-speed product on one core
constexpr int64_t kBatchTokens = 1024;

struct Batch {
  std::vector<int64_t> texts;
  int64_t length = 0;
};

/// Depends on the corpus and d alone, so that a resumed harvest runs the same batches.
int64_t block_end(const Corpus& corpus, int64_t first, int64_t texts, int64_t d) {
  const int64_t most_rows = std::max<int64_t>(1, kBlockBytes / (4 * d));
  int64_t end = first + 1, rows = corpus.length(first);
  while (end < texts && end - first < kBlockTexts && rows + corpus.length(end) <= most_rows)
    rows += corpus.length(end++);
  return end;
}

std::vector<Batch> cut_batches(const Corpus& corpus, int64_t first, int64_t end) {
  std::vector<int64_t> order(static_cast<size_t>(end - first));
  std::iota(order.begin(), order.end(), first);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return corpus.length(a) > corpus.length(b); });
  std::vector<Batch> batches;
  for (const int64_t text : order) {
    const bool fits =
        !batches.empty() &&
        batches.back().length * static_cast<int64_t>(batches.back().texts.size() + 1) <=
            kBatchTokens;
    if (!fits) batches.push_back({{}, corpus.length(text)});
    batches.back().texts.push_back(text);
  }
  return batches;
}

/// One worker's padded inputs and outputs, kept from batch to batch.
struct Scratch {
  std::vector<int64_t> ids, mask;
  std::vector<float> out;
};

/// Runs the batch and puts its rows where they belong in `block`, whose row 0 is corpus token
/// `block_first`.
void run_batch(const Corpus& corpus, const Batch& batch, LowerHalf& half, Scratch& s,
               int64_t block_first, Matrix block) {
  const int64_t count = static_cast<int64_t>(batch.texts.size()), d = half.d();
  s.ids.assign(static_cast<size_t>(count * batch.length), 0);
  s.mask.assign(s.ids.size(), 0);
  s.out.resize(s.ids.size() * static_cast<size_t>(d));
  for (int64_t b = 0; b < count; ++b) {
    const int64_t text = batch.texts[static_cast<size_t>(b)], n = corpus.length(text);
    std::copy_n(corpus.tokens.begin() + corpus.offsets[static_cast<size_t>(text)], n,
                s.ids.begin() + b * batch.length);
    std::fill_n(s.mask.begin() + b * batch.length, n, 1);
  }
  half.run(s.ids.data(), s.mask.data(), count, batch.length, s.out.data());
  for (int64_t b = 0; b < count; ++b) {
    const int64_t text = batch.texts[static_cast<size_t>(b)];
    const float* from = s.out.data() + b * batch.length * d;
    std::copy_n(from, corpus.length(text) * d,
                block.row(corpus.offsets[static_cast<size_t>(text)] - block_first));
  }
}

/// The columns of corpus tokens [first, end) and the writer's view of them.
class Columns {
 public:
  Columns(const Corpus& corpus, int64_t first_text, int64_t end_text) : corpus_(corpus) {
    labels_.resize(corpus.labels.size());
    for (int64_t t = first_text; t < end_text; ++t) {
      const size_t text = static_cast<size_t>(t), n = static_cast<size_t>(corpus.length(t));
      document_.insert(document_.end(), n, corpus.document[text]);
      text_.insert(text_.end(), n, t);
      for (size_t i = 0; i < n; ++i) position_.push_back(static_cast<int32_t>(i));
      for (size_t l = 0; l < labels_.size(); ++l)
        labels_[l].insert(labels_[l].end(), n, corpus.label_values[l][text]);
    }
    first_ = corpus.offsets[static_cast<size_t>(first_text)];
  }
  /// Rows [skip, x.rows) of a block.
  RowBlock rows(ConstMatrix x, int64_t skip) const {
    const size_t s = static_cast<size_t>(skip), n = static_cast<size_t>(x.rows - skip);
    const size_t at = static_cast<size_t>(first_) + s;
    RowBlock block;
    block.x = x.slice(skip, x.rows - skip);
    block.tokens = std::span(corpus_.tokens).subspan(at, n);
    block.special = std::span(corpus_.special).subspan(at, n);
    block.document = std::span(document_).subspan(s, n);
    block.position = std::span(position_).subspan(s, n);
    block.text = std::span(text_).subspan(s, n);
    for (const auto& label : labels_) block.labels.push_back(std::span(label).subspan(s, n));
    return block;
  }

 private:
  const Corpus& corpus_;
  int64_t first_ = 0;
  std::vector<int64_t> document_, text_;
  std::vector<int32_t> position_;
  std::vector<std::vector<int32_t>> labels_;
};

void check_fit(const Corpus& corpus, const HarvestOptions& options) {
  const std::string where = corpus.path.string();
  if (corpus.tokenizer_hash != options.tokenizer_hash) {
    throw UsageError(fmt::format(
        "{}: made with the tokenizer of {} ({:.12}), the model is {} ({:.12}); run tokenise.py "
        "with "
        "--model naming this model's folder",
        where, corpus.model, corpus.tokenizer_hash, options.model, options.tokenizer_hash));
  }
  if (corpus.max_length > options.max_length) {
    throw UsageError(fmt::format(
        "{}: texts of up to {} tokens, the model takes {}; run tokenise.py with --max-length {}",
        where, corpus.max_length, options.max_length, options.max_length));
  }
  for (size_t i = 0; i < corpus.tokens.size(); ++i) {
    if (corpus.tokens[i] < options.vocabulary) continue;
    throw Error(fmt::format("{}: /tokens[{}] = {}: the model's vocabulary has {} entries", where, i,
                            corpus.tokens[i], options.vocabulary));
  }
}

ShardWriterOptions writer_options(const Corpus& corpus, const LowerHalf& half,
                                  const HarvestOptions& options) {
  ShardWriterOptions w;
  w.folder = options.out;
  w.d = half.d();
  w.dtype = options.dtype;
  w.rows_per_shard = options.rows_per_shard;
  w.disk_limit = options.disk_limit;
  // A rolling shard is shuffled by itself, so its chunks must be many enough for the stream's
  // lanes.
  if (w.disk_limit > 0) {
    w.chunk_bytes = std::min(w.chunk_bytes,
                             std::max<int64_t>(1, w.rows_per_shard / 64) * w.d * size_of(w.dtype));
  }
  w.labels = corpus.labels;
  w.model = options.model;
  w.revision = options.revision;
  w.hook = options.hook;
  w.tokenizer_hash = corpus.tokenizer_hash;
  w.source_hash = corpus.source_hash;
  w.context_length = corpus.max_length;
  w.prepend_bos = corpus.prepend_bos;
  return w;
}

void write_texts(const Corpus& corpus, const fs::path& folder) {
  const fs::path part = folder / "texts.h5.part";
  const std::string where = part.string();
  {
    const auto held = hdf5::lock();
    hdf5::Handle file = hdf5::create_file(part);
    hdf5::write_vector(file, "/text_bytes", corpus.text_bytes, where);
    hdf5::write_vector(file, "/text_offsets", corpus.text_offsets, where);
    if (!file.close())
      hdf5::fail(where, fmt::format("cannot write {} bytes of texts", corpus.text_bytes.size()));
  }
  publish(part, folder / "texts.h5");
}

/// The texts that max_tokens leaves.
int64_t count_texts(const Corpus& corpus, int64_t max_tokens) {
  if (max_tokens <= 0) return corpus.texts();
  const auto past = std::upper_bound(corpus.offsets.begin(), corpus.offsets.end(), max_tokens);
  const int64_t texts = past - corpus.offsets.begin() - 1;
  if (texts > 0) return texts;
  throw UsageError(fmt::format("max_tokens = {}: the first text of {} has {}", max_tokens,
                               corpus.path.string(), corpus.length(0)));
}

}  // namespace

HarvestResult harvest(const Corpus& corpus, LowerHalf& half, const HarvestOptions& options) {
  check_fit(corpus, options);
  const int64_t texts = count_texts(corpus, options.max_tokens), d = half.d();
  const int64_t total = corpus.offsets[static_cast<size_t>(texts)];
  ShardWriter writer(writer_options(corpus, half, options));
  const int64_t resumed = writer.resume_rows();
  if (resumed > total) {
    throw Error(fmt::format("{}: holds {} rows already, this harvest has {}; use another folder",
                            options.out.string(), resumed, total));
  }
  ThreadPool pool(options.threads);
  std::vector<Scratch> scratch(static_cast<size_t>(pool.threads()));
  std::vector<float> rows;
  for (int64_t first = 0, end = 0; first < texts; first = end) {
    end = block_end(corpus, first, corpus.texts(), d);
    const int64_t start = corpus.offsets[static_cast<size_t>(first)];
    const int64_t stop = std::min(total, corpus.offsets[static_cast<size_t>(end)]);
    if (stop <= resumed) continue;
    std::vector<Batch> batches = cut_batches(corpus, first, end);
    const int64_t whole = corpus.offsets[static_cast<size_t>(end)] - start;
    rows.resize(static_cast<size_t>(whole * d));
    const Matrix block(rows.data(), whole, d);
    pool.run(static_cast<int64_t>(batches.size()), [&](int64_t task, int worker) {
      run_batch(corpus, batches[static_cast<size_t>(task)], half,
                scratch[static_cast<size_t>(worker)], start, block);
    });
    const Columns columns(corpus, first, std::min(end, texts));
    writer.append(
        columns.rows(block.slice(0, stop - start), std::max<int64_t>(0, resumed - start)));
    if (options.progress) options.progress(stop, resumed, total);
  }
  if (options.disk_limit == 0) write_texts(corpus, options.out);
  writer.finish();
  return {total, resumed, texts};
}

}  // namespace assay::data
