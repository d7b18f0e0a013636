#include "eval/tasks/core/measured.h"

#include <fmt/format.h>

#include "eval/results/text.h"
#include "eval/tasks/core/settings.h"
#include "kernels/base/random.h"

namespace assay::eval::core {

StatisticsRequest statistics_request(const Session& session) {
  return {session.config.of<CoreConfig>().tokens, derive_seed(session.seed, {'c'})};
}

std::string tokens_measured(const StatisticsSample& sample) {
  const auto part = [](const SampledPart& taken, const char* name) {
    return fmt::format("{} of {} {} tokens", count_text(taken.tokens), count_text(taken.of), name);
  };
  return fmt::format("{} and {}, whole documents, stratified by file",
                     part(sample.validation, "validation"), part(sample.train, "training"));
}

}  // namespace assay::eval::core
