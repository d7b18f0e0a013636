#include "kernels/encode_batch_topk.h"

#include <fmt/core.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "kernels/encode_threshold.h"
#include "kernels/error.h"

namespace assay {

namespace {

class BatchSearch {
 public:
  BatchSearch(Context& context, ConstMatrix x, const Encoder& encoder, int64_t budget, NumericFlag& flag)
      : context_(context), x_(x), encoder_(encoder), budget_(budget), flag_(flag) {}

  void run(SparseCodes& out) {
    const int64_t k = std::min(encoder_.w.rows, 2 * ((budget_ + x_.rows - 1) / x_.rows));
    SparseCodes best, more;
    encode_topk(context_, x_, encoder_, k, best, flag_);
    if (flag_.raised()) return;
    const float bar = cut({&best});
    const std::vector<int64_t> saturated = above_throughout(best, bar);
    if (!saturated.empty()) search_in_full(saturated, bar, more);
    choose(best, more, saturated, out);
  }

 private:
  float rank(int32_t index, float value) const {
    const float positive = std::max(value, 0.0f);
    return encoder_.rank_scale != nullptr ? positive * encoder_.rank_scale[index] : positive;
  }

  /// The budget-th largest rank, or 0 where fewer are positive.
  float cut(const std::vector<const SparseCodes*>& all) {
    ranks_.clear();
    for (const SparseCodes* codes : all) {
      for (int64_t p = 0; p < codes->pairs(); ++p) {
        const float r = rank(codes->indices[p], codes->values[p]);
        if (r > 0) ranks_.push_back(r);
      }
    }
    if (static_cast<int64_t>(ranks_.size()) < budget_) return 0;
    std::nth_element(ranks_.begin(), ranks_.begin() + (budget_ - 1), ranks_.end(), std::greater<>());
    return ranks_[budget_ - 1];
  }

  /// Rows whose every listed pair could be chosen: others of theirs might, too.
  std::vector<int64_t> above_throughout(const SparseCodes& best, float bar) const {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < best.rows(); ++i) {
      const int64_t first = best.row_offsets[i], end = best.row_offsets[i + 1];
      bool all = end - first < encoder_.w.rows;
      for (int64_t p = first; all && p < end; ++p) {
        const float r = rank(best.indices[p], best.values[p]);
        all = r > 0 && r >= bar;
      }
      if (all) rows.push_back(i);
    }
    return rows;
  }

  void search_in_full(const std::vector<int64_t>& rows, float bar, SparseCodes& more) {
    const int64_t d = x_.cols;
    std::vector<float> x(rows.size() * d), theta(encoder_.w.rows, bar);
    for (size_t r = 0; r < rows.size(); ++r) std::copy_n(x_.row(rows[r]), d, x.data() + r * d);
    for (int64_t j = 0; j < encoder_.w.rows; ++j) {
      if (encoder_.rank_scale != nullptr) theta[j] /= encoder_.rank_scale[j];
      theta[j] *= 1 - 0x1p-20f;  // below the bar after every rounding: ties are decided by rank, later
    }
    encode_threshold(context_, {x.data(), static_cast<int64_t>(rows.size()), d}, encoder_, theta.data(), 0, more,
                     nullptr, flag_);
  }

  /// Rows of `best`, but those searched in full from `more`.
  void choose(SparseCodes& best, const SparseCodes& more, const std::vector<int64_t>& full, SparseCodes& out) {
    for (const int64_t i : full) {  // counted once, in `more`
      std::fill(best.values.begin() + best.row_offsets[i], best.values.begin() + best.row_offsets[i + 1], 0.0f);
    }
    const float bar = cut({&best, &more});
    int64_t ties = budget_ - std::count_if(ranks_.begin(), ranks_.end(), [bar](float r) { return r > bar; });
    size_t next = 0;
    for (int64_t i = 0; i < best.rows(); ++i) {
      const bool whole = next < full.size() && full[next] == i;
      const SparseCodes& from = whole ? more : best;
      const int64_t row = whole ? static_cast<int64_t>(next++) : i;
      for (int64_t p = from.row_offsets[row]; p < from.row_offsets[row + 1]; ++p) {
        const float r = rank(from.indices[p], from.values[p]);
        if (!(r > 0) || r < bar || (r == bar && ties-- <= 0)) continue;
        out.indices.push_back(from.indices[p]);
        out.values.push_back(from.values[p]);
      }
      out.row_offsets[i + 1] = static_cast<int64_t>(out.indices.size());
    }
  }

  Context& context_;
  ConstMatrix x_;
  const Encoder& encoder_;
  int64_t budget_;
  NumericFlag& flag_;
  std::vector<float> ranks_;
};

}  // namespace

void encode_batch_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t budget, SparseCodes& out,
                       NumericFlag& flag) {
  check_encoder("encode_batch_topk", x, encoder);
  if (budget < 1 || budget > x.rows * encoder.w.rows) {
    throw UsageError(
        fmt::format("encode_batch_topk: a budget of {} is outside 1…B·n = {}", budget, x.rows * encoder.w.rows));
  }
  out.indices.clear();
  out.values.clear();
  out.row_offsets.assign(x.rows + 1, 0);
  BatchSearch(context, x, encoder, budget, flag).run(out);
  if (!flag.raised()) return;
  out.indices.clear();
  out.values.clear();
  out.row_offsets.assign(x.rows + 1, 0);
}

}  // namespace assay
