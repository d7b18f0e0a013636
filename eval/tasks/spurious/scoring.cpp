#include "eval/tasks/spurious/scoring.h"

#include <algorithm>

#include "eval/tasks/match_row.h"
#include "eval/tasks/spurious/fix_entries.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

/// nullopt: the activations.
using Owner = std::optional<size_t>;

struct Scored {
  Owner owner;
  size_t share;
  bool permuted;
  SpuriousScore score;
};

/// What the formats look like in one run.
struct RunFormats {
  DenseFormat dense;
  std::vector<LatentFormat> latents;  // one a dictionary
};

class Scoring {
 public:
  Scoring(const Session& session, const EncodeCache& cache, const SpuriousTexts& planned)
      : session_(session),
        cache_(cache),
        planned_(planned),
        config_(session.config.of<SpuriousConfig>()) {
    add_grids({});
    for (size_t i = 0; i < cache.dictionaries.size(); ++i) add_grids(i);
  }

  FixTable run() {
    learn_formats();
    over_cells([&](const SpuriousCell& cell) { return score_configured(cell); });
    for (Owned& owned : grids_)
      for (const GridEntry& grid : grid_entries())
        if (grid.of_latents == owned.owner.has_value()) widen(owned, grid);
    return std::move(table_);
  }

  nlohmann::json describe_match() const {
    nlohmann::json rows = nlohmann::json::array();
    for (const auto& [owner, grids] : grids_) {
      if (!owner) continue;
      for (const int64_t m : grids.latents) {
        MatchQuality match;
        for (const RunFormats& formats : formats_)
          match.add(formats.latents[*owner].random.at(m).match);
        rows.push_back({{"dictionary", session_.dictionaries[*owner].entry.name}, {"latents", m}});
        add_match(rows.back(), match);
      }
    }
    return rows;
  }

 private:
  struct Owned {
    Owner owner;
    Grids grids;
  };

  std::optional<int64_t> latents_of(Owner owner) const {
    return owner ? std::optional(session_.dictionaries[*owner].dictionary.info.n) : std::nullopt;
  }
  void add_grids(Owner owner) {
    grids_.push_back({owner, fitting_grids(config_, cache_.d, latents_of(owner))});
  }
  int64_t beside() const { return config_.covariate.back(); }
  uint64_t format_seed(int64_t run) const {
    return derive_seed(session_.seed, {'f', static_cast<uint64_t>(run)});
  }

  void learn_formats() {
    formats_.resize(static_cast<size_t>(planned_.plan.runs));
    session_.context.pool().run(planned_.plan.runs, [&](int64_t run, int) {
      const LabelledTexts& part = planned_.plan.formats[run];
      const uint64_t seed = format_seed(run);
      RunFormats& formats = formats_[run];
      formats.dense = learn_dense_format(cache_, planned_.table, part, grids_[0].grids, seed);
      for (size_t i = 0; i < cache_.dictionaries.size(); ++i) {
        formats.latents.push_back(learn_latent_format(cache_, session_.dictionaries[i].dictionary,
                                                      cache_.dictionaries[i].pooled, part, seed));
        for (const int64_t m : grids_[i + 1].grids.latents) draw_random(formats.latents[i], m);
      }
    });
    // Arms must have the same cells in every run.
    const bool paired = std::all_of(formats_.begin(), formats_.end(),
                                    [](const RunFormats& f) { return f.dense.paired.has_value(); });
    if (paired) return;
    for (RunFormats& f : formats_) f.dense.paired.reset();
  }

