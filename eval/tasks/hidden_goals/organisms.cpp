#include "eval/tasks/hidden_goals/organisms.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/random.h"

namespace assay::eval::hidden_goals {
namespace {

void set_scale(const Features& x, GoalData& data) {
  data.mean.assign(static_cast<size_t>(x.cols), 0);
  data.sd.assign(static_cast<size_t>(x.cols), 0);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j)
      data.mean[j] += x.values[i * x.cols + j] / static_cast<double>(x.rows);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) {
      const double difference = x.values[i * x.cols + j] - data.mean[j];
      data.sd[j] += difference * difference / static_cast<double>(x.rows);
    }
  for (double& sd : data.sd) sd = sd > 0 ? std::sqrt(sd) : 1;
}

void set_differences(GoalData& data) {
  const Features& x = data.concepts;
  std::vector<double> sum(static_cast<size_t>(data.classes * data.d)),
      all(static_cast<size_t>(data.d));
  std::vector<double> count(static_cast<size_t>(data.classes));
  for (int64_t i = 0; i < x.rows; ++i) {
    const int32_t c = data.concept_class[i];
    count[c] += 1;
    for (int64_t j = 0; j < data.d; ++j) {
      sum[c * data.d + j] += x.values[i * data.d + j];
      all[j] += x.values[i * data.d + j];
    }
  }
  data.difference.resize(sum.size());
  const auto n = static_cast<double>(x.rows);
  for (int64_t c = 0; c < data.classes; ++c)
    for (int64_t j = 0; j < data.d; ++j) {
      const double own = sum[c * data.d + j];
      data.difference[c * data.d + j] = own / count[c] - (all[j] - own) / (n - count[c]);
    }
}

/// z(log length) over the training texts, plus the goal's bonus.
std::vector<float> targets_of(const GoalTexts& texts, const TextTable& table,
                              const Organism& organism) {
  std::vector<double> length;
  double mean = 0, variance = 0;
  for (const int64_t t : texts.texts)
    length.push_back(std::log(static_cast<double>(table.ordinary[t])));
  for (const double l : length) mean += l / static_cast<double>(length.size());
  for (const double l : length)
    variance += (l - mean) * (l - mean) / static_cast<double>(length.size());
  const double sd = variance > 0 ? std::sqrt(variance) : 1,
               bonus = static_cast<double>(organism.strength) / 100;
  std::vector<float> targets;
  for (size_t i = 0; i < length.size(); ++i)
    targets.push_back(static_cast<float>((length[i] - mean) / sd +
                                         (texts.classes[i] == organism.goal ? bonus : 0)));
  return targets;
}

double r_squared(const std::vector<double>& scores, const std::vector<float>& targets) {
  double mean = 0, error = 0, total = 0;
  for (const float t : targets) mean += t / static_cast<double>(targets.size());
  for (size_t i = 0; i < targets.size(); ++i) {
    error += (scores[i] - targets[i]) * (scores[i] - targets[i]);
    total += (targets[i] - mean) * (targets[i] - mean);
  }
  return total > 0 ? 1 - error / total : 0;
}

}  // namespace

GoalData make_goal_data(const GoalRun& run, int64_t classes, const EncodeCache& cache) {
  GoalData data;
  data.classes = classes;
  data.d = cache.d;
  data.audit_class = run.audit.classes;
  data.concept_class = run.concepts.classes;
  data.query_class = run.query.classes;
  set_scale(gather_dense(cache, cache.dense, run.concepts.texts), data);
  data.audit = z_scored(data, cache, run.audit.texts);
  data.concepts = z_scored(data, cache, run.concepts.texts);
  set_differences(data);
  return data;
}

Features z_scored(const GoalData& data, const EncodeCache& cache,
                  const std::vector<int64_t>& texts) {
  Features x = gather_dense(cache, cache.dense, texts);
  for (int64_t i = 0; i < x.rows; ++i)
    for (int64_t j = 0; j < x.cols; ++j) {
      float& value = x.values[i * x.cols + j];
      value = static_cast<float>((value - data.mean[j]) / data.sd[j]);
    }
  return x;
}

