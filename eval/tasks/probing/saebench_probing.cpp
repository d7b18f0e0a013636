#include "eval/tasks/probing/saebench_probing.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "eval/learners/linear.h"
#include "eval/results/families.h"
#include "eval/tasks/probing/declare.h"
#include "eval/tasks/probing/labels.h"
#include "eval/tasks/probing/scores.h"
#include "kernels/base/random.h"

namespace assay::eval::probing {
namespace {

constexpr int64_t kLatents[] = {1, 2, 5};

/// As many negatives as positives, the first of each.
LabelledTexts balanced(const LabelledTexts& part) {
  const int64_t ones = std::count(part.labels.begin(), part.labels.end(), 1);
  const int64_t each = std::min(ones, std::ssize(part.labels) - ones);
  LabelledTexts result;
  for (const uint8_t label : {uint8_t{1}, uint8_t{0}}) {
    int64_t left = each;
    for (size_t i = 0; i < part.texts.size() && left > 0; ++i) {
      if (part.labels[i] != label) continue;
      result.texts.push_back(part.texts[i]);
      result.labels.push_back(label);
      --left;
    }
  }
  return result;
}

/// Features by |difference of means|, the largest first; ties to the smaller index.
std::vector<int64_t> by_mean_difference(const SparseFeatures& x, Labels y) {
  std::vector<double> difference(static_cast<size_t>(x.cols));
  const double ones = static_cast<double>(std::count(y.begin(), y.end(), 1)),
               zeros = static_cast<double>(x.rows()) - ones;
  for (int64_t i = 0; i < x.rows(); ++i)
    for (int64_t p = x.codes.row_offsets[i]; p < x.codes.row_offsets[i + 1]; ++p)
      difference[x.codes.indices[p]] +=
          y[i] ? x.codes.values[p] / ones : -x.codes.values[p] / zeros;
  std::vector<int64_t> order(difference.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return std::abs(difference[a]) > std::abs(difference[b]);
  });
  return order;
}

/// Without folds: the definition has one C.
LogisticOptions probe_options() {
  LogisticOptions options;
  options.c_grid = {1.0};
  options.standardise = false;
  return options;
}

struct Measured {
  std::string method;
  std::optional<size_t> dictionary;
  double accuracy;
};

std::vector<Measured> measure(const EncodeCache& cache, const ProbingCell& cell) {
  std::vector<Measured> result;
  const CellFeatures dense = dense_features(cache, cache.dense, cell);
  result.push_back({"dense", std::nullopt,
                    accuracy(fit_logistic(dense.train.view(), cell.train.labels, probe_options(), 0)
                                 .score(dense.id.view()),
                             cell.id.labels)});
  for (size_t i = 0; i < cache.dictionaries.size(); ++i) {
    const SparseCell latents = latent_features(cache, cache.dictionaries[i].pooled, cell);
    const std::vector<int64_t> order = by_mean_difference(latents.train, cell.train.labels);
    for (const int64_t k : kLatents) {
      const std::vector<int64_t> chosen(order.begin(),
                                        order.begin() + std::min<int64_t>(k, std::ssize(order)));
      const LinearProbe probe =
          fit_columns(latents.train, cell.train.labels, chosen, probe_options(), 0);
      result.push_back(
          {fmt::format("latents_top{}", k), i, accuracy(score(probe, latents.id), cell.id.labels)});
    }
  }
  return result;
}

struct SaebenchPlan {
  ProbingPlan probing;
  std::vector<int64_t> tested;  // documents
};

class SaebenchProbingTask : public PlannedTask<SaebenchPlan> {
 public:
  std::string missing(const Session& session) const override {
    return lacks_probing_labels(session.dataset, session.config.of<OodConfig>());
  }

 private:
  SaebenchPlan make_plan(const Session& session, EncodeRequest& request) const override {
    const TextTable table = text_table(session);
    SaebenchPlan plan;
    plan.probing = plan_probing(session.dataset, table, session.config.of<OodConfig>(),
                                session.config.seeds, derive_seed(session.seed, {'p'}));
    for (ProbingCell& cell : plan.probing.cells) {
      cell.id = balanced(cell.id);
      cell.ood = {};
      request.add_texts(texts_of(cell));
    }
    plan.tested = tested_documents(plan.probing, table);
    return plan;
  }

  Tested tested_by(const Session&, const SaebenchPlan& plan) const override {
    return {plan.probing.classes, {}};
  }

  void run_plan(const Session& session, const EncodeCache& cache, const SaebenchPlan& plan,
                TaskResult& result) const override {
    std::vector<std::vector<Measured>> measured(plan.probing.cells.size());
    session.context.pool().run(std::ssize(plan.probing.cells), [&](int64_t i, int) {
      measured[static_cast<size_t>(i)] = measure(cache, plan.probing.cells[static_cast<size_t>(i)]);
    });
    declare_saebench({std::begin(kLatents), std::end(kLatents)}, cache.d, result);
    nlohmann::json rows = nlohmann::json::array();
    for (size_t arm = 0; arm < measured.front().size(); ++arm) {
      const Measured& like = measured.front()[arm];
      const std::string dictionary = dictionary_name(session, like.dictionary);
      std::vector<Cell> cells;
      for (size_t i = 0; i < measured.size(); ++i) {
        const ProbingCell& cell = plan.probing.cells[i];
        cells.push_back({cell.category, cell.run, measured[i][arm].accuracy});
        rows.push_back({{"class", plan.probing.classes[static_cast<size_t>(cell.category)]},
                        {"run", cell.run},
                        {"method", like.method},
                        {"dictionary", dictionary},
                        {"accuracy", measured[i][arm].accuracy}});
      }
      add_number(session, plan, like, dictionary, cells, result);
    }
    result.details["per_cell"] = std::move(rows);
  }

  static void add_number(const Session& session, const SaebenchPlan& plan, const Measured& like,
                         const std::string& dictionary, const std::vector<Cell>& cells,
                         TaskResult& result) {
    Number n;
    const Estimate estimate = mean_of_cells(cells);
    n.metric = "saebench_accuracy";
    n.method = like.method;
    n.dictionary = dictionary;
    n.part = "id";
    set_estimate(n, estimate, "classes", cells);
    n.n = std::ssize(plan.probing.classes);
    n.n_unit = "classes";
    if (like.dictionary) {
      const EvalDictionary& own = session.dictionaries[*like.dictionary];
      n.test_seen_in_training = seen_in_training(session, own, plan.tested);
      n.control = control_of(session, own);
    }
    result.numbers.push_back(n);
  }
};

}  // namespace

const TaskEntry kSaebenchProbing{
    .name = "saebench_probing",
    .title = "Sparse probing as SAEBench defines it",
    .question =
        "For whoever compares with published SAEBench tables: what would its sparse probing say of "
        "these dictionaries on these texts?",
    .make = make_task<SaebenchProbingTask>,
};

}  // namespace assay::eval::probing
