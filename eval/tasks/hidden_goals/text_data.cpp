#include "eval/tasks/hidden_goals/text_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/encoding/upper_run.h"
#include "kernels/base/error.h"

namespace assay::eval::hidden_goals {
namespace {

constexpr int64_t kLensRows = 256;  // rows of logits held at once

void scale(std::vector<double>& values, double factor) {
  for (double& v : values) v *= factor;
}

}  // namespace

/// Some texts' rows with the codes of every dictionary.
struct AuditReader::Block {
  TextRows rows;
  std::vector<SparseCodes> codes;

  bool ordinary(int64_t row) const { return !rows.special[row]; }
  int64_t end(int64_t entry) const { return rows.start[entry] + rows.rows[entry]; }
  int64_t last(int64_t entry) const {
    int64_t row = end(entry) - 1;
    while (!ordinary(row)) --row;
    return row;
  }
  /// Adds the latents that are active on a row.
  void add_codes(size_t dictionary, int64_t row, double weight, double* sum) const {
    const SparseCodes& own = codes[dictionary];
    for (int64_t p = own.row_offsets[row]; p < own.row_offsets[row + 1]; ++p)
      sum[own.indices[p]] += weight * own.values[p];
  }
};

AuditReading less_mean(const AuditReading& a, const std::vector<const AuditReading*>& others) {
  AuditReading out = a;
  for (size_t part = 0; part < out.parts.size(); ++part)
    for (size_t i = 0; i < out.parts[part].size(); ++i) {
      double sum = 0;
      for (const AuditReading* other : others) sum += other->parts[part][i];
      out.parts[part][i] -= sum / static_cast<double>(others.size());
    }
  return out;
}

int64_t AuditConcepts::column(int32_t token) const {
  return std::lower_bound(tokens.begin(), tokens.end(), token) - tokens.begin();
}

AuditReader::AuditReader(Context& context, const data::Dataset& dataset, const TextTable& table,
                         const AuditPlan& plan, std::vector<const sae::Dictionary*> dictionaries,
                         const sae::WordHalf* words, int64_t exemplars)
    : context_(context),
      dataset_(dataset),
      table_(table),
      plan_(plan),
      dictionaries_(std::move(dictionaries)),
      words_(words) {
  const int64_t d = dataset.hook("activations").d;
  for (const sae::Dictionary* dictionary : dictionaries_)
    if (dictionary->info.d != d || dictionary->info.width() != d)
      throw Error(
          fmt::format("hidden_goals_text: a dictionary maps d = {} to {} but the activations have "
                      "d = {}: evaluate it "
                      "on the model and layer it was trained on",
                      dictionary->info.d, dictionary->info.width(), d));
  for (size_t row = 0; row < dataset.tokens().size(); ++row)
    if (!dataset.special()[row]) concepts_.tokens.push_back(dataset.tokens()[row]);
  std::sort(concepts_.tokens.begin(), concepts_.tokens.end());
  concepts_.tokens.erase(std::unique(concepts_.tokens.begin(), concepts_.tokens.end()),
                         concepts_.tokens.end());
  for (const int64_t text : plan.names) {
    int64_t row = table.first[text];
    while (dataset.special()[row]) ++row;
    concepts_.candidate.push_back(dataset.tokens()[row]);
    if (words_ &&
        (concepts_.candidate.back() < 0 || concepts_.candidate.back() >= words_->vocabulary()))
      throw Error(fmt::format("{}: row {}: token {} is outside the model's vocabulary of {}",
                              dataset.info().path.string(), row, concepts_.candidate.back(),
                              words_->vocabulary()));
  }
  read_concepts(exemplars);
}

AuditReader::Block AuditReader::read_block(const std::vector<int64_t>& texts, bool encode) const {
  Block block;
  block.rows = read_text_rows(dataset_, table_, texts);
  for (const sae::Dictionary* dictionary : dictionaries_)
    if (encode) block.codes.push_back(dictionary->encode(context_, block.rows.all()));
  return block;
}

void AuditReader::read_concepts(int64_t exemplars) {
  std::vector<int64_t> texts;
  std::vector<std::pair<int64_t, int32_t>> owner;  // (text, candidate), in the rows' order
  for (size_t c = 0; c < plan_.concepts.size(); ++c)
    for (const int64_t text : plan_.concepts[c]) owner.emplace_back(text, static_cast<int32_t>(c));
  std::sort(owner.begin(), owner.end());
  std::vector<int32_t> of_entry;
  for (const auto& [text, candidate] : owner) {
    texts.push_back(text);
    of_entry.push_back(candidate);
  }
  const Block block = read_block(texts, true);
  const auto classes = plan_.candidates.size(), d = static_cast<size_t>(block.rows.d),
             v = concepts_.tokens.size();
  std::vector<double> sums(classes * d), counts(classes), squares(d), words(classes * v);
  for (int64_t e = 0; e < block.rows.size(); ++e)
    for (int64_t row = block.rows.start[e]; row < block.end(e); ++row) {
      if (!block.ordinary(row)) continue;
      const float* x = block.rows.all().row(row);
      const auto c = static_cast<size_t>(of_entry[e]);
      double square = 0;
      for (size_t j = 0; j < d; ++j) {
        sums[c * d + j] += x[j];
        squares[j] += double(x[j]) * x[j];
        square += double(x[j]) * x[j];
      }
      counts[c] += 1;
      words[c * v + concepts_.column(block.rows.tokens[row])] += 1;
      concepts_.norm += std::sqrt(square);
    }
  const double all = std::accumulate(counts.begin(), counts.end(), 0.0);
  concepts_.norm /= all;
  concepts_.difference.resize(classes * d);
  concepts_.sd.resize(d);
  for (size_t j = 0; j < d; ++j) {
    double total = 0;
    for (size_t c = 0; c < classes; ++c) total += sums[c * d + j];
    const double variance = squares[j] / all - (total / all) * (total / all);
    concepts_.sd[j] = variance > 1e-12 ? std::sqrt(variance) : 1;
    for (size_t c = 0; c < classes; ++c)
      concepts_.difference[c * d + j] =
          (sums[c * d + j] / counts[c] - (total - sums[c * d + j]) / (all - counts[c])) /
          concepts_.sd[j];
  }
  for (size_t c = 0; c < classes; ++c) {
    double norm = 0;
    for (size_t j = 0; j < d; ++j)
      norm += concepts_.difference[c * d + j] * concepts_.difference[c * d + j];
    for (size_t j = 0; j < d && norm > 0; ++j) concepts_.difference[c * d + j] /= std::sqrt(norm);
  }
  concepts_.word_odds.resize(classes * v);
  for (size_t w = 0; w < v; ++w) {
    double total = 0;
    for (size_t c = 0; c < classes; ++c) total += words[c * v + w];
    for (size_t c = 0; c < classes; ++c)
      concepts_.word_odds[c * v + w] =
          std::log((words[c * v + w] + .5) / (counts[c] + .5 * static_cast<double>(v))) -
          std::log((total + .5) / (all + .5 * static_cast<double>(v)));
  }
  set_exemplars(block, of_entry, exemplars);
}

void AuditReader::set_exemplars(const Block& block, const std::vector<int32_t>& of_entry,
                                int64_t exemplars) {
  for (size_t k = 0; k < dictionaries_.size(); ++k) {
    const auto n = static_cast<size_t>(dictionaries_[k]->info.n);
    std::vector<std::vector<std::pair<float, int64_t>>> best(n);  // (−value, entry)
    const SparseCodes& codes = block.codes[k];
    for (int64_t e = 0; e < block.rows.size(); ++e)
      for (int64_t row = block.rows.start[e]; row < block.end(e); ++row) {
        if (!block.ordinary(row)) continue;
        for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
          auto& own = best[static_cast<size_t>(codes.indices[p])];
          if (!(codes.values[p] > 0)) continue;
          if (own.empty() || own.back().second != e)
            own.emplace_back(-codes.values[p], e);
          else
            own.back().first = std::min(own.back().first, -codes.values[p]);
        }
      }
    auto& lists = concepts_.exemplars.emplace_back(n);
    for (size_t j = 0; j < n; ++j) {
      std::sort(best[j].begin(), best[j].end());
      for (size_t i = 0; i < best[j].size() && static_cast<int64_t>(i) < exemplars; ++i)
        lists[j].push_back(of_entry[best[j][i].second]);
    }
  }
}

