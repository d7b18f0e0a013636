#include "eval/encoding/encode_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <unordered_map>

#include "eval/encoding/row_gather.h"
#include "eval/encoding/row_mean.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int64_t kBlock = 4096;

/// Everything of the pass that does not depend on the dictionary.
struct Plan {
  std::vector<uint8_t> part;        // [rows] or empty
  std::vector<int32_t> slot;        // [rows], −1 = no pooled text; or empty
  std::vector<uint8_t> wanted;      // [rows]
  std::vector<int64_t> documents;   // ascending ids of the documents of either part
  std::vector<double> mean[3];      // [d] by part
  std::vector<uint8_t> with_sinks;  // [rows], the part of sinks too; empty where there are none
  std::vector<double> mean_all[3];  // [d] by part, over the rows of with_sinks

  SamplePart part_of(int64_t row) const {
    return part.empty() ? kNoPart : static_cast<SamplePart>(part[row]);
  }
  SamplePart part_with_sinks(int64_t row) const {
    return with_sinks.empty() ? kNoPart : static_cast<SamplePart>(with_sinks[row]);
  }
  int32_t slot_of(int64_t row) const { return slot.empty() ? -1 : slot[row]; }
};

/// Where the data set has sinks: those that are not special join the part of their document.
void plan_sinks(const data::Dataset& dataset, Plan& plan) {
  const auto &sink = dataset.sink(), &special = dataset.special();
  if (std::find(sink.begin(), sink.end(), 1) == sink.end()) return;
  const auto& document = dataset.document();
  std::unordered_map<int64_t, uint8_t> part_of;
  for (size_t row = 0; row < sink.size(); ++row)
    if (plan.part[row]) part_of[document[row]] = plan.part[row];
  plan.with_sinks = plan.part;
  for (size_t row = 0; row < sink.size(); ++row) {
    if (!sink[row] || special[row]) continue;
    const auto found = part_of.find(document[row]);
    if (found != part_of.end()) plan.with_sinks[row] = found->second;
  }
}

/// [3][d], over the rows of each part.
void plan_means(const data::Dataset& dataset, const std::vector<uint8_t>& part,
                std::vector<double> (&means)[3], double (&count)[3]) {
  const int64_t d = dataset.hook("activations").d;
  for (auto& mean : means) mean.assign(static_cast<size_t>(d), 0);
  gather_rows(dataset, part, kBlock, [&](std::span<const int64_t> rows, ConstMatrix x) {
    for (size_t i = 0; i < rows.size(); ++i) {
      auto& mean = means[part[rows[i]]];
      const float* values = x.row(static_cast<int64_t>(i));
      for (int64_t j = 0; j < d; ++j) mean[j] += values[j];
      count[part[rows[i]]] += 1;
    }
  });
  for (int p = 0; p < 3; ++p)
    for (double& m : means[p]) m /= std::max(1.0, count[p]);
}

void plan_statistics(const data::Dataset& dataset, const data::SplitRule& rule,
                     const StatisticsRequest& request, Plan& plan) {
  StatisticsSample sample = sample_statistics(dataset, rule, request);
  plan.part = std::move(sample.part);
  std::merge(sample.validation.documents.begin(), sample.validation.documents.end(),
             sample.train.documents.begin(), sample.train.documents.end(),
             std::back_inserter(plan.documents));
  double count[3] = {};
  plan_means(dataset, plan.part, plan.mean, count);
  plan_sinks(dataset, plan);
  double all[3] = {};
  if (!plan.with_sinks.empty()) plan_means(dataset, plan.with_sinks, plan.mean_all, all);
}

void plan_texts(const data::Dataset& dataset, const TextTable& table,
                const std::vector<int64_t>& texts, Plan& plan) {
  const auto& left_out = dataset.left_out();
  plan.slot.assign(left_out.size(), -1);
  for (size_t s = 0; s < texts.size(); ++s) {
    const int64_t t = texts[s];
    if (table.ordinary[t] == 0)
      throw Error(fmt::format("{}: text {} has no ordinary tokens to pool",
                              dataset.info().path.string(), table.number[t]));
    for (int64_t row = table.first[t]; row < table.first[t] + table.rows[t]; ++row)
      if (!left_out[row]) plan.slot[row] = static_cast<int32_t>(s);
  }
}

