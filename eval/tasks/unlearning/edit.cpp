#include "eval/tasks/unlearning/edit.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::eval::unlearning {
namespace {

/// Calls body(row of the corpus, values [d]) for the ordinary rows of an entry.
template <class Body>
void each_ordinary(const UnlearningCorpus& corpus, int64_t entry, Matrix rows, const Body& body) {
  const int64_t start = corpus.rows.start[entry];
  for (int64_t i = 0; i < rows.rows; ++i)
    if (!corpus.rows.special[start + i]) body(start + i, rows.row(i));
}

class Everywhere : public Edit {
 public:
  bool touches(const UnlearningCorpus&, int64_t) const override { return true; }
};

class Clamp : public Edit {
 public:
  Clamp(const sae::Dictionary& dictionary, size_t index, LatentTargets targets)
      : dictionary_(dictionary), index_(index), targets_(std::move(targets)) {}
  bool touches(const UnlearningCorpus& corpus, int64_t entry) const override {
    return active_share(corpus, index_, entry, targets_.chosen) > 0;
  }
  void apply(const UnlearningCorpus& corpus, int64_t entry, Matrix rows) const override {
    const SparseCodes& codes = corpus.codes[index_];
    each_ordinary(corpus, entry, rows, [&](int64_t row, float* x) {
      for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
        const int32_t j = codes.indices[p];
        if (!(codes.values[p] > 0) || !targets_.chosen[j]) continue;
        const float change = targets_.target[j] - codes.values[p];
        const float* direction = dictionary_.w_dec.data() + j * dictionary_.info.d;
        for (int64_t i = 0; i < dictionary_.info.d; ++i) x[i] += change * direction[i];
      }
    });
  }

 private:
  const sae::Dictionary& dictionary_;
  size_t index_;
  LatentTargets targets_;
};

class Erase : public Everywhere {
 public:
  Erase(std::shared_ptr<const Eraser> eraser, double strength)
      : eraser_(std::move(eraser)), strength_(strength) {}
  void apply(const UnlearningCorpus& corpus, int64_t entry, Matrix rows) const override {
    std::vector<float> erased(static_cast<size_t>(rows.rows * rows.cols));
    eraser_->apply(rows, Matrix(erased.data(), rows.rows, rows.cols));
    const int64_t start = corpus.rows.start[entry];
    each_ordinary(corpus, entry, rows, [&](int64_t row, float* x) {
      const float* target = erased.data() + (row - start) * rows.cols;
      for (int64_t j = 0; j < rows.cols; ++j)
        x[j] += static_cast<float>(strength_ * (double(target[j]) - x[j]));
    });
  }

 private:
  std::shared_ptr<const Eraser> eraser_;
  double strength_;
};

/// x ← keep · x + offset: shifts and mean replacement.
class Affine : public Everywhere {
 public:
  Affine(double keep, std::vector<double> offset) : keep_(keep), offset_(std::move(offset)) {}
  void apply(const UnlearningCorpus& corpus, int64_t entry, Matrix rows) const override {
    each_ordinary(corpus, entry, rows, [&](int64_t, float* x) {
      for (size_t j = 0; j < offset_.size(); ++j)
        x[j] = static_cast<float>(keep_ * x[j] + offset_[j]);
    });
  }

 private:
  double keep_;
  std::vector<double> offset_;
};

class Gated : public Edit {
 public:
  explicit Gated(std::unique_ptr<Edit> inner) : inner_(std::move(inner)) {}
  bool touches(const UnlearningCorpus& corpus, int64_t entry) const override {
    return open(corpus, entry) && inner_->touches(corpus, entry);
  }
  void apply(const UnlearningCorpus& corpus, int64_t entry, Matrix rows) const override {
    if (open(corpus, entry)) inner_->apply(corpus, entry, rows);
  }

 protected:
  virtual bool open(const UnlearningCorpus& corpus, int64_t entry) const = 0;

 private:
  std::unique_ptr<Edit> inner_;
};

class PooledGate : public Gated {
 public:
  PooledGate(std::unique_ptr<Edit> inner, std::shared_ptr<const Gate> gate)
      : Gated(std::move(inner)), gate_(std::move(gate)) {}

 protected:
  bool open(const UnlearningCorpus& corpus, int64_t entry) const override {
    return gate_->open(corpus.pooled_row(entry));
  }

 private:
  std::shared_ptr<const Gate> gate_;
};

class LatentGate : public Gated {
 public:
  LatentGate(std::unique_ptr<Edit> inner, size_t index, std::vector<uint8_t> chosen,
             double threshold)
      : Gated(std::move(inner)), index_(index), chosen_(std::move(chosen)), threshold_(threshold) {}

 protected:
  bool open(const UnlearningCorpus& corpus, int64_t entry) const override {
    return active_share(corpus, index_, entry, chosen_) > threshold_;
  }

 private:
  size_t index_;
  std::vector<uint8_t> chosen_;
  double threshold_;
};

std::vector<double> scaled(std::vector<double> values, double factor) {
  for (double& v : values) v *= factor;
  return values;
}

}  // namespace

