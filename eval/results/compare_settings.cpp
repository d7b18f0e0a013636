#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "eval/results/compare_parts.h"
#include "eval/statistics/student.h"

namespace assay::eval::compare_parts {
namespace {

double mean_of(const Arm& arm) {
  double sum = 0;
  for (const Cell& cell : arm.cells) sum += cell.value;
  return sum / static_cast<double>(arm.cells.size());
}

double variance(const std::vector<double>& values) {
  double mean = 0, squares = 0;
  for (const double v : values) mean += v / static_cast<double>(values.size());
  for (const double v : values) squares += (v - mean) * (v - mean);
  return squares / static_cast<double>(values.size() - 1);
}

std::string setting_name(const DictionaryEntry& e) {
  return fmt::format("{} n {} k {}, {:.3g} M tokens", e.variant, e.n, e.k,
                     static_cast<double>(e.tokens) * 1e-6);
}

/// Trained dictionaries by the hash of their configuration; of one seed there is one.
std::vector<Setting> group(const Results& results, const std::vector<Card>& cards) {
  std::map<std::string, size_t> place;
  std::map<std::string, int> named;
  std::vector<Setting> settings;
  std::set<std::pair<std::string, uint64_t>> seen;
  for (const Card& card : cards) {
    const DictionaryEntry& entry = entry_of(results, card.dictionary);
    if (!entry.null_kind.empty()) continue;
    const bool alone = entry.setting.empty() || !seen.emplace(entry.setting, entry.seed).second;
    const std::string key = alone ? entry.hash + entry.name : entry.setting;
    const auto [at, fresh] = place.emplace(key, settings.size());
    if (fresh) {
      std::string name = alone ? entry.name : setting_name(entry);
      if (const int count = ++named[name]; count > 1) name += fmt::format(" ({})", count);
      settings.push_back({name, {}, 0, std::nullopt});
    }
    settings[at->second].members.push_back(entry.name);
  }
  return settings;
}

/// The cells of each member's headline.
std::vector<std::vector<Cell>> cells_of(const std::vector<Arm>& arms, const Setting& setting) {
  std::vector<std::vector<Cell>> cells;
  for (const std::string& member : setting.members)
    cells.push_back(headline_arm(arms, member).cells);
  return cells;
}

std::optional<double> mean_l0(const Results& results, const Setting& setting) {
  double sum = 0;
  for (const std::string& member : setting.members) {
    const auto l0 = measured_l0(results, member);
    if (!l0) return std::nullopt;
    sum += *l0 / static_cast<double>(setting.members.size());
  }
  return sum;
}

void measure_reseeds(ScoreTable& table) {
  Reliability& r = table.reliability;
  double squares = 0;
  for (const Setting& setting : table.settings) {
    if (!setting.sd) continue;
    const auto df = static_cast<int64_t>(setting.members.size()) - 1;
    squares += *setting.sd * *setting.sd * static_cast<double>(df);
    r.reseed_df += df;
  }
  if (r.reseed_df == 0) return;
  r.reseed_sd = std::sqrt(squares / static_cast<double>(r.reseed_df));
  r.detectable = detectable(*r.reseed_sd * std::sqrt(2.0 / static_cast<double>(kRankingSeeds)),
                            static_cast<double>(r.reseed_df));
}

/// Variance of one dictionary's value between evaluation runs; nothing of fewer than three.
std::optional<double> run_variance(const Arm& arm) {
  std::map<int64_t, std::pair<double, double>> by_run;
  for (const Cell& cell : arm.cells) {
    by_run[cell.run].first += cell.value;
    by_run[cell.run].second += 1;
  }
  std::vector<double> means;
  for (const auto& [run, sum] : by_run) means.push_back(sum.first / sum.second);
  return means.size() > 2 ? std::optional(variance(means)) : std::nullopt;
}

void measure_reliability(const std::vector<Arm>& arms, ScoreTable& table) {
  measure_reseeds(table);
  Reliability& r = table.reliability;
  r.runs = table.runs;
  double between_runs = 0, dictionaries = 0;
  bool separates = table.units >= kUnitsToTell;
  for (const Card& card : table.cards) {
    if (!card.null_kind.empty()) continue;
    if (const auto v = run_variance(headline_arm(arms, card.dictionary))) {
      between_runs += *v;
      ++dictionaries;
    }
    for (const Paired& pair : card.minus_nulls) {
      r.null_gap = std::min(r.null_gap.value_or(pair.difference.value), pair.difference.value);
      separates = separates && told(pair) && pair.difference.value > 0;
    }
  }
  r.separates_null = separates && r.null_gap;
  r.truth = planted_truth(table.task, table.metric, table.part);
  if (dictionaries == 0) return;
  r.rerun_sd = std::sqrt(between_runs / dictionaries);
  r.rerun_detectable = detectable(*r.rerun_sd * std::sqrt(2.0 / static_cast<double>(r.runs)),
                                  static_cast<double>(r.runs - 1));
}

/// Seeds a setting so that a difference of this size would be told from reseeding in four of five
/// comparisons; nothing if it would take too many.
std::optional<int64_t> seeds_needed(const Reliability& r, double difference) {
  constexpr int64_t kMost = 1000;
  if (!r.reseed_sd) return std::nullopt;
  const auto enough = [&](int64_t seeds) {
    return std::abs(difference) >
           detectable(*r.reseed_sd * std::sqrt(2.0 / static_cast<double>(seeds)),
                      2.0 * static_cast<double>(seeds - 1));
  };
  if (!enough(kMost)) return std::nullopt;
  int64_t low = kRankingSeeds, high = kMost;  // what is enough stays enough with more seeds
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (enough(middle))
      high = middle;
    else
      low = middle + 1;
  }
  return low;
}

std::string too_few_units(const ScoreTable& table) {
  return fmt::format("{} units; {} are needed to tell", table.units, kUnitsToTell);
}

/// Does every member beat every control? "" or what it does not beat.
std::string unbeaten_control(const ScoreTable& table, const std::vector<std::string>& members) {
  for (const Card& card : table.cards) {
    if (std::find(members.begin(), members.end(), card.dictionary) == members.end()) continue;
    if (card.minus_nulls.empty()) return "no control beside it";
    for (const Paired& pair : card.minus_nulls)
      if (!told(pair) || pair.difference.value <= 0)
        return fmt::format("{} is not told from its control {}", card.dictionary, pair.b);
  }
  return "";
}

std::string l0_reason(const Paired& pair) {
  if (!pair.l0_ratio) return "L0 was not measured (task core did not run)";
  return fmt::format("L0 differs by a factor {:.2f}: compare as curves over L0", *pair.l0_ratio);
}

/// Why two settings may not be ranked; "" where they may.
std::string settings_reason(const ScoreTable& table, const Setting& a, const Setting& b,
                            const RankedPair& pair) {
  if (table.units < kUnitsToTell) return too_few_units(table);
  const auto seeds = static_cast<int64_t>(std::min(a.members.size(), b.members.size()));
  if (seeds < kRankingSeeds)
    return fmt::format("{} training seed{}; {} are needed", seeds, seeds == 1 ? "" : "s",
                       kRankingSeeds);
  if (!pair.matched) return l0_reason(pair);
  if (!told(pair)) return fmt::format("not told apart from 0 (Holm p {:.3f})", *pair.p_holm);
  const Reliability& r = table.reliability;
  const double spread = student_quantile(.975, static_cast<double>(r.reseed_df)) * *r.reseed_sd *
                        std::sqrt(1.0 / static_cast<double>(a.members.size()) +
                                  1.0 / static_cast<double>(b.members.size()));
  if (std::abs(pair.difference.value) <= spread)
    return fmt::format(
        "within the reseed spread, {:.3f}{}", spread,
        pair.seeds_needed ? fmt::format("; {} seeds each would tell", *pair.seeds_needed) : "");
  return unbeaten_control(table, pair.difference.value > 0 ? a.members : b.members);
}

/// Two dictionaries are never ranked as settings: the most that can be said is that these very
/// weights differ.
std::string dictionaries_reason(const ScoreTable& table, const Paired& pair) {
  if (table.units < kUnitsToTell) return too_few_units(table);
  if (!pair.matched) return l0_reason(pair);
  if (!told(pair)) return fmt::format("not told apart from 0 (Holm p {:.3f})", *pair.p_holm);
  const Reliability& r = table.reliability;
  if (!r.reseed_sd) return "reseed spread unknown: no setting has two training seeds";
  const double spread =
      student_quantile(.975, static_cast<double>(r.reseed_df)) * *r.reseed_sd * std::sqrt(2.0);
  if (std::abs(pair.difference.value) <= spread)
    return fmt::format("within the reseed spread, {:.3f}", spread);
  return unbeaten_control(table, {pair.difference.value > 0 ? pair.a : pair.b});
}

void adjust_pairs(std::vector<RankedPair>& pairs) {
  std::vector<Paired*> family;
  for (RankedPair& pair : pairs) family.push_back(&pair);
  adjust(family);
}

void measure_settings(const std::vector<Arm>& arms, ScoreTable& table) {
  const double sign = table.higher_is_better ? 1 : -1;
  for (Setting& setting : table.settings) {
    std::vector<double> means;
    for (const std::string& member : setting.members)
      means.push_back(mean_of(headline_arm(arms, member)));
    for (const double mean : means) setting.mean += sign * mean / static_cast<double>(means.size());
    if (means.size() > 1) setting.sd = std::sqrt(variance(means));
  }
}

void pair_dictionaries(const Results& results, const std::vector<Arm>& arms, ScoreTable& table) {
  std::vector<std::string> trained;
  for (const Card& card : table.cards)
    if (card.null_kind.empty()) trained.push_back(card.dictionary);
  for (size_t i = 0; i < trained.size(); ++i)
    for (size_t j = i + 1; j < trained.size(); ++j) {
      RankedPair pair;
      pair.a = trained[i];
      pair.b = trained[j];
      pair.difference =
          paired_difference(headline_arm(arms, pair.a).cells, headline_arm(arms, pair.b).cells);
      note_l0(pair, measured_l0(results, pair.a), measured_l0(results, pair.b));
      table.pairs.push_back(pair);
    }
  adjust_pairs(table.pairs);
  for (RankedPair& pair : table.pairs) {
    pair.reason = dictionaries_reason(table, pair);
    pair.ranked = pair.reason.empty();
  }
}

void pair_settings(const Results& results, const std::vector<Arm>& arms, ScoreTable& table) {
  const std::vector<Setting>& settings = table.settings;
  std::vector<std::pair<const Setting*, const Setting*>> members;
  for (size_t i = 0; i < settings.size(); ++i)
    for (size_t j = i + 1; j < settings.size(); ++j) {
      RankedPair pair;
      pair.a = settings[i].name;
      pair.b = settings[j].name;
      pair.difference = group_difference(cells_of(arms, settings[i]), cells_of(arms, settings[j]));
      note_l0(pair, mean_l0(results, settings[i]), mean_l0(results, settings[j]));
      table.setting_pairs.push_back(pair);
      members.emplace_back(&settings[i], &settings[j]);
    }
  adjust_pairs(table.setting_pairs);
  for (size_t i = 0; i < members.size(); ++i) {
    RankedPair& pair = table.setting_pairs[i];
    pair.seeds_needed = seeds_needed(table.reliability, pair.difference.value);
    pair.reason = settings_reason(table, *members[i].first, *members[i].second, pair);
    pair.ranked = pair.reason.empty();
  }
}

}  // namespace

void add_settings(const Results& results, const std::vector<Arm>& arms, ScoreTable& table) {
  table.settings = group(results, table.cards);
  measure_settings(arms, table);
  measure_reliability(arms, table);
  pair_dictionaries(results, arms, table);
  pair_settings(results, arms, table);
}

}  // namespace assay::eval::compare_parts
