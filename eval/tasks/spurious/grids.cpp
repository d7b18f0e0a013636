#include "eval/tasks/spurious/grids.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::eval::spurious {
namespace {

void check_ascending(const GridEntry& grid, const std::vector<int64_t>& list) {
  const bool ascending =
      std::adjacent_find(list.begin(), list.end(), std::greater_equal<>()) == list.end();
  if (list.empty() || !ascending)
    throw UsageError(
        fmt::format("eval.spurious.{} = [{}]: expected ascending numbers, at least one", grid.key,
                    fmt::join(list, ", ")));
}

void check_leaves_some(const GridEntry& grid, const std::vector<int64_t>& list, int64_t there_are,
                       const std::string& owner) {
  if (list == Grids{}.*grid.list || list.back() < there_are) return;
  throw UsageError(fmt::format(
      "eval.spurious.{} = [{}]: {} has {} {}, and to take {} leaves nothing to read: "
      "expected numbers below {}",
      grid.key, fmt::join(list, ", "), owner, there_are, grid.things, list.back(), there_are));
}

}  // namespace

const std::vector<GridEntry>& grid_entries() {
  static const std::vector<GridEntry> entries = {{"latents", &Grids::latents, "latents", true},
                                                 {"inlp", &Grids::inlp, "dimensions", false},
                                                 {"paired", &Grids::paired, "dimensions", false},
                                                 {"covariate", &Grids::covariate, nullptr, false},
                                                 {"neurons", &Grids::neurons, "dimensions", false}};
  return entries;
}

void check_grids(const Session& session) {
  const Grids& grids = session.config.of<SpuriousConfig>();
  for (const GridEntry& grid : grid_entries()) {
    const std::vector<int64_t>& list = grids.*grid.list;
    check_ascending(grid, list);
    if (!grid.things) continue;
    if (!grid.of_latents) {
      check_leaves_some(grid, list, session.dataset.info().hooks[0].d, "the data");
      continue;
    }
    for (const EvalDictionary& d : session.dictionaries)
      check_leaves_some(grid, list, d.dictionary.info.n,
                        fmt::format("dictionary '{}'", d.entry.name));
  }
}

Grids fitting_grids(const Grids& grids, int64_t d, std::optional<int64_t> n) {
  Grids fitting = grids;
  for (const GridEntry& grid : grid_entries()) {
    const std::optional<int64_t> there_are = grid.of_latents ? n : d;
    if (grid.things && there_are)
      std::erase_if(fitting.*grid.list, [&](int64_t point) { return point >= *there_are; });
  }
  return fitting;
}

std::optional<int64_t> wider(const GridEntry& grid, int64_t last, int64_t there_are) {
  const int64_t next = grid.things ? std::min(2 * last, there_are - 1) : 2 * last;
  return next > last ? std::optional(next) : std::nullopt;
}

}  // namespace assay::eval::spurious