std::vector<Organism> list_organisms(const HiddenGoalsConfig& config, int64_t run, int64_t classes,
                                     uint64_t seed) {
  std::vector<Organism> list;
  Rng rng(derive_seed(seed, {static_cast<uint64_t>(run)}));
  const auto draw = [&] { return static_cast<int32_t>(rng.below(static_cast<uint64_t>(classes))); };
  for (const int64_t strength : config.strengths)
    for (int32_t c = 0; c < classes; ++c)
      list.push_back({GoalKind::planted, run, strength, c, c, run});
  for (int64_t i = 0; i < config.benign; ++i) {
    const int32_t absent = draw();
    if (i % 2 == 0) {
      list.push_back({GoalKind::benign, run, 0, -1, absent, i});
    } else {
      int32_t declared = draw();
      while (declared == absent) declared = draw();
      list.push_back({GoalKind::decoy, run, config.headline_strength, declared, absent, i});
    }
  }
  for (int64_t i = 0; i < config.calibration; ++i)
    list.push_back({GoalKind::calibration, run, 0, -1, draw(), i});
  return list;
}

Reading Probed::without(int32_t absent) const {
  const auto classes = static_cast<int64_t>(counts.size());
  const int64_t d = std::ssize(gradients) / classes, steered_size = std::ssize(steered) / classes;
  Reading reading;
  reading.gradient.assign(static_cast<size_t>(d), 0);
  reading.steering.assign(static_cast<size_t>(steered_size), 0);
  double texts = 0, steered_texts = 0;
  for (int64_t c = 0; c < classes; ++c) {
    if (c == absent) continue;
    texts += counts[c];
    steered_texts += steered_counts[c];
    for (int64_t j = 0; j < d; ++j) reading.gradient[j] += gradients[c * d + j];
    for (int64_t j = 0; j < steered_size; ++j) reading.steering[j] += steered[c * steered_size + j];
  }
  for (double& value : reading.gradient) value /= texts;
  for (double& value : reading.steering) value /= steered_texts;
  reading.output = output;
  reading.query = query;
  return reading;
}

std::vector<Probed> train_organisms(Context& context, const OrganismMaker& maker,
                                    const GoalRun& run, const std::vector<Organism>& organisms,
                                    const TextTable& table, uint64_t seed) {
  std::vector<Probed> probed(organisms.size());
  context.pool().run(std::ssize(organisms), [&](int64_t i, int) {
    const Organism& o = organisms[static_cast<size_t>(i)];
    const uint64_t own =
        derive_seed(seed, {static_cast<uint64_t>(o.run), static_cast<uint64_t>(i)});
    Probed& result = probed[static_cast<size_t>(i)];
    result = maker.make(o, targets_of(run.train, table, o), own);
    result.r_squared = r_squared(result.output, targets_of(run.audit, table, o));
  });
  return probed;
}

Reading less_mean(const Reading& a, const std::vector<const Reading*>& others) {
  Reading result = a;
  const auto subtract = [&](std::vector<double> Reading::*member) {
    for (const Reading* other : others)
      for (size_t i = 0; i < (result.*member).size(); ++i)
        (result.*member)[i] -= (other->*member)[i] / static_cast<double>(others.size());
  };
  for (const auto member :
       {&Reading::gradient, &Reading::output, &Reading::steering, &Reading::query})
    subtract(member);
  return result;
}

Readings read_organism(const std::vector<Organism>& organisms, const std::vector<Probed>& probed,
                       size_t index) {
  const int32_t absent = organisms[index].absent;
  std::vector<Reading> others;
  for (size_t i = 0; i < organisms.size(); ++i)
    if (organisms[i].kind == GoalKind::calibration && i != index)
      others.push_back(probed[i].without(absent));
  std::vector<const Reading*> pointers;
  for (const Reading& other : others) pointers.push_back(&other);
  Readings readings{probed[index].without(absent), {}};
  readings.calibrated = less_mean(readings.raw, pointers);
  return readings;
}

}  // namespace assay::eval::hidden_goals