Plan make_plan(const data::Dataset& dataset, const TextTable* table, const EncodeRequest& request,
               const std::vector<int64_t>& texts, const data::SplitRule& rule) {
  Plan plan;
  if (request.statistics) plan_statistics(dataset, rule, *request.statistics, plan);
  if (!texts.empty()) plan_texts(dataset, *table, texts, plan);
  plan.wanted.assign(static_cast<size_t>(dataset.info().rows), 0);
  for (int64_t row = 0; row < dataset.info().rows; ++row)
    plan.wanted[row] = plan.part_of(row) != kNoPart || plan.slot_of(row) >= 0 ||
                       plan.part_with_sinks(row) != kNoPart;
  return plan;
}

void close_row(SparseCodes& out) {
  out.row_offsets.push_back(static_cast<int64_t>(out.indices.size()));
}

/// A text's codes pooled over its rows, text after text: mean, and on request max and last.
class TextPool {
 public:
  TextPool(int64_t size, bool others)
      : sum_(static_cast<size_t>(size)), max_(others ? sum_.size() : 0) {}
  void add(std::span<const int32_t> indices, std::span<const float> values) {
    last_.clear();
    for (size_t i = 0; i < indices.size(); ++i) {
      if (!(values[i] > 0)) continue;
      if (sum_[indices[i]] == 0) touched_.push_back(indices[i]);
      sum_[indices[i]] += values[i];
      if (max_.empty()) continue;
      max_[indices[i]] = std::max(max_[indices[i]], values[i]);
      last_.emplace_back(indices[i], values[i]);
    }
    ++rows_;
  }
  void finish(EncodedDictionary& out) {
    std::sort(touched_.begin(), touched_.end());
    for (const int32_t j : touched_) {
      out.pooled.indices.push_back(j);
      out.pooled.values.push_back(static_cast<float>(sum_[j] / rows_));
      sum_[j] = 0;
    }
    close_row(out.pooled);
    if (!max_.empty()) finish_others(out);
    touched_.clear();
    rows_ = 0;
  }

 private:
  void finish_others(EncodedDictionary& out) {
    for (const int32_t j : touched_) {
      out.pooled_max.indices.push_back(j);
      out.pooled_max.values.push_back(max_[j]);
      max_[j] = 0;
    }
    std::sort(last_.begin(), last_.end());
    for (const auto& [j, value] : last_) {
      out.pooled_last.indices.push_back(j);
      out.pooled_last.values.push_back(value);
    }
    close_row(out.pooled_max);
    close_row(out.pooled_last);
  }

  std::vector<double> sum_;
  std::vector<float> max_;
  std::vector<int32_t> touched_;
  std::vector<std::pair<int32_t, float>> last_;
  double rows_ = 0;
};

template <class T>
double squared_distance(const float* x, const T* other, size_t d) {
  double sum = 0;
  for (size_t j = 0; j < d; ++j) {
    const double difference = static_cast<double>(x[j]) - other[j];
    sum += difference * difference;
  }
  return sum;
}

void add_row(DocumentSums& sums, const float* x, const float* y, const std::vector<double>& mean,
             double active) {
  double error = 0, deviation = 0, xx = 0, yy = 0, xy = 0;
  for (size_t j = 0; j < mean.size(); ++j) {
    const double a = x[j], b = y[j];
    error += (a - b) * (a - b);
    deviation += (a - mean[j]) * (a - mean[j]);
    xx += a * a;
    yy += b * b;
    xy += a * b;
  }
  sums.error += error;
  sums.deviation += deviation;
  sums.active += active;
  if (xx > 0 && yy > 0) sums.cosine += xy / std::sqrt(xx * yy);
  if (xx > 0) sums.ratio += std::sqrt(yy / xx);
  sums.tokens += 1;
}

/// One dictionary's share of the pass.
class Encoder {
 public:
  Encoder(const sae::Dictionary& dictionary, const Plan& plan, const data::Dataset& dataset,
          bool other_poolings)
      : dictionary_(dictionary),
        plan_(plan),
        document_(dataset.document()),
        pool_(dictionary.info.n, other_poolings) {
    for (PartStatistics* part : {&out_.validation, &out_.train}) {
      part->documents.resize(plan.documents.size());
      part->firing.resize(static_cast<size_t>(dictionary.info.n));
    }
    if (plan.with_sinks.empty()) return;
    for (SinkStatistics& part : with_sinks_) {
      part.error.resize(plan.documents.size());
      part.deviation.resize(plan.documents.size());
    }
  }

