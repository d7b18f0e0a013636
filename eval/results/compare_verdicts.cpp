#include <algorithm>

#include "eval/results/compare_parts.h"

namespace assay::eval {
namespace compare_parts {
namespace {

/// The pairs of the tables that have units enough to tell.
std::vector<Paired*> family_of(std::vector<ScoreTable>& tables, std::optional<Paired> Card::*pair) {
  std::vector<Paired*> family;
  for (ScoreTable& table : tables)
    for (Card& card : table.cards)
      if (card.*pair && table.units >= kUnitsToTell) family.push_back(&*(card.*pair));
  return family;
}

bool is_ahead(const ScoreTable& table, const Card& card, const Paired& pair) {
  return told(pair) && pair.difference.value > 0 && beats_chance(table, *card.chosen);
}

Verdict verdict_of(const ScoreTable& table, const Card& card) {
  if (table.units < kUnitsToTell) return Verdict::describes;
  if (told(*card.beside) && card.beside->difference.value < 0) return Verdict::baseline_wins;
  return is_ahead(table, card, *card.beside) ? Verdict::dictionary_leads : Verdict::open;
}

/// At Holm's first step, which is the strictest, of a family of so many.
std::optional<double> detectable_of(const Paired& pair, size_t family) {
  if (!(pair.difference.df > 0)) return std::nullopt;
  return detectable(pair.difference.standard_error, pair.difference.df,
                    kAlpha / static_cast<double>(std::max<size_t>(1, family)));
}

}  // namespace

void judge(std::vector<ScoreTable>& tables) {
  const std::vector<Paired*> verdicts = family_of(tables, &Card::beside);
  adjust(verdicts);
  adjust(family_of(tables, &Card::control_beside));
  for (ScoreTable& table : tables)
    for (Card& card : table.cards) {
      if (card.control_beside && is_ahead(table, card, *card.control_beside))
        table.leading_controls.push_back(card.dictionary);
      if (!card.beside) continue;
      card.verdict = verdict_of(table, card);
      card.detectable = detectable_of(*card.beside, verdicts.size());
      std::optional<double>& most = table.reliability.verdict_detectable;
      if (card.detectable) most = std::max(most.value_or(0), *card.detectable);
    }
}

}  // namespace compare_parts

bool beats_chance(const ScoreTable& table, const ChosenArm& arm) {
  if (!table.chance) return true;
  const Estimate& value = arm.value;
  const Interval interval = value.interval.value_or(Interval{value.value, value.value});
  return table.higher_is_better ? interval[0] > *table.chance : interval[1] < *table.chance;
}

}  // namespace assay::eval
