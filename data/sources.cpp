#include "data/sources.h"

#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <map>

#include "data/base/sha256.h"
#include "data/rolling.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

double squared_length(const std::vector<float>& v) {
  double sum = 0;
  for (const float value : v) sum += static_cast<double>(value) * value;
  return sum;
}

}  // namespace

Sources::Sources(const Dataset& dataset)
    : sources_{{std::shared_ptr<const Dataset>(&dataset, [](const Dataset*) {}), 1}},
      info_(dataset.info()) {}

Sources::Sources(std::vector<Source> sources) : sources_(std::move(sources)) {
  if (sources_.empty()) throw UsageError("a mixture needs at least one data set");
  info_ = sources_.front().dataset->info();
  std::string hashes;
  bool known = true;
  std::map<std::string, std::string> paths;  // by content
  for (const Source& source : sources_) {
    const std::string& content = source.dataset->info().content_hash;
    const std::string path = source.dataset->info().path.string();
    const auto [first, is_new] = paths.try_emplace(content, path);
    if (!is_new && !content.empty()) {
      throw UsageError(
          fmt::format("{}: the same activations as {}; name them once, with their "
                      "weights added",
                      path, first->second));
    }
    if (!(source.weight > 0) || !std::isfinite(source.weight)) {
      throw UsageError(fmt::format("{}: weight {}: expected a number > 0", path, source.weight));
    }
    hashes += fmt::format("{:.17g} {}\n", source.weight, content);
    known &= !content.empty();
  }
  if (sources_.size() > 1) info_.content_hash = known ? sha256(hashes) : "";
}

Sources Sources::open_mixture(const std::vector<std::string>& texts, SinkRows sinks) {
  std::vector<Source> sources;
  for (const std::string& text : texts) {
    char* end = nullptr;
    const double weight = std::strtod(text.c_str(), &end);
    const size_t path = text.find_first_not_of(' ', static_cast<size_t>(end - text.c_str()));
    if (end == text.c_str() || *end != ' ' || path == std::string::npos || !(weight > 0) ||
        !std::isfinite(weight)) {
      throw UsageError(fmt::format(
          "data.mixture: '{}': expected \"WEIGHT PATH\", as in \"0.7 shards/wordnet\"", text));
    }
    sources.push_back(
        {std::make_shared<const Dataset>(Dataset::open(text.substr(path), sinks)), weight});
  }
  return Sources(std::move(sources));
}

Sources Sources::open_rolling(const std::filesystem::path& folder, int64_t wait_seconds,
                              SinkRows sinks) {
  Sources sources;
  sources.rolling_ = std::make_shared<RollingCache>(folder, wait_seconds, sinks);
  sources.info_ = sources.rolling_->info();
  return sources;
}

HookInfo Sources::hook(const std::string& name) const {
  if (rolling_) {
    for (const HookInfo& hook : info_.hooks) {
      if (hook.name == name) return hook;
    }
    throw UsageError(fmt::format("{}: no hook '{}'", info_.path.string(), name));
  }
  HookInfo mixed = sources_.front().dataset->hook(name);
  if (sources_.size() == 1) return mixed;
  double total = 0, square = 0;
  for (const Source& source : sources_) total += source.weight;
  std::vector<double> mean(static_cast<size_t>(mixed.d));
  for (const Source& source : sources_) {
    const HookInfo& hook = source.dataset->hook(name);
    const std::string where = source.dataset->info().path.string();
    if (hook.d != mixed.d) {
      throw UsageError(fmt::format("{}: {} has d = {}, but {} has d = {}: they cannot be mixed",
                                   where, name, hook.d, info_.path.string(), mixed.d));
    }
    if (hook.mean.empty()) {
      throw Error(fmt::format("{}: no mean and scale are known for {}: {}", where, name,
                              no_statistics(source.dataset->info())));
    }
    const double share = source.weight / total;
    for (size_t c = 0; c < mean.size(); ++c) mean[c] += share * static_cast<double>(hook.mean[c]);
    square += share * (hook.variance + squared_length(hook.mean));
  }
  mixed.mean.assign(mean.begin(), mean.end());
  double of_mean = 0;
  for (const double m : mean) of_mean += m * m;
  mixed.variance = square - of_mean;
  mixed.scale = square > 0 ? 1 / std::sqrt(square) : 1;
  return mixed;
}

std::string no_statistics(const DatasetInfo& info) {
  return info.content_hash.empty()
             ? "make them with `assay index FILES --out FOLDER`"
             : "the index counts no ordinary row, all are special; index rows that are not";
}

}  // namespace assay::data