  void block(Context& context, std::span<const int64_t> rows, ConstMatrix x) {
    const SparseCodes codes = dictionary_.encode(context, x);
    decoded_.resize(static_cast<size_t>(x.rows * x.cols));
    const Matrix y(decoded_.data(), x.rows, x.cols);
    const bool by_row = dictionary_.needs_input();
    if (!plan_.part.empty() || by_row) dictionary_.decode(context, codes, y, x);
    for (int64_t i = 0; i < x.rows; ++i) {
      const size_t first = codes.row_offsets[i],
                   count = codes.row_offsets[i + 1] - codes.row_offsets[i];
      const std::span indices(codes.indices.data() + first, count);
      const std::span values(codes.values.data() + first, count);
      const SamplePart part = plan_.part_of(rows[i]);
      if (part != kNoPart) statistics(part, rows[i], x.row(i), y.row(i), indices, values);
      if (const SamplePart all = plan_.part_with_sinks(rows[i]); all != kNoPart)
        add_with_sinks(all, part == kNoPart, rows[i], x.row(i), y.row(i));
      if (const int32_t slot = plan_.slot_of(rows[i]); slot >= 0) {
        if (slot != slot_) finish_text();
        slot_ = slot;
        pool_.add(indices, values);
        if (by_row) reconstructed_.add(y.row(i), y.cols);
      }
    }
  }

  EncodedDictionary finish(Context& context, int64_t texts) {
    finish_text();
    // The mean of reconstructions is the reconstruction of the mean codes, unless rows are taken
    // back one by one.
    if (texts > 0 && !dictionary_.needs_input()) {
      out_.reconstruction.resize(static_cast<size_t>(texts * dictionary_.info.d));
      dictionary_.decode(context, out_.pooled,
                         Matrix(out_.reconstruction.data(), texts, dictionary_.info.d));
    }
    for (PartStatistics* part : {&out_.validation, &out_.train})
      std::erase_if(part->documents, [](const DocumentSums& s) { return s.tokens == 0; });
    return std::move(out_);
  }

  /// Of the part's documents; before finish().
  SinkStatistics take_sinks(SamplePart part) {
    SinkStatistics& all = with_sinks_[part];
    const auto& documents = (part == kValidationPart ? out_.validation : out_.train).documents;
    SinkStatistics kept;
    kept.rows = all.rows;
    for (size_t i = 0; i < all.error.size(); ++i) {
      if (documents[i].tokens == 0) continue;
      kept.error.push_back(all.error[i]);
      kept.deviation.push_back(all.deviation[i]);
    }
    return kept;
  }

 private:
  void statistics(SamplePart part, int64_t row, const float* x, const float* y,
                  std::span<const int32_t> indices, std::span<const float> values) {
    PartStatistics& out = part == kValidationPart ? out_.validation : out_.train;
    double active = 0;
    for (size_t i = 0; i < indices.size(); ++i) {
      if (!(values[i] > 0)) continue;
      active += 1;
      ++out.firing[indices[i]];
    }
    add_row(out.documents[place_of(row)], x, y, plan_.mean[part], active);
    ++out.tokens;
  }

  void add_with_sinks(SamplePart part, bool sink, int64_t row, const float* x, const float* y) {
    SinkStatistics& out = with_sinks_[part];
    const std::vector<double>& mean = plan_.mean_all[part];
    out.error[place_of(row)] += squared_distance(x, y, mean.size());
    out.deviation[place_of(row)] += squared_distance(x, mean.data(), mean.size());
    out.rows += sink;
  }

  void finish_text() {
    if (slot_ < 0) return;
    pool_.finish(out_);
    reconstructed_.finish(out_.reconstruction);
  }

  /// Of the row's document.
  size_t place_of(int64_t row) const {
    return static_cast<size_t>(
        std::lower_bound(plan_.documents.begin(), plan_.documents.end(), document_[row]) -
        plan_.documents.begin());
  }

