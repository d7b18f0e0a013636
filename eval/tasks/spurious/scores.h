// Cells of the spurious-correlation task, strengths chosen on other classes, and the numbers drawn
// from them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "eval/statistics/inference.h"
#include "eval/tasks/spurious/fixes.h"
#include "eval/tasks/task.h"

namespace assay::eval::spurious {

/// A fix at one strength on one dictionary, or none, at one share (index into config.shares).
struct FixCells {
  std::string fix;
  int64_t strength = 0;
  std::optional<size_t> dictionary;
  size_t share = 0;
  bool permuted = false;
  std::vector<Cell> anti, within;
};
/// What fixes are compared by, cell by cell: the mean of `anti` and `within`.
std::vector<Cell> both(const std::vector<Cell>& anti, const std::vector<Cell>& within);

class FixTable {
 public:
  void add(const SpuriousCell& cell, std::optional<size_t> dictionary, size_t share, bool permuted,
           const SpuriousScore& score);
  /// Takes out what has fewer cells.
  void drop_incomplete(size_t cells);
  /// The strengths of one fix stand together, as they came.
  const std::vector<FixCells>& rows() const { return rows_; }
  /// All strengths of a fix, no fix first.
  std::vector<const FixCells*> strengths(const std::string& fix, std::optional<size_t> dictionary,
                                         size_t share) const;
  const FixCells& at(const std::string& fix, int64_t strength, std::optional<size_t> dictionary,
                     size_t share, bool permuted) const;

 private:
  std::vector<FixCells> rows_;
};

/// A fix whose strength was chosen for either fold of the classes on the other fold.
struct ChosenFix {
  std::string fix;
  std::optional<size_t> dictionary;
  int64_t strength[2] = {0, 0};   ///< for the classes of fold 0, of fold 1
  bool last[2] = {false, false};  ///< is it the last of its grid?
  std::vector<Cell> anti, within;
};

/// The strength with the best mean of anti and within over cells of classes in fold `tuning`; ties
/// to the weaker.
const FixCells& choose_strength(const std::vector<const FixCells*>& strengths,
                                const std::vector<int8_t>& fold, int8_t tuning);
ChosenFix choose_fix(const FixTable& table, const std::string& fix,
                     std::optional<size_t> dictionary, size_t share,
                     const std::vector<int8_t>& fold);

/// Numbers, scores, checks and details. `seen[i]`: did dictionary i train on the test texts.
void report_spurious(const Session& session, const SpuriousPlan& plan, const FixTable& table,
                     const std::vector<std::optional<bool>>& seen, TaskResult& result);

}  // namespace assay::eval::spurious
