// Which tokens reconstruction and firing are measured on, and in words.
#pragma once

#include <string>

#include "eval/tasks/task.h"

namespace assay::eval::core {

/// By core.tokens and the session's seed.
StatisticsRequest statistics_request(const Session& session);

/// "4,000 of 36,021 validation tokens and …".
std::string tokens_measured(const StatisticsSample& sample);

}  // namespace assay::eval::core
