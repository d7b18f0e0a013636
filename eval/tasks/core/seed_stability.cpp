#include "eval/tasks/core/seed_stability.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/results/families.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/core/declare.h"
#include "eval/tasks/core/measured.h"
#include "eval/tasks/core/settings.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"
#include "sae/assignment.h"

namespace assay::eval::core {
namespace {

constexpr double kShared = 0.7;

/// The chosen rows of a row-major [n, d] matrix at unit length; a zero row stays zero.
std::vector<float> unit_rows(const std::vector<float>& weights, int64_t d,
                             const std::vector<int64_t>& chosen) {
  std::vector<float> out;
  for (const int64_t row : chosen) {
    double norm = 0;
    for (int64_t j = 0; j < d; ++j)
      norm += static_cast<double>(weights[row * d + j]) * weights[row * d + j];
    for (int64_t j = 0; j < d; ++j)
      out.push_back(norm > 0 ? static_cast<float>(weights[row * d + j] / std::sqrt(norm)) : 0.0f);
  }
  return out;
}

/// Cosines [rows of a, rows of b], both at unit length.
std::vector<float> cosines(Context& context, const std::vector<float>& a,
                           const std::vector<float>& b, int64_t d) {
  const int64_t rows = std::ssize(a) / d, columns = std::ssize(b) / d;
  std::vector<float> out(static_cast<size_t>(rows * columns));
  context.pool().run(rows, [&](int64_t i, int) {
    for (int64_t c = 0; c < columns; ++c) {
      double sum = 0;
      for (int64_t j = 0; j < d; ++j) sum += static_cast<double>(a[i * d + j]) * b[c * d + j];
      out[i * columns + c] = static_cast<float>(sum);
    }
  });
  return out;
}

/// The partner of each row at largest summed cosine.
std::vector<int64_t> partners(const std::vector<float>& cosine, int64_t rows) {
  std::vector<float> cost(cosine.size());
  std::transform(cosine.begin(), cosine.end(), cost.begin(), [](float c) { return -c; });
  return sae::assign({cost.data(), rows, std::ssize(cost) / rows});
}

bool same_setting(const DictionaryEntry& a, const DictionaryEntry& b) {
  return a.null_kind.empty() && b.null_kind.empty() && !a.setting.empty() &&
         a.setting == b.setting && a.seed != b.seed;
}

struct Pair {
  size_t a, b;
  std::string control;  ///< "" for two trained ones
};

/// Each pair once, and the first of it with the other's random control.
std::vector<Pair> pairs_of(const std::vector<EvalDictionary>& dictionaries) {
  std::vector<Pair> pairs;
  for (size_t a = 0; a < dictionaries.size(); ++a)
    for (size_t b = a + 1; b < dictionaries.size(); ++b) {
      if (!same_setting(dictionaries[a].entry, dictionaries[b].entry)) continue;
      pairs.push_back({a, b, ""});
      for (size_t c = 0; c < dictionaries.size(); ++c)
        if (dictionaries[c].entry.parent == dictionaries[b].entry.name &&
            dictionaries[c].entry.null_kind == "random")
          pairs.push_back({a, c, "random"});
    }
  return pairs;
}

class SeedStabilityTask : public PlannedTask<std::vector<Pair>> {
 public:
  std::string missing(const Session& session) const override {
    return pairs_of(session.dictionaries).empty()
               ? "needs two dictionaries of one setting with different training seeds"
               : "";
  }

 private:
  std::vector<Pair> make_plan(const Session& session, EncodeRequest& request) const override {
    request.statistics = statistics_request(session);
    sample_statistics(session.dataset, session.rule, *request.statistics);  // or fail alone
    return pairs_of(session.dictionaries);
  }

  void run_plan(const Session& session, const EncodeCache& cache, const std::vector<Pair>& pairs,
                TaskResult& result) const override {
    declare_seed_stability(result);
    for (const Pair& pair : pairs) {
      const uint64_t seed = derive_seed(session.seed, {'S', pair.a});
      const std::vector<int64_t> chosen =
          living_sample(cache.dictionaries[pair.a].validation.firing,
                        session.config.of<StabilityConfig>().latents, seed);
      if (chosen.empty())
        throw Error(fmt::format("no latent of {} fires on the validation part",
                                dictionary_name(session, pair.a)));
      const SharedLatents shared =
          match_latents(session.context, session.dictionaries[pair.a].dictionary,
                        session.dictionaries[pair.b].dictionary, chosen);
      add_numbers(session, pair, shared, result);
    }
  }

