#include "eval/tasks/spurious/spurious.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/spurious/format_pool.h"
#include "eval/tasks/spurious/scores.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

struct Scored {
  std::optional<size_t> dictionary;
  size_t share;
  bool permuted;
  SpuriousScore score;
};

/// What the formats look like in one run.
struct RunFormats {
  DenseFormat dense;
  std::vector<LatentFormat> latents;  // one a dictionary
};

void check_settings(const SpuriousConfig& config) {
  for (const auto& [key, list] :
       {std::pair("shares", &config.shares), std::pair("latents", &config.latents),
        std::pair("inlp", &config.inlp), std::pair("paired", &config.paired),
        std::pair("neurons", &config.neurons), std::pair("covariate", &config.covariate)}) {
    const bool ascending =
        std::is_sorted(list->begin(), list->end()) || key == std::string("shares");
    if (list->empty() || !ascending)
      throw Error(fmt::format("spurious: {} = [{}]: expected ascending numbers, at least one", key,
                              fmt::join(*list, ", ")));
  }
  if (std::find(config.shares.begin(), config.shares.end(), 50) == config.shares.end())
    throw Error("spurious: shares lack 50, the ceiling that fixes are checked against");
}

struct SpuriousTexts {
  TextTable table;
  SpuriousPlan plan;
};

class SpuriousTask : public PlannedTask<SpuriousTexts> {
 public:
  std::string missing(const Session& session) const override {
    return lacks_formats(session.dataset, session.config.of<SpuriousConfig>());
  }

 private:
  SpuriousTexts make_plan(const Session& session, EncodeRequest& request) const override {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    check_settings(config);
    SpuriousTexts planned{text_table(session), {}};
    planned.plan = plan_spurious(session.dataset, planned.table, config, session.config.seeds,
                                 derive_seed(session.seed, {'u'}));
    const auto want = [&](const LabelledTexts& part) { request.add_texts(part.texts); };
    for (const LabelledTexts& part : planned.plan.formats) want(part);
    for (const SpuriousCell& cell : planned.plan.cells) {
      for (const LabelledTexts& part : cell.train) want(part);
      for (const LabelledTexts* part : {&cell.anti, &cell.within[0], &cell.within[1]}) want(*part);
    }
    return planned;
  }

  std::vector<std::string> tested_units(const SpuriousTexts& planned) const override {
    return planned.plan.classes;
  }

  void run_plan(const Session& session, const EncodeCache& cache, const SpuriousTexts& planned,
                TaskResult& result) const override {
    const SpuriousPlan& plan = planned.plan;
    std::vector<RunFormats> formats(static_cast<size_t>(plan.runs));
    session.context.pool().run(
        plan.runs, [&](int64_t run, int) { formats[run] = learn(session, cache, planned, run); });
    drop_unpaired(formats);
    std::vector<std::vector<Scored>> scored(plan.cells.size());
    session.context.pool().run(std::ssize(plan.cells), [&](int64_t i, int) {
      const SpuriousCell& cell = plan.cells[static_cast<size_t>(i)];
      scored[static_cast<size_t>(i)] = score_cell(session, cache, cell, formats[cell.run]);
    });
    FixTable table;
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i])
        table.add(plan.cells[i], s.dictionary, s.share, s.permuted, s.score);
    report_spurious(session, plan, table, seen_by_dictionary(session, tested_documents(planned)),
                    result);
  }

  static RunFormats learn(const Session& session, const EncodeCache& cache,
                          const SpuriousTexts& planned, int64_t run) {
    const uint64_t seed = derive_seed(session.seed, {'f', static_cast<uint64_t>(run)});
    const LabelledTexts& part = planned.plan.formats[run];
    RunFormats formats{
        learn_dense_format(cache, planned.table, part, session.config.of<SpuriousConfig>(), seed),
        {}};
    for (const EncodedDictionary& encoded : cache.dictionaries)
      formats.latents.push_back(learn_latent_format(cache, encoded.pooled, part, seed));
    return formats;
  }

  /// Arms must have the same cells in every run.
  static void drop_unpaired(std::vector<RunFormats>& formats) {
    if (std::all_of(formats.begin(), formats.end(),
                    [](const RunFormats& f) { return f.dense.paired.has_value(); }))
      return;
    for (RunFormats& f : formats) f.dense.paired.reset();
  }

  static std::vector<Scored> score_cell(const Session& session, const EncodeCache& cache,
                                        const SpuriousCell& cell, const RunFormats& formats) {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    const uint64_t seed = derive_seed(
        session.seed, {'x', static_cast<uint64_t>(cell.category), static_cast<uint64_t>(cell.run)});
    std::vector<Scored> scored;
    const auto add = [&](std::optional<size_t> dictionary, size_t share,
                         std::vector<SpuriousScore> scores) {
      for (SpuriousScore& s : scores) scored.push_back({dictionary, share, false, std::move(s)});
    };
    for (size_t share = 0; share < cell.train.size(); ++share)
      add(std::nullopt, share, score_dense_fixes(cache, cell, share, formats.dense, config, seed));
    scored.push_back({{}, 0, true, score_dense_null(cache, cell, 0, seed)});
    for (size_t i = 0; i < cache.dictionaries.size(); ++i) {
      const sae::Dictionary& dictionary = session.dictionaries[i].dictionary;
      const SparseCodes& pooled = cache.dictionaries[i].pooled;
      for (size_t share = 0; share < cell.train.size(); ++share)
        add(i, share,
            score_latent_fixes(cache, dictionary, pooled, cell, share, formats.dense.probe,
                               formats.latents[i], config, seed));
      scored.push_back({i, 0, true, score_latent_null(cache, pooled, cell, 0, seed)});
    }
    return scored;
  }

  static std::vector<int64_t> tested_documents(const SpuriousTexts& planned) {
    std::vector<int64_t> documents;
    for (const SpuriousCell& cell : planned.plan.cells)
      for (const LabelledTexts* part : {&cell.anti, &cell.within[0], &cell.within[1]})
        for (const int64_t t : part->texts) documents.push_back(planned.table.document[t]);
    return documents;
  }
};

}  // namespace

const TaskEntry kSpurious{
    .name = "spurious",
    .title = "Removing a spurious correlation",
    .question =
        "For whoever has training data in which the concept goes with something else: does "
        "dropping the latents of that something repair a probe better than erasing directions, and "
        "at what cost?",
    .make = make_task<SpuriousTask>,
};

}  // namespace assay::eval::spurious
