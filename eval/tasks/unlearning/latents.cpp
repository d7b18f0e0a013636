// Clamping latents: the dictionary's way of hiding a class, its gates, and its control: other
// latents, matched in number, rate and norm.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <span>

#include "eval/learners/probes.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/unlearning/methods.h"

namespace assay::eval::unlearning {
namespace {

/// Share of retained texts that a gate may let through on the estimate part.
constexpr double kGateFalsePositives = 0.05;

enum class Choice { selected, random };
enum class GateKind { none, own, lda };

std::span<const float> decoder_row(const sae::Dictionary& dictionary, int64_t latent) {
  return {dictionary.w_dec.data() + latent * dictionary.info.d,
          static_cast<size_t>(dictionary.info.d)};
}

double norm_of(std::span<const float> row) {
  double squares = 0;
  for (const float value : row) squares += double(value) * value;
  return std::sqrt(squares);
}

class LatentMethod : public UnlearningMethod {
 public:
  LatentMethod(std::string name, const sae::Dictionary& dictionary, size_t index, Choice choice,
               GateKind gate, LatentGrid grid)
      : UnlearningMethod(std::move(name), index, gate != GateKind::none),
        source_(dictionary),
        choice_(choice),
        gate_(gate),
        grid_(std::move(grid)) {
    std::sort(grid_.latents.begin(), grid_.latents.end());
    std::sort(grid_.clamps.begin(), grid_.clamps.end());
    for (const int64_t m : grid_.latents)
      for (const int64_t c : grid_.clamps)
        settings_.push_back(fmt::format("m={} c={}{}", m, c, grid_.norm ? "%" : ""));
    const size_t clamps = grid_.clamps.size(), last = (grid_.latents.size() - 1) * clamps;
    for (size_t c = 0; c < clamps; ++c) {
      Line line{{}, clamps > 1 && c + 1 == clamps};
      for (size_t m = 0; m < last; m += clamps) line.settings.push_back(m + c);
      for (size_t stronger = c; stronger < clamps; ++stronger)
        line.settings.push_back(last + stronger);
      lines_.push_back(std::move(line));
    }
  }

  void fit(const UnlearningCorpus& corpus, const EstimateSet& set, const std::vector<size_t>& which,
           const Visit& visit) const override {
    const size_t index = *dictionary();
    const LatentRates rates = latent_rates(corpus, index, source_.info.n, set);
    std::vector<int64_t> ranked = select_latents(rates, grid_.latents.back());
    if (choice_ == Choice::random)
      ranked = matched_latents(token_weights(source_, rates), ranked, set.seed);
    std::shared_ptr<const Gate> lda;
    if (gate_ == GateKind::lda)
      lda = std::make_shared<Gate>(make_gate(fit_lda(set.pooled.view(), set.labels),
                                             set.pooled.view(), set.labels, kGateFalsePositives));
    for (const size_t setting : which) {
      const LatentTargets targets = targets_of(rates, ranked, setting);
      std::unique_ptr<Edit> edit = clamp_edit(source_, index, targets);
      if (gate_ == GateKind::lda) edit = gated_edit(std::move(edit), lda);
      if (gate_ == GateKind::own)
        edit = latent_gated_edit(std::move(edit), index, targets.chosen,
                                 own_threshold(corpus, index, set, targets.chosen));
      visit(setting, *edit);
    }
  }

  std::map<int64_t, MatchQuality> match(const UnlearningCorpus& corpus,
                                        const EstimateSet& set) const override {
    std::map<int64_t, MatchQuality> result;
    if (choice_ != Choice::random) return result;
    const LatentRates rates = latent_rates(corpus, *dictionary(), source_.info.n, set);
    const std::vector<LatentWeight> weights = token_weights(source_, rates);
    const std::vector<int64_t> ranked = select_latents(rates, grid_.latents.back());
    const std::vector<int64_t> partners = matched_latents(weights, ranked, set.seed);
    for (const int64_t m : grid_.latents) {
      const auto count = static_cast<size_t>(std::min<int64_t>(m, std::ssize(ranked)));
      result[m].add(weights, std::span(ranked).first(count), std::span(partners).first(count));
    }
    return result;
  }