  static void add_numbers(const Session& session, const Pair& pair, const SharedLatents& shared,
                          TaskResult& result) {
    Number base;
    base.dictionary = dictionary_name(session, pair.a);
    base.method = fmt::format("{} ~ {}", base.dictionary, dictionary_name(session, pair.b));
    base.control = pair.control;
    base.n = shared.latents;
    base.n_unit = "latents";
    result.arms.push_back({base.method, "and " + dictionary_name(session, pair.b),
                           pair.control.empty() ? "" : "control", "latents", "matching"});
    Number share = base;
    share.metric = "shared_share";
    share.value = static_cast<double>(shared.shared) / static_cast<double>(shared.latents);
    share.interval = wilson(shared.shared, shared.latents);
    share.interval_kind = "Wilson over latents of the first dictionary";
    result.numbers.push_back(share);
    for (const auto& [part, values] :
         {std::pair("decoder", &shared.decoder), std::pair("encoder", &shared.encoder)}) {
      Number cosine = base;
      cosine.metric = "matched_cosine";
      cosine.part = part;
      set_estimate(cosine, mean_of(*values), "latents of the first dictionary");
      result.numbers.push_back(cosine);
    }
  }
};

}  // namespace

std::vector<int64_t> living_sample(const std::vector<int64_t>& firing, int64_t most,
                                   uint64_t seed) {
  std::vector<int64_t> living;
  for (size_t i = 0; i < firing.size(); ++i)
    if (firing[i] > 0) living.push_back(static_cast<int64_t>(i));
  Rng rng(seed);
  rng.shuffle(std::span(living));
  if (std::ssize(living) > most) living.resize(static_cast<size_t>(most));
  std::sort(living.begin(), living.end());
  return living;
}

SharedLatents match_latents(Context& context, const sae::Dictionary& a, const sae::Dictionary& b,
                            const std::vector<int64_t>& chosen) {
  if (a.info.d != b.info.d)
    throw Error(fmt::format("seed_stability: d = {} against d = {}", a.info.d, b.info.d));
  std::vector<int64_t> all(static_cast<size_t>(b.info.n));
  std::iota(all.begin(), all.end(), int64_t{0});
  const auto rows = std::ssize(chosen);
  const auto cosine_of = [&](const std::vector<float>& own, const std::vector<float>& other,
                             int64_t d) {
    return cosines(context, unit_rows(own, d, chosen), unit_rows(other, d, all), d);
  };
  const std::vector<float> decoder = cosine_of(a.w_dec, b.w_dec, a.info.width()),
                           encoder = cosine_of(a.w_enc, b.w_enc, a.info.d);
  const std::vector<int64_t> by_decoder = partners(decoder, rows),
                             by_encoder = partners(encoder, rows);
  SharedLatents result;
  result.latents = rows;
  for (int64_t i = 0; i < rows; ++i) {
    const auto value = [&](const std::vector<float>& cosine, int64_t partner) {
      return partner < 0 ? 0.0 : static_cast<double>(cosine[i * b.info.n + partner]);
    };
    result.decoder.push_back(value(decoder, by_decoder[i]));
    result.encoder.push_back(value(encoder, by_encoder[i]));
    const bool agree = by_decoder[i] >= 0 && by_decoder[i] == by_encoder[i];
    result.shared += agree && (result.decoder.back() + result.encoder.back()) / 2 > kShared;
  }
  return result;
}

const TaskEntry kSeedStability{
    .name = "seed_stability",
    .title = "What another training seed finds again",
    .question =
        "For whoever wants to build on a single latent, name it or publish it: would the same "
        "training with another seed have found it?",
    .make = make_task<SeedStabilityTask>,
};

}  // namespace assay::eval::core