UnlearningCorpus make_corpus(Context& context, TextRows rows,
                             std::span<const sae::Dictionary* const> dictionaries) {
  UnlearningCorpus corpus;
  corpus.pooled = {rows.size(), rows.d,
                   std::vector<float>(static_cast<size_t>(rows.size() * rows.d))};
  std::vector<double> sum(static_cast<size_t>(rows.d));
  for (int64_t e = 0; e < rows.size(); ++e) {
    std::fill(sum.begin(), sum.end(), 0.0);
    double count = 0;
    for (int64_t row = rows.start[e]; row < rows.start[e] + rows.rows[e]; ++row) {
      if (rows.special[row]) continue;
      for (int64_t j = 0; j < rows.d; ++j) sum[j] += rows.all().row(row)[j];
      count += 1;
    }
    for (int64_t j = 0; j < rows.d; ++j)
      corpus.pooled.values[e * rows.d + j] = static_cast<float>(sum[j] / count);
  }
  for (const sae::Dictionary* dictionary : dictionaries) {
    if (!dictionary) {
      corpus.codes.emplace_back();
      continue;
    }
    if (dictionary->info.d != rows.d || dictionary->info.width() != rows.d)
      throw Error(
          fmt::format("unlearning: a dictionary maps d = {} to {} but the activations have d = {}: "
                      "evaluate it on the "
                      "model and layer it was trained on",
                      dictionary->info.d, dictionary->info.width(), rows.d));
    corpus.codes.push_back(dictionary->encode(context, rows.all()));
  }
  corpus.rows = std::move(rows);
  return corpus;
}

std::unique_ptr<Edit> clamp_edit(const sae::Dictionary& dictionary, size_t index,
                                 LatentTargets targets) {
  return std::make_unique<Clamp>(dictionary, index, std::move(targets));
}
std::unique_ptr<Edit> erase_edit(std::shared_ptr<const Eraser> eraser, double strength) {
  return std::make_unique<Erase>(std::move(eraser), strength);
}
std::unique_ptr<Edit> shift_edit(const std::vector<double>& shift, double strength) {
  return std::make_unique<Affine>(1, scaled(shift, strength));
}
std::unique_ptr<Edit> mean_edit(const std::vector<double>& mean, double strength) {
  return std::make_unique<Affine>(1 - strength, scaled(mean, strength));
}
std::unique_ptr<Edit> gated_edit(std::unique_ptr<Edit> inner, std::shared_ptr<const Gate> gate) {
  return std::make_unique<PooledGate>(std::move(inner), std::move(gate));
}
std::unique_ptr<Edit> latent_gated_edit(std::unique_ptr<Edit> inner, size_t index,
                                        std::vector<uint8_t> chosen, double threshold) {
  return std::make_unique<LatentGate>(std::move(inner), index, std::move(chosen), threshold);
}

double active_share(const UnlearningCorpus& corpus, size_t index, int64_t entry,
                    const std::vector<uint8_t>& chosen) {
  const SparseCodes& codes = corpus.codes[index];
  double active = 0, tokens = 0;
  for (int64_t row = corpus.rows.start[entry];
       row < corpus.rows.start[entry] + corpus.rows.rows[entry]; ++row) {
    if (corpus.rows.special[row]) continue;
    tokens += 1;
    for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p)
      if (codes.values[p] > 0 && chosen[codes.indices[p]]) {
        active += 1;
        break;
      }
  }
  return active / tokens;
}

Features run_edit(const sae::UpperHalf& upper, const UnlearningCorpus& corpus,
                  const Features& clean, const std::vector<int64_t>& entries, const Edit& edit,
                  int64_t batch) {
  Features out{std::ssize(entries), clean.cols, {}};
  out.values.resize(static_cast<size_t>(out.rows * out.cols));
  std::vector<int64_t> touched, place;
  for (int64_t i = 0; i < out.rows; ++i) {
    std::copy_n(clean.values.begin() + entries[i] * clean.cols, clean.cols,
                out.values.begin() + i * out.cols);
    if (!edit.touches(corpus, entries[i])) continue;
    touched.push_back(entries[i]);
    place.push_back(i);
  }
  Features changed{std::ssize(touched), clean.cols, {}};
  changed.values.resize(static_cast<size_t>(changed.rows * changed.cols));
  const sae::UpperHalf& half = edit.upper() ? *edit.upper() : upper;
  const RowEdit apply = [&](int64_t entry, Matrix rows) { edit.apply(corpus, entry, rows); };
  for (const auto& positions : batches_by_length(corpus.rows, touched, batch))
    run_upper(half, corpus.rows, touched, positions, apply,
              Matrix(changed.values.data(), changed.rows, changed.cols));
  for (size_t i = 0; i < touched.size(); ++i)
    std::copy_n(changed.values.begin() + static_cast<int64_t>(i) * out.cols, out.cols,
                out.values.begin() + place[i] * out.cols);
  return out;
}

Features run_clean(Context& context, const sae::UpperHalf& upper, const TextRows& rows,
                   int64_t batch) {
  Features out{rows.size(), upper.d_out(), {}};
  out.values.resize(static_cast<size_t>(out.rows * out.cols));
  std::vector<int64_t> entries(static_cast<size_t>(rows.size()));
  for (size_t e = 0; e < entries.size(); ++e) entries[e] = static_cast<int64_t>(e);
  const auto batches = batches_by_length(rows, entries, batch);
  context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    run_upper(upper, rows, entries, batches[static_cast<size_t>(i)], {},
              Matrix(out.values.data(), out.rows, out.cols));
  });
  return out;
}

}  // namespace assay::eval::unlearning
