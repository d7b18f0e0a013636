// Open-ended continuation in the unlearning task on a language model: what the edited model writes
// behind the prompts of each corpus, and whether it still reads like the corpus to forget.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "eval/encoding/upper_run.h"
#include "eval/learners/probes_text.h"
#include "eval/tasks/unlearning/continuation.h"
#include "eval/tasks/unlearning/settings.h"

namespace assay::eval::unlearning {

/// Measures of one arm's continuations, [test entries]; 0 where the text is no prompt.
struct Written {
  std::vector<double> judged;  ///< 1 where the judge takes it for the corpus to forget
  std::vector<double> overlap, repetition;
  std::vector<int32_t> tokens;  ///< [prompts, generated]
};

/// Prompts from the test part, and the judge: TF-IDF over tokens and their pairs, logistic
/// regression with classes balanced, fitted on the true text at the same places of held-out texts.
class WritingExam {
 public:
  /// test and held_out: entries of `rows`; `corpus` their corpora, 0 = to forget. Prompts are the
  /// first `config.prompt` ordinary tokens (with what special ones stand before) of the first
  /// config.continuations texts of each corpus that have config.generated more behind; all with as
  /// many special tokens in front as the first.
  WritingExam(const TextRows& rows, const std::vector<int64_t>& test,
              const std::vector<uint8_t>& test_corpus, const std::vector<int64_t>& held_out,
              const std::vector<uint8_t>& held_out_corpus, const UnlearningTextConfig& config,
              uint64_t seed);

  /// Empty, or why there is none: too few texts that are long enough.
  const std::string& missing() const { return missing_; }
  const Prompts& prompts() const { return prompts_; }
  const std::vector<uint8_t>& prompted() const { return prompted_; }  ///< [test entries]
  const std::vector<int32_t>& truth() const { return truth_; }        ///< [prompts, generated]
  /// Of the judge, on the true continuations of the prompts: to forget against the rest.
  double judge_auroc() const { return judge_auroc_; }
  Written grade(std::vector<int32_t> tokens) const;

 private:
  struct Place;  // where a text's prompt ends
  std::optional<Place> place_of(const TextRows& rows, int64_t entry) const;
  void choose(const TextRows& rows, const std::vector<int64_t>& test,
              const std::vector<uint8_t>& corpus);
  void train_judge(const TextRows& rows, const std::vector<int64_t>& texts,
                   const std::vector<uint8_t>& corpus, uint64_t seed);
  std::vector<double> judge(const std::vector<int32_t>& tokens) const;
  std::span<const int32_t> one(const std::vector<int32_t>& tokens, int64_t prompt) const;

  const UnlearningTextConfig& config_;
  std::string missing_;
  std::optional<int64_t> front_;  // special tokens in front of the first prompt
  Prompts prompts_;
  std::vector<uint8_t> prompted_, forget_;  // [test entries]; [prompts]
  std::vector<int32_t> truth_;
  std::optional<TextProbe> probe_;
  double judge_auroc_ = 0;
};

}  // namespace assay::eval::unlearning
