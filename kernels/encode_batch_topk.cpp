#include "kernels/encode_batch_topk.h"

#include <fmt/core.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <numeric>
#include <vector>

#include "kernels/base/error.h"

namespace assay {

namespace {

class BatchSearch {
 public:
  BatchSearch(Context& context, ConstMatrix x, const Encoder& encoder, int64_t budget,
              NumericFlag& flag)
      : context_(context), x_(x), encoder_(encoder), budget_(budget), flag_(flag), found_(x.rows) {}

  void run(SparseCodes& out) {
    const int64_t n = encoder_.w.rows;
    std::vector<int64_t> rows(x_.rows);
    std::iota(rows.begin(), rows.end(), 0);
    float bar = 0;
    for (int64_t k = std::min(n, 2 * ((budget_ + x_.rows - 1) / x_.rows)); !rows.empty();
         k = std::min(n, 2 * k)) {
      search(rows, k);
      if (flag_.raised()) return;
      bar = cut();
      if (k == n) break;
      rows = above_throughout(bar);
    }
    choose(bar, out);
  }

 private:
  /// The best of a row so far: a row of one round's codes.
  struct Found {
    const SparseCodes* codes;
    int64_t row;
  };

  float rank(int32_t index, float value) const {
    const float positive = std::max(value, 0.0f);
    return encoder_.rank_scale != nullptr ? positive * encoder_.rank_scale[index] : positive;
  }

  template <class Body>
  void visit(int64_t row, const Body& body) const {
    const auto& [codes, at] = found_[row];
    for (int64_t p = codes->row_offsets[at]; p < codes->row_offsets[at + 1]; ++p) {
      body(codes->indices[p], codes->values[p], rank(codes->indices[p], codes->values[p]));
    }
  }

  /// The k best of `rows`.
  void search(const std::vector<int64_t>& rows, int64_t k) {
    const int64_t d = x_.cols, count = static_cast<int64_t>(rows.size());
    rounds_.emplace_back();
    if (count == x_.rows) {
      encode_topk(context_, x_, encoder_, k, rounds_.back(), flag_);
    } else {
      std::vector<float> x(count * d);
      for (int64_t r = 0; r < count; ++r) std::copy_n(x_.row(rows[r]), d, x.data() + r * d);
      encode_topk(context_, {x.data(), count, d}, encoder_, k, rounds_.back(), flag_);
    }
    for (int64_t r = 0; r < count; ++r) found_[rows[r]] = {&rounds_.back(), r};
  }

  /// The budget-th largest rank, or 0 where fewer are positive.
  float cut() {
    ranks_.clear();
    for (int64_t i = 0; i < x_.rows; ++i) {
      visit(i, [&](int32_t, float, float r) {
        if (r > 0) ranks_.push_back(r);
      });
    }
    if (static_cast<int64_t>(ranks_.size()) < budget_) return 0;
    std::nth_element(ranks_.begin(), ranks_.begin() + (budget_ - 1), ranks_.end(),
                     std::greater<>());
    return ranks_[budget_ - 1];
  }

  /// Rows whose every listed pair could be chosen: others of theirs might, too.
  std::vector<int64_t> above_throughout(float bar) const {
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < x_.rows; ++i) {
      bool all = true;
      visit(i, [&](int32_t, float, float r) { all = all && r > 0 && r >= bar; });
      if (all) rows.push_back(i);
    }
    return rows;
  }

  void choose(float bar, SparseCodes& out) {
    int64_t ties =
        budget_ - std::count_if(ranks_.begin(), ranks_.end(), [bar](float r) { return r > bar; });
    for (int64_t i = 0; i < x_.rows; ++i) {
      visit(i, [&](int32_t index, float value, float r) {
        if (!(r > 0) || r < bar || (r == bar && ties-- <= 0)) return;
        out.indices.push_back(index);
        out.values.push_back(value);
      });
      out.row_offsets[i + 1] = static_cast<int64_t>(out.indices.size());
    }
  }

  Context& context_;
  ConstMatrix x_;
  const Encoder& encoder_;
  int64_t budget_;
  NumericFlag& flag_;
  std::deque<SparseCodes> rounds_;
  std::vector<Found> found_;
  std::vector<float> ranks_;
};

}  // namespace

void encode_batch_topk(Context& context, ConstMatrix x, const Encoder& encoder, int64_t budget,
                       SparseCodes& out, NumericFlag& flag) {
  check_encoder("encode_batch_topk", x, encoder);
  if (budget < 1 || budget > x.rows * encoder.w.rows) {
    throw UsageError(fmt::format("encode_batch_topk: a budget of {} is outside 1…B·n = {}", budget,
                                 x.rows * encoder.w.rows));
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
