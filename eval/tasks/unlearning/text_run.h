// One run of the unlearning task on a language model: which texts it takes, how edits are tuned,
// what they cost.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "eval/tasks/unlearning/methods.h"
#include "eval/tasks/unlearning/settings.h"
#include "eval/tasks/unlearning/text_relearn.h"
#include "eval/tasks/unlearning/text_written.h"

namespace assay::eval::unlearning {

/// The parts share no document.
enum UnlearningTextPart : size_t { kTextEstimate, kTextTune, kTextTest, kTextParts };

struct UnlearningTextPlan {
  /// the one to forget first, then the label's other classes that have texts
  std::vector<std::string> corpora;
  /// [corpus][part]: indices into the text table, exactly as many as the configuration says.
  std::vector<std::array<std::vector<int64_t>, kTextParts>> texts;
};

/// A document's part depends on its id and the seed alone; where the table holds texts back from
/// tests, kTextTest is made of the others, and of them alone. Texts have 2 to `longest` ordinary
/// tokens. Throws Error naming what is missing: an unknown label or corpus, a corpus with too few
/// texts, no corpus to keep.
UnlearningTextPlan plan_unlearning_text(const data::Dataset& dataset, const TextTable& texts,
                                        const UnlearningTextConfig& config, uint64_t seed);

/// Texts with their losses: the sum over a text's ordinary tokens but the first, nats.
struct TextPanel {
  std::vector<int64_t> entries;  ///< into the corpus
  std::vector<uint8_t> corpus;   ///< index into the plan's corpora; 0 = to forget
  /// untouched; with the estimate texts' mean in place of ordinary tokens
  std::vector<double> clean, ablated;

  /// 100 · Σ(edited − clean)/Σ(ablated − clean) over the texts to forget (or else those to keep).
  double percent(const std::vector<double>& edited, bool forget) const;
  /// Its standard error over texts, by linearisation.
  double percent_error(const std::vector<double>& edited, bool forget) const;
};

/// One method on the test part.
struct TextOutcome {
  std::string name;
  std::optional<size_t> dictionary;
  std::vector<std::string> settings;
  /// [settings]; a drop counts at most 1 (more than all is not sought), damage in percent
  Tuning tuning;
  std::vector<OperatingPoint> points;  ///< [budgets]
  /// [test entries], by setting measured on test texts; no edit is always there
  std::map<Setting, std::vector<double>> losses;
  std::map<int64_t, MatchQuality> match;  ///< of random_latents, by number
  // At the setting nearer to the headline's point:
  std::vector<uint8_t> touched;      ///< [test entries]
  std::optional<Written> written;    ///< what the model writes
  std::vector<Relearned> relearned;  ///< attacks; losses [test entries]

  /// [test entries]: the mixture's.
  std::vector<double> losses_at(const OperatingPoint& point) const;
};

/// The relearning attack; `reason` where there is none. Losses [test entries]: of texts to keep the
/// clean ones.
struct TextRelearning {
  std::string reason;
  std::vector<int64_t> texts;  ///< the data set's numbers of the attacker's texts, the first first
  std::vector<Relearned> untouched, ablated;
};

/// Open-ended continuation; `reason` where there is none.
struct TextContinuation {
  std::string reason;
  Prompts prompts;
  std::vector<uint8_t> prompted;  ///< [test entries]
  double judge_auroc = 0;
  Written truth, untouched;
};

struct UnlearningTextOutcome {
  TextPanel test;
  std::vector<int64_t> document;  ///< [test entries]
  std::vector<double> tokens;     ///< [test entries]: how many losses were summed
  double norm = 0;                ///< mean norm of the ordinary tokens of the estimate texts
  std::vector<TextOutcome> methods;
  TextContinuation continuation;
  TextRelearning relearning;
};

struct UnlearningTextInputs {
  Context& context;
  const data::Dataset& dataset;
  const TextTable& table;
  const UnlearningTextConfig& config;
  std::vector<const sae::Dictionary*> dictionaries = {};
  std::vector<uint8_t> trained = {};  ///< [dictionaries]: not a control
  const sae::LossHalf& half;
  /// with `words`: for continuation; null = none, and `no_words` says why
  data::LowerHalf* lower = nullptr;
  const sae::WordHalf* words = nullptr;
  std::string no_words = {};
  MakeLossTrainer trainer = {};  ///< for the relearning attack; empty = none
};

/// Deterministic in (inputs, plan, seed) on any number of threads. Throws Error where the model
/// knows no more of the corpus to forget, or of those to keep, than it does with the layer ablated.
UnlearningTextOutcome run_unlearning_text(const UnlearningTextInputs& in,
                                          const UnlearningTextPlan& plan, uint64_t seed);

}  // namespace assay::eval::unlearning