void AuditReader::add_rows(const Block& block, AuditReading& reading) const {
  const auto d = static_cast<size_t>(block.rows.d);
  double ordinary = 0;
  for (int64_t e = 0; e < block.rows.size(); ++e)
    for (int64_t row = block.rows.start[e]; row < block.end(e); ++row)
      ordinary += block.ordinary(row);
  reading.parts[AuditReading::kMeans].assign(2 * d, 0);
  for (const sae::Dictionary* dictionary : dictionaries_)
    reading.parts.emplace_back(static_cast<size_t>(2 * dictionary->info.n));
  const auto add = [&](int64_t row, size_t which, double weight) {
    const float* x = block.rows.all().row(row);
    for (size_t j = 0; j < d; ++j)
      reading.parts[AuditReading::kMeans][which * d + j] += weight * x[j];
    for (size_t k = 0; k < dictionaries_.size(); ++k)
      block.add_codes(k, row, weight,
                      reading.parts[AuditReading::kCodes + k].data() +
                          which * static_cast<size_t>(dictionaries_[k]->info.n));
  };
  for (int64_t e = 0; e < block.rows.size(); ++e) {
    for (int64_t row = block.rows.start[e]; row < block.end(e); ++row)
      if (block.ordinary(row)) add(row, 0, 1 / ordinary);
    add(block.last(e), 1, 1 / static_cast<double>(block.rows.size()));
  }
}