 private:
  LatentTargets targets_of(const LatentRates& rates, const std::vector<int64_t>& ranked,
                           size_t setting) const {
    const int64_t m = grid_.latents[setting / grid_.clamps.size()];
    const double c = static_cast<double>(grid_.clamps[setting % grid_.clamps.size()]);
    LatentTargets targets{std::vector<uint8_t>(rates.overall.size()),
                          std::vector<float>(rates.overall.size())};
    for (int64_t i = 0; i < std::min<int64_t>(m, std::ssize(ranked)); ++i) {
      if (ranked[i] == kUnmatched) continue;
      targets.chosen[ranked[i]] = 1;
      targets.target[ranked[i]] = static_cast<float>(-c * unit(rates, ranked[i]));
    }
    return targets;
  }

  /// What a clamp of 1 stands for.
  double unit(const LatentRates& rates, int64_t latent) const {
    if (!grid_.norm) return rates.mean_active[latent];
    const double norm = norm_of(decoder_row(source_, latent));
    return norm > 0 ? *grid_.norm / 100 / norm : 0;
  }

  static double own_threshold(const UnlearningCorpus& corpus, size_t index, const EstimateSet& set,
                              const std::vector<uint8_t>& chosen) {
    std::vector<double> retained;
    for (size_t i = 0; i < set.entries.size(); ++i)
      if (!set.labels[i]) retained.push_back(active_share(corpus, index, set.entries[i], chosen));
    return quantile(std::move(retained), 1 - kGateFalsePositives);
  }

  const sae::Dictionary& source_;
  Choice choice_;
  GateKind gate_;
  LatentGrid grid_;
};

}  // namespace

LatentRates latent_rates(const UnlearningCorpus& corpus, size_t index, int64_t latents,
                         const EstimateSet& set) {
  const SparseCodes& codes = corpus.codes[index];
  const size_t n = static_cast<size_t>(latents);
  LatentRates rates{std::vector<double>(n), std::vector<double>(n), std::vector<double>(n),
                    std::vector<double>(n)};
  double tokens[2] = {};
  for (size_t i = 0; i < set.entries.size(); ++i) {
    const int64_t entry = set.entries[i], start = corpus.rows.start[entry];
    std::vector<double>& fired = set.labels[i] ? rates.forget : rates.retain;
    for (int64_t row = start; row < start + corpus.rows.rows[entry]; ++row) {
      if (corpus.rows.special[row]) continue;
      tokens[set.labels[i]] += 1;
      for (int64_t p = codes.row_offsets[row]; p < codes.row_offsets[row + 1]; ++p) {
        if (!(codes.values[p] > 0)) continue;
        fired[codes.indices[p]] += 1;
        rates.mean_active[codes.indices[p]] += codes.values[p];
      }
    }
  }
  for (size_t j = 0; j < n; ++j) {
    const double fired = rates.forget[j] + rates.retain[j];
    rates.mean_active[j] = fired > 0 ? rates.mean_active[j] / fired : 0;
    rates.overall[j] = fired / (tokens[0] + tokens[1]);
    rates.forget[j] /= tokens[1];
    rates.retain[j] /= tokens[0];
  }
  return rates;
}

std::vector<int64_t> select_latents(const LatentRates& rates, int64_t m) {
  std::vector<double> score(rates.forget.size());
  for (size_t j = 0; j < score.size(); ++j) {
    const double f = rates.forget[j], r = rates.retain[j];
    score[j] = (f - r) / std::sqrt(f * (1 - f) + r * (1 - r) + 1e-3);
  }
  std::vector<int64_t> order(score.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return score[a] > score[b]; });
  order.resize(static_cast<size_t>(std::min<int64_t>(m, std::ssize(order))));
  return order;
}

std::vector<LatentWeight> token_weights(const sae::Dictionary& dictionary,
                                        const LatentRates& rates) {
  std::vector<LatentWeight> weights;
  for (size_t j = 0; j < rates.overall.size(); ++j)
    weights.push_back(latent_weight(rates.overall[j], rates.mean_active[j],
                                    decoder_row(dictionary, static_cast<int64_t>(j))));
  return weights;
}

void add_latent_methods(const sae::Dictionary& dictionary, size_t index, bool trained,
                        const LatentGrid& grid, UnlearningMethods& methods) {
  const auto add = [&](const char* name, Choice choice, GateKind gate) {
    methods.push_back(std::make_unique<LatentMethod>(name, dictionary, index, choice, gate, grid));
  };
  add("latents", Choice::selected, GateKind::none);
  add("latents_gated", Choice::selected, GateKind::own);
  add("latents_lda_gated", Choice::selected, GateKind::lda);
  if (trained) add("random_latents", Choice::random, GateKind::none);
}

}  // namespace assay::eval::unlearning
