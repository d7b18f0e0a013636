#include "eval/encoding/token_store.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/encoding/row_gather.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

constexpr int64_t kBlock = 4096;

void append(const SparseCodes& block, SparseCodes& all) {
  const int64_t before = all.row_offsets.back();
  all.indices.insert(all.indices.end(), block.indices.begin(), block.indices.end());
  all.values.insert(all.values.end(), block.values.begin(), block.values.end());
  for (int64_t i = 1; i <= block.rows(); ++i)
    all.row_offsets.push_back(before + block.row_offsets[i]);
}

}  // namespace

TokenStore::TokenStore(Context& context, const data::Dataset& dataset, const TextTable& table,
                       std::span<const sae::Dictionary* const> dictionaries,
                       std::vector<int64_t> texts, int64_t longest)
    : d_(dataset.hook("activations").d), codes_(dictionaries.size()), texts_(std::move(texts)) {
  std::sort(texts_.begin(), texts_.end());
  texts_.erase(std::unique(texts_.begin(), texts_.end()), texts_.end());
  const auto& left_out = dataset.left_out();
  std::vector<uint8_t> wanted(left_out.size());
  for (const int64_t t : texts_) {
    int64_t taken = 0;
    for (int64_t row = table.first[t]; row < table.first[t] + table.rows[t]; ++row) {
      if (left_out[row] || taken == longest) continue;
      wanted[row] = 1;
      ++taken;
    }
    start_.push_back(start_.back() + taken);
  }
  // Texts ascend as their rows do, so tokens come in the order of slots.
  gather_rows(dataset, wanted, kBlock, [&](std::span<const int64_t>, ConstMatrix x) {
    for (int64_t i = 0; i < x.rows; ++i) x_.insert(x_.end(), x.row(i), x.row(i) + d_);
    for (size_t k = 0; k < codes_.size(); ++k)
      append(dictionaries[k]->encode(context, x), codes_[k]);
  });
}

std::pair<int64_t, int64_t> TokenStore::tokens_of(int64_t text) const {
  const auto found = std::lower_bound(texts_.begin(), texts_.end(), text);
  if (found == texts_.end() || *found != text)
    throw Error(fmt::format("text {} is not in the token store", text));
  const int64_t slot = found - texts_.begin();
  return {start_[slot], start_[slot + 1]};
}

TextTokens TokenStore::dense(const std::vector<int64_t>& texts) const {
  TextTokens out{.features = d_, .dense = {}, .sparse = {}};
  for (const int64_t t : texts) {
    const auto [first, last] = tokens_of(t);
    out.dense.insert(out.dense.end(), x_.begin() + first * d_, x_.begin() + last * d_);
    out.start.push_back(out.start.back() + last - first);
  }
  return out;
}

std::vector<int32_t> TokenStore::active(size_t dictionary,
                                        const std::vector<int64_t>& texts) const {
  const SparseCodes& codes = codes_[dictionary];
  std::vector<int32_t> latents;
  for (const int64_t t : texts) {
    const auto [first, last] = tokens_of(t);
    for (int64_t p = codes.row_offsets[first]; p < codes.row_offsets[last]; ++p)
      if (codes.values[p] > 0) latents.push_back(codes.indices[p]);
  }
  std::sort(latents.begin(), latents.end());
  latents.erase(std::unique(latents.begin(), latents.end()), latents.end());
  return latents;
}

TextTokens TokenStore::latents(size_t dictionary, const std::vector<int64_t>& texts,
                               const std::vector<int32_t>& chosen) const {
  const SparseCodes& codes = codes_[dictionary];
  TextTokens out{.features = std::ssize(chosen), .dense = {}, .sparse = {}};
  for (const int64_t t : texts) {
    const auto [first, last] = tokens_of(t);
    for (int64_t row = first; row < last; ++row) {
      for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
        const auto at = std::lower_bound(chosen.begin(), chosen.end(), codes.indices[p]);
        if (at == chosen.end() || *at != codes.indices[p] || codes.values[p] <= 0) continue;
        out.sparse.indices.push_back(static_cast<int32_t>(at - chosen.begin()));
        out.sparse.values.push_back(codes.values[p]);
      }
      out.sparse.row_offsets.push_back(std::ssize(out.sparse.indices));
    }
    out.start.push_back(out.start.back() + last - first);
  }
  return out;
}

}  // namespace assay::eval
