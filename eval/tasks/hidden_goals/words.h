// The black box of the model-diffing task: which words go with texts that an organism moves far.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "eval/learners/probes_text.h"
#include "eval/tasks/hidden_goals/methods.h"

namespace assay::eval::hidden_goals {

/// Ridge regression (no intercept; outputs are centred) of the audit texts' outputs on their words,
/// TF-IDF of the texts that are not of the absent class. A class's score is what it predicts for
/// the class's concept texts, on average. Thread-safe after construction.
class WordAuditor {
 public:
  /// Texts in the order of the run's audit and concept texts.
  WordAuditor(Context& context, const std::vector<std::string_view>& audit,
              const std::vector<std::string_view>& concepts, const GoalData& data);
  /// outputs [audit texts]; those of the absent class are not looked at. "black_box", a setting for
  /// each penalty. Throws Error where the regression does not converge.
  GoalScores score(const std::vector<double>& outputs, int32_t absent) const;

  static constexpr double kPenalties[] = {1, 10, 100};

 private:
  /// The audit texts without one class.
  struct Corpus {
    int64_t columns = 0;
    std::vector<int64_t> texts;              // places among the audit texts
    std::vector<TfIdf::Row> rows;            // [texts]
    std::vector<std::vector<double>> means;  // [classes, columns] of the concept texts
  };
  static std::vector<double> solve(const Corpus& corpus, const std::vector<double>& y,
                                   double penalty);

  std::vector<Corpus> corpora_;  // [classes absent]
};

}  // namespace assay::eval::hidden_goals