  /// What `score` says of every cell goes into the table, in the cells' order. A strength that some
  /// cell has no score of is left out: it leaves nothing to read there.
  template <class Score>
  void over_cells(const Score& score) {
    const std::vector<SpuriousCell>& cells = planned_.plan.cells;
    std::vector<std::vector<Scored>> scored(cells.size());
    session_.context.pool().run(std::ssize(cells),
                                [&](int64_t i, int) { scored[i] = score(cells[i]); });
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i]) table_.add(cells[i], s.owner, s.share, s.permuted, s.score);
    table_.drop_incomplete(cells.size());
  }

  uint64_t cell_seed(const SpuriousCell& cell) const {
    return derive_seed(session_.seed, {'x', static_cast<uint64_t>(cell.category),
                                       static_cast<uint64_t>(cell.run)});
  }

  std::vector<SpuriousScore> score_grids(const SpuriousCell& cell, Owner owner, size_t share,
                                         const Grids& grids) const {
    const RunFormats& formats = formats_[cell.run];
    if (!owner)
      return score_dense_grids(cache_, cell, share, formats.dense, grids, beside(),
                               cell_seed(cell));
    return score_latent_grids(cache_, session_.dictionaries[*owner].dictionary,
                              cache_.dictionaries[*owner].pooled, cell, share, formats.dense.probe,
                              formats.latents[*owner], grids, beside(), cell_seed(cell));
  }

  std::vector<SpuriousScore> score_plain(const SpuriousCell& cell, Owner owner,
                                         size_t share) const {
    if (!owner)
      return score_dense_plain(cache_, cell, share, formats_[cell.run].dense, cell_seed(cell));
    return score_latent_plain(cache_, cache_.dictionaries[*owner].pooled, cell, share,
                              cell_seed(cell));
  }

  SpuriousScore score_null(const SpuriousCell& cell, Owner owner) const {
    if (!owner) return score_dense_null(cache_, cell, 0, cell_seed(cell));
    return score_latent_null(cache_, cache_.dictionaries[*owner].pooled, cell, 0, cell_seed(cell));
  }

  std::vector<Scored> score_configured(const SpuriousCell& cell) const {
    std::vector<Scored> scored;
    for (const auto& [owner, grids] : grids_) {
      for (size_t share = 0; share < cell.train.size(); ++share)
        for (const auto& scores :
             {score_plain(cell, owner, share), score_grids(cell, owner, share, grids)})
          for (const SpuriousScore& s : scores) scored.push_back({owner, share, false, s});
      scored.push_back({owner, 0, true, score_null(cell, owner)});
    }
    return scored;
  }

  /// A fit begins anew: once, to the last rank that widening may ask for.
  void deepen_inlp(const GridEntry& grid, int64_t rank, int times_left) {
    for (; times_left > 0; --times_left) rank = wider(grid, rank, cache_.d).value_or(rank);
    session_.context.pool().run(planned_.plan.runs, [&](int64_t run, int) {
      formats_[run].dense.inlp =
          learn_inlp(cache_, planned_.plan.formats[run], rank, format_seed(run));
    });
  }

  void widen(Owned& owned, const GridEntry& grid) {
    std::vector<int64_t>& list = owned.grids.*grid.list;
    for (int time = 0; time < kWidenings && !list.empty(); ++time) {
      if (!chosen_at(table_, grid, owned.owner, list.back(), planned_.plan.fold)) return;
      const std::optional<int64_t> next =
          wider(grid, list.back(), latents_of(owned.owner).value_or(cache_.d));
      if (!next) return;
      Grids more{.latents = {}, .inlp = {}, .paired = {}, .neurons = {}, .covariate = {}};
      more.*grid.list = {*next};
      if (!more.inlp.empty() && time == 0) deepen_inlp(grid, *next, kWidenings - 1);
      if (!more.latents.empty())
        for (RunFormats& formats : formats_) draw_random(formats.latents[*owned.owner], *next);
      over_cells([&](const SpuriousCell& cell) {
        std::vector<Scored> scored;
        for (SpuriousScore& s : score_grids(cell, owned.owner, 0, more))
          scored.push_back({owned.owner, 0, false, std::move(s)});
        return scored;
      });
      list.push_back(*next);
    }
  }

  const Session& session_;
  const EncodeCache& cache_;
  const SpuriousTexts& planned_;
  const SpuriousConfig& config_;
  std::vector<RunFormats> formats_;
  std::vector<Owned> grids_;  // of the activations, then of each dictionary
  FixTable table_;
};

}  // namespace

bool chosen_at(const FixTable& table, const GridEntry& grid, std::optional<size_t> dictionary,
               int64_t strength, const std::vector<int8_t>& fold) {
  const auto& entries = fix_entries();
  return std::any_of(entries.begin(), entries.end(), [&](const FixEntry& fix) {
    if (fix.grid != grid.list || fix.arm.role == "control") return false;
    const ChosenFix chosen = choose_fix(table, fix.arm.name, dictionary, 0, fold);
    return chosen.strength[0] == strength || chosen.strength[1] == strength;
  });
}

FixTable score_fixes(const Session& session, const EncodeCache& cache, const SpuriousTexts& planned,
                     nlohmann::json& details) {
  Scoring scoring(session, cache, planned);
  FixTable table = scoring.run();
  details["random_latents"] = scoring.describe_match();
  return table;
}

}  // namespace assay::eval::spurious
