#include "eval/tasks/spurious/spurious.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/tasks/spurious/declare.h"
#include "eval/tasks/spurious/format_pool.h"
#include "eval/tasks/spurious/grids.h"
#include "eval/tasks/spurious/scores.h"
#include "eval/tasks/spurious/scoring.h"
#include "kernels/base/error.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

void check_shares(const std::vector<int64_t>& shares) {
  if (std::find(shares.begin(), shares.end(), 50) == shares.end())
    throw UsageError(
        fmt::format("eval.spurious.shares = [{}]: expected 50 among them, the ceiling that fixes "
                    "are checked against",
                    fmt::join(shares, ", ")));
}

class SpuriousTask : public PlannedTask<SpuriousTexts> {
 public:
  std::string missing(const Session& session) const override {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
    std::string lacks = lacks_formats(session.dataset, config);
    if (lacks.empty()) lacks = lacks_plain_rows(session);
    if (!lacks.empty()) return lacks;
    check_shares(config.shares);
    check_grids(session);
    return {};
  }

 private:
  SpuriousTexts make_plan(const Session& session, EncodeRequest& request) const override {
    const SpuriousConfig& config = session.config.of<SpuriousConfig>();
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

  Tested tested_by(const Session& session, const SpuriousTexts& planned) const override {
    const SpuriousPlan& plan = planned.plan;
    const std::string part = share_part(session.config.of<SpuriousConfig>().shares.front());
    return {plan.classes, {{"both_auroc", part, "classes", std::ssize(plan.classes), plan.runs}}};
  }

  void run_plan(const Session& session, const EncodeCache& cache, const SpuriousTexts& planned,
                TaskResult& result) const override {
    const FixTable table = score_fixes(session, cache, planned, result.details);
    report_spurious(session, planned.plan, table,
                    seen_by_dictionary(session, tested_documents(planned)), result);
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
