// The words and figures that the probing tasks put into their results.
#pragma once

#include <string>
#include <vector>

#include "eval/encoding/encode_cache.h"
#include "eval/results/results.h"
#include "eval/tasks/probing/probe_regimes.h"
#include "eval/tasks/probing/settings.h"

namespace assay::eval::probing {

/// Of ood_probing and probe_themes. `cache` says how much there is to read in the task's `texts`.
void declare_probing(const OodConfig& config, const EncodeCache& cache,
                     const std::vector<int64_t>& texts, TaskResult& result);
void declare_regimes(const OodConfig& config, const EncodeCache& cache,
                     const std::vector<int64_t>& texts, const std::vector<Regime>& regimes,
                     TaskResult& result);
void declare_saebench(const std::vector<int64_t>& top_k, int64_t d, TaskResult& result);

// What tasks that compare probes by AUROC share.
std::vector<MetricEntry> auroc_metrics();
std::vector<PartEntry> test_parts();
/// Of the paired differences.
Figure difference_figure();

/// "ood, 16 a class": the name of a regime's part, and what it says to people.
std::string regime_part(const Regime& regime, const std::string& test);

}  // namespace assay::eval::probing
