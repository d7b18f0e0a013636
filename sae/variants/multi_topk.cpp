// Multi-TopK (Gao et al. 2024, section 5.3): L(k) + L(4k)/8. Codes are read at any k up to 4k
// without the collapse that training at one k brings. Everything else is TopK's, AuxK on the
// residual of k.
#include <algorithm>
#include <numeric>

#include "kernels/encode_topk.h"
#include "sae/variants/variants.h"

namespace assay::sae {

namespace {

class MultiTopK : public Variant {
 public:
  explicit MultiTopK(const VariantOptions& options) : Variant(options) {
    weights_ = {1, 1.0 / 8};
    reported_ = 0;
  }

  int64_t pairs_a_row() const override {
    return std::min(4 * options_.model.row_k(), options_.model.n);
  }

 protected:
  void encode(Context& context, State& state, NumericFlag& flag) override {
    encode_topk(context, centred(), encoder(state), pairs_a_row(), codes_, flag);
  }

  /// The k best of a row, then the others.
  void split() override {
    const SparseCodes whole = std::move(codes_);
    SparseCodes best, others;
    std::vector<int64_t> order;
    std::vector<char> chosen;
    for (int64_t i = 0; i < whole.rows(); ++i) {
      const int64_t first = whole.row_offsets[i], count = whole.row_offsets[i + 1] - first;
      order.resize(count);
      std::iota(order.begin(), order.end(), first);
      std::nth_element(
          order.begin(), order.begin() + (options_.model.row_k() - 1), order.end(),
          [&](int64_t a, int64_t b) {
            return whole.values[a] != whole.values[b] ? whole.values[a] > whole.values[b] : a < b;
          });
      chosen.assign(count, 0);
      for (int64_t o = 0; o < options_.model.row_k(); ++o) chosen[order[o] - first] = 1;
      for (int64_t p = first; p < first + count; ++p) {
        SparseCodes& out = chosen[p - first] ? best : others;
        out.indices.push_back(whole.indices[p]);
        out.values.push_back(std::max(whole.values[p], 0.0f));
      }
      best.row_offsets.push_back(static_cast<int64_t>(best.indices.size()));
      others.row_offsets.push_back(static_cast<int64_t>(others.indices.size()));
    }
    codes_ = std::move(best);
    append_rows(others);
  }
};

}  // namespace

const VariantEntry kMultiTopK{
    .name = "multi_topk",
    .make = make_as<MultiTopK>,
    .learning_rate = topk_learning_rate,
    .freezes = true,
};

}  // namespace assay::sae