void AuditReader::add_after(const Block& block, AuditReading& reading) const {
  const auto d = static_cast<size_t>(block.rows.d), v = concepts_.tokens.size();
  auto& after = reading.parts[AuditReading::kAfter];
  auto& words = reading.parts[AuditReading::kWordsAfter];
  after.assign(plan_.candidates.size() * d, 0);
  words.assign(plan_.candidates.size() * v, 0);
  for (size_t c = 0; c < plan_.candidates.size(); ++c) {
    double rows = 0, behind = 0;
    std::vector<double> sum(d), count(v);
    for (int64_t e = 0; e < block.rows.size(); ++e) {
      bool seen = false;
      for (int64_t row = block.rows.start[e]; row < block.end(e); ++row) {
        if (!block.ordinary(row)) continue;
        if (seen) count[static_cast<size_t>(concepts_.column(block.rows.tokens[row]))] += 1;
        behind += seen;
        seen = seen || block.rows.tokens[row] == concepts_.candidate[c];
        for (size_t j = 0; seen && j < d; ++j) sum[j] += block.rows.all().row(row)[j];
        rows += seen;
      }
    }
    for (size_t j = 0; rows > 0 && j < d; ++j) after[c * d + j] = sum[j] / rows;
    for (size_t w = 0; behind > 0 && w < v; ++w) words[c * v + w] = count[w] / behind;
  }
}

void AuditReader::add_lens(const Block& block, AuditReading& reading) const {
  const size_t classes = plan_.candidates.size();
  const int64_t vocabulary = words_->vocabulary(), d = block.rows.d, rows = block.rows.all_rows();
  std::vector<double> log_p(static_cast<size_t>(rows) * classes);
  context_.pool().run((rows + kLensRows - 1) / kLensRows, [&](int64_t b, int) {
    const int64_t first = b * kLensRows, count = std::min(kLensRows, rows - first);
    std::vector<float> logits(static_cast<size_t>(count * vocabulary));
    words_->lens(block.rows.x.data() + first * d, count, logits.data());
    for (int64_t i = 0; i < count; ++i) {
      const float* own = logits.data() + i * vocabulary;
      const double top = *std::max_element(own, own + vocabulary);
      double sum = 0;
      for (int64_t w = 0; w < vocabulary; ++w) sum += std::exp(own[w] - top);
      for (size_t c = 0; c < classes; ++c)
        log_p[static_cast<size_t>(first + i) * classes + c] =
            own[concepts_.candidate[c]] - top - std::log(sum);
    }
  });
  auto& lens = reading.parts[AuditReading::kLens];
  lens.assign(2 * classes, 0);
  double ordinary = 0;
  for (int64_t e = 0; e < block.rows.size(); ++e)
    for (int64_t row = block.rows.start[e]; row < block.end(e); ++row)
      for (size_t c = 0; block.ordinary(row) && c < classes; ++c) {
        lens[c] += log_p[static_cast<size_t>(row) * classes + c];
        ordinary += c == 0;
        if (row == block.last(e))
          lens[classes + c] += log_p[static_cast<size_t>(row) * classes + c] /
                               static_cast<double>(block.rows.size());
      }
  for (size_t c = 0; c < classes; ++c) lens[c] /= ordinary;
}

std::vector<double> AuditReader::shares(const Block& block, int64_t first_entry,
                                        int64_t entries) const {
  std::vector<double> count(concepts_.tokens.size());
  double all = 0;
  for (int64_t e = first_entry; e < first_entry + entries; ++e)
    for (int64_t row = block.rows.start[e]; row < block.end(e); ++row) {
      if (!block.ordinary(row)) continue;
      count[static_cast<size_t>(concepts_.column(block.rows.tokens[row]))] += 1;
      all += 1;
    }
  scale(count, 1 / all);
  return count;
}

AuditReading AuditReader::read(size_t organism) const {
  AuditReading reading;
  reading.parts.resize(AuditReading::kCodes);
  const Block block = read_block(plan_.audit[organism], true);
  add_rows(block, reading);
  add_after(block, reading);
  if (words_) add_lens(block, reading);
  reading.parts[AuditReading::kWords] = shares(block, 0, block.rows.size());
  for (const std::vector<int64_t>& texts : plan_.query[organism]) {
    const Block asked = read_block(texts, false);
    const std::vector<double> own = shares(asked, 0, asked.rows.size());
    auto& query = reading.parts[AuditReading::kQuery];
    query.insert(query.end(), own.begin(), own.end());
  }
  return reading;
}

}  // namespace assay::eval::hidden_goals
