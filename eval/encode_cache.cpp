#include "eval/encode_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/row_gather.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

constexpr int64_t kBlock = 4096;
constexpr uint64_t kTrainSampleSeed = 0x7472'6169'6e73'6d70;
enum Part : uint8_t { kNone, kValidation, kTrain };

/// Everything of the pass that does not depend on the dictionary.
struct Plan {
  std::vector<uint8_t> part;       // [rows] or empty
  std::vector<int32_t> slot;       // [rows], −1 = no pooled text; or empty
  std::vector<uint8_t> wanted;     // [rows]
  std::vector<int64_t> documents;  // ascending ids of the documents of either part
  std::vector<double> mean[3];     // [d] by part

  Part part_of(int64_t row) const { return part.empty() ? kNone : static_cast<Part>(part[row]); }
  int32_t slot_of(int64_t row) const { return slot.empty() ? -1 : slot[row]; }
};

void plan_statistics(const data::Dataset& dataset, const data::SplitRule& rule, Plan& plan) {
  plan.part = statistics_parts(dataset, rule);
  const auto& document = dataset.document();
  const int64_t d = dataset.hook("activations").d;
  for (size_t row = 0; row < plan.part.size(); ++row)
    if (plan.part[row]) plan.documents.push_back(document[row]);
  std::sort(plan.documents.begin(), plan.documents.end());
  plan.documents.erase(std::unique(plan.documents.begin(), plan.documents.end()), plan.documents.end());
  double count[3] = {};
  for (auto& mean : plan.mean) mean.assign(static_cast<size_t>(d), 0);
  gather_rows(dataset, plan.part, kBlock, [&](std::span<const int64_t> rows, ConstMatrix x) {
    for (size_t i = 0; i < rows.size(); ++i) {
      auto& mean = plan.mean[plan.part[rows[i]]];
      const float* values = x.row(static_cast<int64_t>(i));
      for (int64_t j = 0; j < d; ++j) mean[j] += values[j];
      count[plan.part[rows[i]]] += 1;
    }
  });
  if (count[kValidation] == 0)
    throw Error(
        fmt::format("{}: no document falls into the validation split (share {}, seed {}): raise data.validation",
                    dataset.info().path.string(), rule.validation, rule.seed));
  for (int p = 0; p < 3; ++p)
    for (double& m : plan.mean[p]) m /= std::max(1.0, count[p]);
}

void plan_texts(const data::Dataset& dataset, const TextTable& table, const std::vector<int64_t>& texts, Plan& plan) {
  const auto& special = dataset.special();
  plan.slot.assign(special.size(), -1);
  for (size_t s = 0; s < texts.size(); ++s) {
    const int64_t t = texts[s];
    if (table.ordinary[t] == 0)
      throw Error(
          fmt::format("{}: text {} has no ordinary tokens to pool", dataset.info().path.string(), table.number[t]));
    for (int64_t row = table.first[t]; row < table.first[t] + table.rows[t]; ++row)
      if (!special[row]) plan.slot[row] = static_cast<int32_t>(s);
  }
}

Plan make_plan(const data::Dataset& dataset, const TextTable* table, const EncodeRequest& request,
               const std::vector<int64_t>& texts, const data::SplitRule& rule) {
  Plan plan;
  if (request.statistics) plan_statistics(dataset, rule, plan);
  if (!texts.empty()) plan_texts(dataset, *table, texts, plan);
  plan.wanted.assign(static_cast<size_t>(dataset.info().rows), 0);
  for (int64_t row = 0; row < dataset.info().rows; ++row)
    plan.wanted[row] = plan.part_of(row) != kNone || plan.slot_of(row) >= 0;
  return plan;
}

/// Mean over the rows of a text, text after text.
class TextMean {
 public:
  explicit TextMean(int64_t size) : sum_(static_cast<size_t>(size)) {}
  void add(std::span<const int32_t> indices, std::span<const float> values) {
    for (size_t i = 0; i < indices.size(); ++i) {
      if (!(values[i] > 0)) continue;
      if (sum_[indices[i]] == 0) touched_.push_back(indices[i]);
      sum_[indices[i]] += values[i];
    }
    ++rows_;
  }
  void finish(SparseCodes& out) {
    std::sort(touched_.begin(), touched_.end());
    for (const int32_t j : touched_) {
      out.indices.push_back(j);
      out.values.push_back(static_cast<float>(sum_[j] / rows_));
      sum_[j] = 0;
    }
    out.row_offsets.push_back(static_cast<int64_t>(out.indices.size()));
    touched_.clear();
    rows_ = 0;
  }

 private:
  std::vector<double> sum_;
  std::vector<int32_t> touched_;
  double rows_ = 0;
};