  const sae::Dictionary& dictionary_;
  const Plan& plan_;
  const std::vector<int64_t>& document_;
  TextPool pool_;
  RowMean reconstructed_;  // of dictionaries that need the row for it
  int32_t slot_ = -1;
  std::vector<float> decoded_;
  EncodedDictionary out_;
  SinkStatistics with_sinks_[3];  // by part
};

/// The texts' activations, pooled as their rows come by.
struct DensePool {
  std::vector<double> sums;
  std::vector<int64_t> counts;
  std::vector<float> max, last;  // empty unless asked for

  DensePool(int64_t texts, int64_t d, bool others)
      : sums(static_cast<size_t>(texts * d)),
        counts(static_cast<size_t>(texts)),
        max(others ? sums.size() : 0),
        last(others ? sums.size() : 0) {}

  void add(const Plan& plan, std::span<const int64_t> rows, ConstMatrix x) {
    for (int64_t i = 0; i < x.rows; ++i) {
      const int32_t slot = plan.slot_of(rows[i]);
      if (slot < 0) continue;
      const size_t at = static_cast<size_t>(slot * x.cols);
      for (int64_t j = 0; j < x.cols; ++j) sums[at + j] += x.row(i)[j];
      if (!max.empty()) {
        for (int64_t j = 0; j < x.cols; ++j)
          max[at + j] = counts[slot] ? std::max(max[at + j], x.row(i)[j]) : x.row(i)[j];
        std::copy_n(x.row(i), x.cols, last.begin() + static_cast<int64_t>(at));
      }
      ++counts[slot];
    }
  }
};

void check_dimensions(const data::Dataset& dataset,
                      std::span<const sae::Dictionary* const> dictionaries) {
  const int64_t d = dataset.hook("activations").d;
  for (const sae::Dictionary* dictionary : dictionaries)
    if (dictionary->info.d != d)
      throw UsageError(fmt::format(
          "a dictionary has d = {} but the activations of {} have d = {}: evaluate it on the model "
          "and layer it was trained on",
          dictionary->info.d, dataset.info().path.string(), d));
}

}  // namespace

int64_t EncodeCache::slot(int64_t text) const {
  const auto found = std::lower_bound(texts.begin(), texts.end(), text);
  if (found == texts.end() || *found != text)
    throw Error(fmt::format("text {} was not requested from the encoding pass", text));
  return found - texts.begin();
}

EncodeCache encode_once(Context& context, const data::Dataset& dataset, const TextTable* texts,
                        std::span<const sae::Dictionary* const> dictionaries,
                        const EncodeRequest& request, const data::SplitRule& rule) {
  check_dimensions(dataset, dictionaries);
  EncodeCache cache;
  cache.d = dataset.hook("activations").d;
  cache.texts = request.texts;
  std::sort(cache.texts.begin(), cache.texts.end());
  cache.texts.erase(std::unique(cache.texts.begin(), cache.texts.end()), cache.texts.end());
  if (!cache.texts.empty()) cache.documents = documents_of(*texts, cache.texts);
  const int64_t count = static_cast<int64_t>(cache.texts.size());
  const Plan plan = make_plan(dataset, texts, request, cache.texts, rule);
  std::vector<Encoder> encoders;
  for (const sae::Dictionary* dictionary : dictionaries)
    encoders.emplace_back(*dictionary, plan, dataset, request.other_poolings);
  DensePool pool(count, cache.d, request.other_poolings);
  gather_rows(dataset, plan.wanted, kBlock, [&](std::span<const int64_t> rows, ConstMatrix x) {
    for (Encoder& encoder : encoders) encoder.block(context, rows, x);
    pool.add(plan, rows, x);
  });
  cache.dense.resize(pool.sums.size());
  for (size_t i = 0; i < pool.sums.size(); ++i)
    cache.dense[i] =
        static_cast<float>(pool.sums[i] / static_cast<double>(pool.counts[i / cache.d]));
  cache.dense_max = std::move(pool.max);
  cache.dense_last = std::move(pool.last);
  for (Encoder& encoder : encoders) {
    cache.validation_sinks.push_back(encoder.take_sinks(kValidationPart));
    cache.train_sinks.push_back(encoder.take_sinks(kTrainPart));
    cache.dictionaries.push_back(encoder.finish(context, count));
  }
  return cache;
}

}  // namespace assay::eval
