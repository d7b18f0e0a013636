#include "eval/encoding/statistics_sample.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>
#include <unordered_map>
#include <unordered_set>

#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval {
namespace {

constexpr uint64_t kTrainSampleSeed = 0x7472'6169'6e73'6d70;

struct DocumentTokens {
  int64_t document = 0;
  int32_t file = 0;  // of its first row
  uint64_t key = 0;  // its place in the random order
  int64_t tokens = 0;
};

/// Of a part, file by file, each file's documents in their random order.
std::vector<DocumentTokens> documents_of(const data::Dataset& dataset,
                                         const std::vector<uint8_t>& parts, SamplePart part,
                                         uint64_t seed) {
  const auto& document = dataset.document();
  std::vector<DocumentTokens> found;
  std::unordered_map<int64_t, size_t> place;
  for (const data::ChunkInfo& chunk : dataset.chunks())
    for (int64_t row = chunk.first; row < chunk.first + chunk.rows; ++row) {
      if (parts[row] != part) continue;
      const auto [at, fresh] = place.emplace(document[row], found.size());
      if (fresh)
        found.push_back({document[row], chunk.file,
                         derive_seed(seed, {part, static_cast<uint64_t>(document[row])}), 0});
      ++found[at->second].tokens;
    }
  std::sort(found.begin(), found.end(), [](const DocumentTokens& a, const DocumentTokens& b) {
    return std::tie(a.file, a.key, a.document) < std::tie(b.file, b.key, b.document);
  });
  return found;
}

int64_t sum_tokens(const std::vector<DocumentTokens>& documents) {
  int64_t sum = 0;
  for (const DocumentTokens& d : documents) sum += d.tokens;
  return sum;
}

/// At most `most` tokens of whole documents, the same share of every file's.
std::vector<DocumentTokens> take_share(const std::vector<DocumentTokens>& all, int64_t most) {
  const int64_t total = sum_tokens(all);
  if (total <= most) return all;
  std::vector<DocumentTokens> kept;
  int64_t passed = 0, taken = 0;  // tokens of the files so far, and those of them that are kept
  for (auto begin = all.begin(); begin != all.end();) {
    const auto end = std::find_if(begin, all.end(),
                                  [&](const DocumentTokens& d) { return d.file != begin->file; });
    passed += sum_tokens({begin, end});
    const auto quota = static_cast<int64_t>(
        static_cast<double>(most) * static_cast<double>(passed) / static_cast<double>(total));
    for (auto d = begin; d != end && taken + d->tokens <= quota; ++d) {
      kept.push_back(*d);
      taken += d->tokens;
    }
    begin = end;
  }
  if (kept.empty())
    kept.push_back(*std::min_element(
        all.begin(), all.end(),
        [](const DocumentTokens& a, const DocumentTokens& b) { return a.key < b.key; }));
  return kept;
}

/// [rows] by split and, for train, by the hash that makes it as large as validation; and how many
/// tokens either split has.
std::vector<uint8_t> split_rows(const data::Dataset& dataset, const data::SplitRule& rule,
                                int64_t& validation, int64_t& train) {
  const auto& document = dataset.document();
  const auto& left_out = dataset.left_out();
  std::vector<uint8_t> part(document.size(), kNoPart);
  for (size_t row = 0; row < part.size(); ++row) {
    if (left_out[row]) continue;
    const data::Split split = data::split_of(document[row], rule);
    part[row] = split == data::Split::validation ? kValidationPart
                : split == data::Split::train    ? kTrainPart
                                                 : kNoPart;
    validation += part[row] == kValidationPart;
    train += part[row] == kTrainPart;
  }
  const double share =
      train > validation ? static_cast<double>(validation) / static_cast<double>(train) : 1.0;
  const data::SplitRule sample{share, 0, rule.seed ^ kTrainSampleSeed};
  for (size_t row = 0; row < part.size(); ++row)
    if (part[row] == kTrainPart && data::split_of(document[row], sample) != data::Split::validation)
      part[row] = kNoPart;
  return part;
}

}  // namespace

StatisticsSample sample_statistics(const data::Dataset& dataset, const data::SplitRule& rule,
                                   const StatisticsRequest& request) {
  StatisticsSample sample;
  sample.part = split_rows(dataset, rule, sample.validation.of, sample.train.of);
  if (sample.validation.of == 0)
    throw Error(
        fmt::format("{}: no document falls into the validation split (share {}, seed {}): raise "
                    "data.validation, or evaluate on data with more documents",
                    dataset.info().path.string(), rule.validation, rule.seed));
  std::unordered_set<int64_t> kept;
  for (const auto& [part, out] :
       {std::pair(kValidationPart, &sample.validation), std::pair(kTrainPart, &sample.train)})
    for (const DocumentTokens& d :
         take_share(documents_of(dataset, sample.part, part, request.seed), request.tokens)) {
      out->documents.push_back(d.document);
      out->tokens += d.tokens;
      kept.insert(d.document);
    }
  for (size_t row = 0; row < sample.part.size(); ++row)
    if (sample.part[row] && !kept.contains(dataset.document()[row])) sample.part[row] = kNoPart;
  for (SampledPart* part : {&sample.validation, &sample.train})
    std::sort(part->documents.begin(), part->documents.end());
  return sample;
}

}  // namespace assay::eval
