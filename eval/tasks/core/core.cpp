#include "eval/tasks/core/core.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval/results/families.h"
#include "eval/statistics/stats.h"
#include "eval/tasks/core/declare.h"
#include "eval/tasks/core/measured.h"
#include "kernels/base/error.h"

namespace assay::eval::core {
namespace {

constexpr double kBinsPerDecade = 4;

int64_t dead_latents(const PartStatistics& part) {
  return std::count(part.firing.begin(), part.firing.end(), 0);
}

/// Latents by log10 of their firing share; never-firing ones have no logarithm and are counted
/// apart.
nlohmann::json density_histogram(const PartStatistics& part) {
  std::vector<int> bins;
  for (const int64_t count : part.firing)
    if (count > 0)
      bins.push_back(static_cast<int>(
          std::floor(kBinsPerDecade * std::log10(double(count) / double(part.tokens)))));
  nlohmann::json result = nlohmann::json::array();
  if (bins.empty()) return result;
  // A latent that fires on every token closes the last bin instead of opening an empty decade.
  for (int& bin : bins) bin = std::min(bin, -1);
  const int low = *std::min_element(bins.begin(), bins.end()),
            high = *std::max_element(bins.begin(), bins.end());
  for (int bin = low; bin <= high; ++bin)
    result.push_back({{"log10_low", bin / kBinsPerDecade},
                      {"log10_high", (bin + 1) / kBinsPerDecade},
                      {"count", std::count(bins.begin(), bins.end(), bin)}});
  return result;
}

struct Ratio {
  const char* metric;
  double DocumentSums::*numerator;
  double DocumentSums::*denominator;
};
constexpr Ratio kRatios[] = {{"fvu", &DocumentSums::error, &DocumentSums::deviation},
                             {"l0", &DocumentSums::active, &DocumentSums::tokens},
                             {"cosine", &DocumentSums::cosine, &DocumentSums::tokens},
                             {"l2_ratio", &DocumentSums::ratio, &DocumentSums::tokens}};

class CoreTask : public PlannedTask<StatisticsSample> {
 private:
  StatisticsSample make_plan(const Session& session, EncodeRequest& request) const override {
    request.statistics = statistics_request(session);
    StatisticsSample sample = sample_statistics(session.dataset, session.rule, *request.statistics);
    sample.part = {};
    session.log("core: measures " + tokens_measured(sample));
    return sample;
  }

  void run_plan(const Session& session, const EncodeCache& cache, const StatisticsSample& sample,
                TaskResult& result) const override {
    declare_core(result);
    result.details["measured"] = tokens_measured(sample);
    const auto has_any = [](const SinkStatistics& sinks) { return sinks.rows > 0; };
    if (std::any_of(cache.validation_sinks.begin(), cache.validation_sinks.end(), has_any) ||
        std::any_of(cache.train_sinks.begin(), cache.train_sinks.end(), has_any))
      declare_sinks(result);
    for (size_t i = 0; i < session.dictionaries.size(); ++i) {
      const EncodedDictionary& encoded = cache.dictionaries[i];
      add_part(session, i, encoded.validation, cache.validation_sinks[i], "validation",
               sample.validation.documents, result);
      if (encoded.train.tokens > 0)
        add_part(session, i, encoded.train, cache.train_sinks[i], "train", sample.train.documents,
                 result);
      const std::string& key = session.dictionaries[i].entry.name;
      result.details["density_histogram"][key] = density_histogram(encoded.validation);
      result.details["dead"][key] = dead_latents(encoded.validation);
    }
  }

  static void add_part(const Session& session, size_t i, const PartStatistics& part,
                       const SinkStatistics& sinks, const std::string& name,
                       const std::vector<int64_t>& documents, TaskResult& result) {
    const EvalDictionary& dictionary = session.dictionaries[i];
    Number base;
    base.dictionary = dictionary.entry.name;
    base.part = name;
    base.test_seen_in_training = seen_in_training(session, dictionary, documents);
    base.control = control_of(session, dictionary);
    base.n = part.tokens;
    base.n_unit = "tokens";
    if (std::none_of(part.documents.begin(), part.documents.end(),
                     [](const auto& d) { return d.deviation > 0; }))
      throw Error(fmt::format(
          "core: the activations of the {} part do not vary: there is nothing to explain", name));
    const auto add_ratio = [&](Number number, const char* metric, const std::vector<double>& above,
                               const std::vector<double>& below) {
      number.metric = metric;
      set_estimate(number, ratio_of(above, below), "documents");
      result.numbers.push_back(number);
    };
    for (const Ratio& ratio : kRatios) {
      std::vector<double> above, below;
      for (const DocumentSums& d : part.documents) {
        above.push_back(d.*ratio.numerator);
        below.push_back(d.*ratio.denominator);
      }
      add_ratio(base, ratio.metric, above, below);
    }
    add_counts(part, base, result);
    if (sinks.rows == 0) return;
    Number all = base;
    all.n += sinks.rows;
    add_ratio(all, "fvu_with_sinks", sinks.error, sinks.deviation);
    all.metric = "sinks";
    all.value = static_cast<double>(sinks.rows);
    all.interval_kind = "exact count";
    result.numbers.push_back(all);
  }

  static void add_counts(const PartStatistics& part, Number base, TaskResult& result) {
    const int64_t latents = static_cast<int64_t>(part.firing.size()), dead = dead_latents(part);
    Number number = base;
    number.metric = "dead_share";
    number.value = static_cast<double>(dead) / static_cast<double>(latents);
    number.interval = wilson(dead, latents);
    number.interval_kind = fmt::format("Wilson over latents, at {} tokens", part.tokens);
    number.n = latents;
    number.n_unit = "latents";
    result.numbers.push_back(number);
    base.metric = "tokens";
    base.value = static_cast<double>(part.tokens);
    base.interval_kind = "exact count";
    result.numbers.push_back(base);
  }
};

}  // namespace

const TaskEntry kCore{
    .name = "core",
    .title = "Reconstruction and latent use",
    .question =
        "For whoever trains a dictionary: does it reconstruct unseen activations, at what "
        "sparsity, and how many of its latents are used? A diagnostic of training, not a score of "
        "worth.",
    .make = make_task<CoreTask>,
};

}  // namespace assay::eval::core