void add_row(DocumentSums& sums, const float* x, const float* y, const std::vector<double>& mean, double active) {
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
  Encoder(const sae::Dictionary& dictionary, const Plan& plan, const data::Dataset& dataset)
      : dictionary_(dictionary), plan_(plan), document_(dataset.document()), pool_(dictionary.info.n) {
    for (PartStatistics* part : {&out_.validation, &out_.train}) {
      part->documents.resize(plan.documents.size());
      part->firing.resize(static_cast<size_t>(dictionary.info.n));
    }
  }

  void block(Context& context, std::span<const int64_t> rows, ConstMatrix x) {
    const SparseCodes codes = dictionary_.encode(context, x);
    decoded_.resize(static_cast<size_t>(x.rows * x.cols));
    const Matrix y(decoded_.data(), x.rows, x.cols);
    if (!plan_.part.empty()) dictionary_.decode(context, codes, y);
    for (int64_t i = 0; i < x.rows; ++i) {
      const size_t first = codes.row_offsets[i], count = codes.row_offsets[i + 1] - codes.row_offsets[i];
      const std::span indices(codes.indices.data() + first, count);
      const std::span values(codes.values.data() + first, count);
      const Part part = plan_.part_of(rows[i]);
      if (part != kNone) statistics(part, rows[i], x.row(i), y.row(i), indices, values);
      if (const int32_t slot = plan_.slot_of(rows[i]); slot >= 0) {
        if (slot != slot_ && slot_ >= 0) pool_.finish(out_.pooled);
        slot_ = slot;
        pool_.add(indices, values);
      }
    }
  }

  EncodedDictionary finish(Context& context, int64_t texts) {
    if (slot_ >= 0) pool_.finish(out_.pooled);
    out_.reconstruction.resize(static_cast<size_t>(texts * dictionary_.info.d));
    if (texts > 0)
      dictionary_.decode(context, out_.pooled, Matrix(out_.reconstruction.data(), texts, dictionary_.info.d));
    for (PartStatistics* part : {&out_.validation, &out_.train})
      std::erase_if(part->documents, [](const DocumentSums& s) { return s.tokens == 0; });
    return std::move(out_);
  }

 private:
  void statistics(Part part, int64_t row, const float* x, const float* y, std::span<const int32_t> indices,
                  std::span<const float> values) {
    PartStatistics& out = part == kValidation ? out_.validation : out_.train;
    double active = 0;
    for (size_t i = 0; i < indices.size(); ++i) {
      if (!(values[i] > 0)) continue;
      active += 1;
      ++out.firing[indices[i]];
    }
    const auto place = std::lower_bound(plan_.documents.begin(), plan_.documents.end(), document_[row]);
    add_row(out.documents[place - plan_.documents.begin()], x, y, plan_.mean[part], active);
    ++out.tokens;
  }

  const sae::Dictionary& dictionary_;
  const Plan& plan_;
  const std::vector<int64_t>& document_;
  TextMean pool_;
  int32_t slot_ = -1;
  std::vector<float> decoded_;
  EncodedDictionary out_;
};

void pool_dense(const Plan& plan, std::span<const int64_t> rows, ConstMatrix x, std::vector<double>& sums,
                std::vector<int64_t>& counts) {
  for (int64_t i = 0; i < x.rows; ++i) {
    const int32_t slot = plan.slot_of(rows[i]);
    if (slot < 0) continue;
    for (int64_t j = 0; j < x.cols; ++j) sums[slot * x.cols + j] += x.row(i)[j];
    ++counts[slot];
  }
}

void check_dimensions(const data::Dataset& dataset, std::span<const sae::Dictionary* const> dictionaries) {
  const int64_t d = dataset.hook("activations").d;
  for (const sae::Dictionary* dictionary : dictionaries)
    if (dictionary->info.d != d)
      throw UsageError(
          fmt::format("a dictionary has d = {} but the activations of {} have d = {}: evaluate it on the model "
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

std::vector<uint8_t> statistics_parts(const data::Dataset& dataset, const data::SplitRule& rule) {
  const auto& document = dataset.document();
  const auto& special = dataset.special();
  std::vector<uint8_t> part(document.size(), kNone);
  double validation = 0, train = 0;
  for (size_t row = 0; row < part.size(); ++row) {
    if (special[row]) continue;
    const data::Split split = data::split_of(document[row], rule);
    part[row] = split == data::Split::validation ? kValidation : split == data::Split::train ? kTrain : kNone;
    validation += part[row] == kValidation;
    train += part[row] == kTrain;
  }
  const data::SplitRule sample{train > validation ? validation / train : 1.0, 0, rule.seed ^ kTrainSampleSeed};
  for (size_t row = 0; row < part.size(); ++row)
    if (part[row] == kTrain && data::split_of(document[row], sample) != data::Split::validation) part[row] = kNone;
  return part;
}

EncodeCache encode_once(Context& context, const data::Dataset& dataset, const TextTable* texts,
                        std::span<const sae::Dictionary* const> dictionaries, const EncodeRequest& request,
                        const data::SplitRule& rule) {
  check_dimensions(dataset, dictionaries);
  EncodeCache cache;
  cache.d = dataset.hook("activations").d;
  cache.texts = request.texts;
  std::sort(cache.texts.begin(), cache.texts.end());
  cache.texts.erase(std::unique(cache.texts.begin(), cache.texts.end()), cache.texts.end());
  const int64_t count = static_cast<int64_t>(cache.texts.size());
  const Plan plan = make_plan(dataset, texts, request, cache.texts, rule);
  std::vector<Encoder> encoders;
  for (const sae::Dictionary* dictionary : dictionaries) encoders.emplace_back(*dictionary, plan, dataset);
  std::vector<double> sums(static_cast<size_t>(count * cache.d));
  std::vector<int64_t> counts(static_cast<size_t>(count));
  gather_rows(dataset, plan.wanted, kBlock, [&](std::span<const int64_t> rows, ConstMatrix x) {
    for (Encoder& encoder : encoders) encoder.block(context, rows, x);
    pool_dense(plan, rows, x, sums, counts);
  });
  cache.dense.resize(sums.size());
  for (size_t i = 0; i < sums.size(); ++i)
    cache.dense[i] = static_cast<float>(sums[i] / static_cast<double>(counts[i / cache.d]));
  for (Encoder& encoder : encoders) cache.dictionaries.push_back(encoder.finish(context, count));
  return cache;
}

}  // namespace assay::eval
