#include "eval/ood_probing.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/ood_probing_scores.h"
#include "eval/rng.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

struct Scored {
  int dictionary;  // −1 = none
  bool permuted;
  ArmScore score;
};

/// Everything the cells read.
struct Inputs {
  const Session& session;
  const EncodeCache& cache;
  const TextTable& table;
  const std::optional<std::vector<std::string>>& texts;
};

CellFeatures dense_features(const EncodeCache& cache, const std::vector<float>& pooled, const ProbingCell& cell) {
  return {gather_dense(cache, pooled, cell.train.texts), gather_dense(cache, pooled, cell.id.texts),
          gather_dense(cache, pooled, cell.ood.texts)};
}

CellFeatures latent_features(const EncodeCache& cache, const SparseCodes& pooled, const ProbingCell& cell) {
  const std::vector<int32_t> latents = active_latents(cache, pooled, cell.train.texts);
  return {gather_latents(cache, pooled, cell.train.texts, latents),
          gather_latents(cache, pooled, cell.id.texts, latents),
          gather_latents(cache, pooled, cell.ood.texts, latents)};
}

void score_dictionary(const Inputs& in, const ProbingCell& cell, const ProbingCell& permuted, int index, uint64_t seed,
                      std::vector<Scored>& scored) {
  const OodConfig& config = in.session.config.ood;
  const EncodedDictionary& encoded = in.cache.dictionaries[static_cast<size_t>(index)];
  const CellFeatures latents = latent_features(in.cache, encoded.pooled, cell);
  for (ArmScore& arm : latent_arms(cell, latents, config, seed)) scored.push_back(Scored{index, false, std::move(arm)});
  const std::string headline = fmt::format("latents_top{}", config.headline_k);
  scored.push_back(Scored{index, true, top_k_arm(headline, permuted, latents, config.headline_k, seed)});
  const CellFeatures reconstruction = dense_features(in.cache, encoded.reconstruction, cell);
  scored.push_back(Scored{index, false, reconstruction_arm(cell, reconstruction, seed)});
}

std::vector<Scored> score_cell(const Inputs& in, const ProbingCell& cell) {
  const uint64_t seed =
      derive_seed(in.session.seed, {'c', static_cast<uint64_t>(cell.category), static_cast<uint64_t>(cell.run)});
  const ProbingCell permuted = permute_labels(cell, derive_seed(seed, {1}));
  std::vector<Scored> scored;
  const CellFeatures dense = dense_features(in.cache, in.cache.dense, cell);
  for (ArmScore& arm : dense_arms(cell, dense, in.session.config.ood, seed))
    scored.push_back(Scored{-1, false, std::move(arm)});
  if (in.texts) scored.push_back(Scored{-1, false, text_arm(cell, in.table, *in.texts, seed)});
  scored.push_back(Scored{-1, true, logistic_arm("dense_lr", permuted, dense, seed)});
  for (size_t i = 0; i < in.cache.dictionaries.size(); ++i)
    score_dictionary(in, cell, permuted, static_cast<int>(i), seed, scored);
  return scored;
}

class OodProbingTask : public Task {
 public:
  std::string name() const override { return "ood_probing"; }
  std::string title() const override { return "Out-of-distribution probing"; }
  std::string question() const override {
    return "For whoever wants to monitor a model for a concept: does a few-latent probe learnt on one kind of text "
           "still "
           "work on another, and does it beat the same probe without a dictionary?";
  }

  void request(const Session& session, EncodeRequest& request) override {
    const OodConfig& config = session.config.ood;
    if (std::find(config.top_k.begin(), config.top_k.end(), config.headline_k) == config.top_k.end())
      throw Error(fmt::format("ood_probing: headline_k = {} is not one of top_k", config.headline_k));
    table_ = text_table(session.dataset);
    plan_ = plan_probing(session.dataset, table_, config, session.config.seeds, derive_seed(session.seed, {'p'}));
    for (const ProbingCell& cell : plan_.cells)
      for (const ProbingPart* part : {&cell.train, &cell.id, &cell.ood})
        request.texts.insert(request.texts.end(), part->texts.begin(), part->texts.end());
  }

  void run(const Session& session, const EncodeCache& cache, TaskResult& result) override {
    const auto texts = data::read_texts(session.dataset.info().path);
    if (!texts) {
      result.details["left_out"] = {"tfidf_lr: the data set has no texts"};
      session.log(
          fmt::format("ood_probing: tfidf_lr is left out: {} has no texts", session.dataset.info().path.string()));
    }
    const Inputs inputs{session, cache, table_, texts};
    std::vector<std::vector<Scored>> scored(plan_.cells.size());
    session.context.pool().run(std::ssize(plan_.cells), [&](int64_t i, int) {
      scored[static_cast<size_t>(i)] = score_cell(inputs, plan_.cells[static_cast<size_t>(i)]);
    });
    ScoreTable table;
    for (size_t i = 0; i < scored.size(); ++i)
      for (const Scored& s : scored[i]) table.add({s.score.method, s.dictionary, s.permuted}, plan_.cells[i], s.score);
    const auto seen = seen_by_dictionary(session);
    report_scores(session, plan_, table, seen, result);
    report_differences(session, table, seen, result);
    describe_classes(result);
  }

 private:
  std::vector<std::optional<bool>> seen_by_dictionary(const Session& session) const {
    std::vector<int64_t> documents;
    for (const ProbingCell& cell : plan_.cells)
      for (const ProbingPart* part : {&cell.id, &cell.ood})
        for (const int64_t t : part->texts) documents.push_back(table_.document[t]);
    std::vector<std::optional<bool>> seen;
    for (const EvalDictionary& dictionary : session.dictionaries)
      seen.push_back(seen_in_training(session, dictionary, documents));
    return seen;
  }

  void describe_classes(TaskResult& result) const {
    const auto positives = [](const ProbingPart& part) {
      return std::count(part.labels.begin(), part.labels.end(), 1);
    };
    nlohmann::json rows = nlohmann::json::array();
    for (const ProbingCell& cell : plan_.cells)
      rows.push_back({{"class", plan_.classes[static_cast<size_t>(cell.category)]},
                      {"run", cell.run},
                      {"train_positives", positives(cell.train)},
                      {"train", cell.train.texts.size()},
                      {"id_positives", positives(cell.id)},
                      {"id", cell.id.texts.size()},
                      {"ood_positives", positives(cell.ood)},
                      {"ood", cell.ood.texts.size()}});
    result.details["classes"] = std::move(rows);
    result.details["runs"] = plan_.runs;
  }

  TextTable table_;
  ProbingPlan plan_;
};

}  // namespace

std::unique_ptr<Task> make_ood_probing_task() { return std::make_unique<OodProbingTask>(); }

}  // namespace assay::eval
