// Runs the probes and statistics on files, so that Python tests can compare them with scikit-learn.
// Usage: probe_driver FOLDER. FOLDER/job.json: {"op", "seed", …options}; x.f32, y.u8, t.f32 are raw
// rows (train, labels, test), texts.json {"train": […], "test": […]}. Writes FOLDER/out.json.
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "eval/learners/contrastive_pca.h"
#include "eval/learners/erasure.h"
#include "eval/learners/probes.h"
#include "eval/learners/probes_text.h"
#include "eval/learners/steering.h"
#include "eval/statistics/stats.h"
#include "kernels/base/error.h"

namespace {

using nlohmann::json;
using namespace assay;
using namespace assay::eval;

template <class T>
std::vector<T> read_raw(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::vector<T> values(std::filesystem::file_size(path) / sizeof(T));
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(T)));
  return values;
}

struct Data {
  std::vector<float> x, t;
  std::vector<uint8_t> y;
  ConstMatrix train, test;
};

Data read_data(const std::filesystem::path& folder, int64_t f) {
  Data d{read_raw<float>(folder / "x.f32"),
         read_raw<float>(folder / "t.f32"),
         read_raw<uint8_t>(folder / "y.u8"),
         {},
         {}};
  d.train = {d.x.data(), std::ssize(d.x) / f, f};
  d.test = {d.t.data(), std::ssize(d.t) / f, f};
  return d;
}

/// Each row is a document of its own.
LogisticOptions logistic_options(const json& job) {
  static std::vector<int64_t> documents;
  documents.resize(job.at("rows").get<size_t>());
  std::iota(documents.begin(), documents.end(), int64_t{0});
  LogisticOptions options = by_document(documents);
  options.penalty = job.value("penalty", "l2") == "l1" ? Penalty::l1 : Penalty::l2;
  options.c_grid = job.value("c_grid", std::vector<double>{});
  options.folds = job.value("folds", 5);
  options.balanced = job.value("balanced", false);
  options.standardise = job.value("standardise", true);
  return options;
}

json linear_json(const LinearProbe& probe, ConstMatrix test) {
  return {{"weights", probe.weights},   {"bias", probe.bias},       {"c", probe.c},
          {"cv_auroc", probe.cv_auroc}, {"columns", probe.columns}, {"scores", probe.score(test)}};
}

json run_text(const json& job, const std::filesystem::path& folder) {
  json texts;
  std::ifstream(folder / "texts.json") >> texts;
  const auto train = texts.at("train").get<std::vector<std::string>>(),
             test = texts.at("test").get<std::vector<std::string>>();
  const std::vector<std::string_view> train_views(train.begin(), train.end()),
      test_views(test.begin(), test.end());
  const TextProbe probe = fit_tfidf_logistic(train_views, read_raw<uint8_t>(folder / "y.u8"),
                                             logistic_options(job), job.at("seed"));
  const TfIdf tfidf(train_views);
  json rows = json::array();
  for (std::string_view text : test_views) rows.push_back(tfidf.transform(text));
  return {{"rows", rows},
          {"columns", tfidf.columns()},
          {"weights", probe.linear().weights},
          {"bias", probe.linear().bias},
          {"c", probe.linear().c},
          {"scores", probe.score(test_views)}};
}

json run_erasure(const json& job, const Data& d) {
  const std::string method = job.at("method");
  const Eraser eraser = method == "leace" ? fit_leace(d.train, d.y)
                        : method == "contrastive_pca"
                            ? fit_contrastive_pca(d.train, d.y, job.at("alpha"), job.at("rank"))
                        : method == "paired" ? fit_paired_projection(d.train, job.at("rank"))
                        : method == "inlp"   ? fit_inlp(d.train, d.y, job.at("rank"),
                                                        logistic_options(job), job.at("seed"))
                                             : fit_mean_projection(d.train, d.y);
  std::vector<float> out(d.t.size());
  eraser.apply(d.test, {out.data(), d.test.rows, d.test.cols});
  return {{"out", out}, {"rank", eraser.rank()}};
}

json run(const json& job, const std::filesystem::path& folder) {
  const std::string op = job.at("op");
  if (op == "tfidf") return run_text(job, folder);
  if (op == "auroc")
    return {
        {"auroc", auroc(read_raw<float>(folder / "x.f32"), read_raw<uint8_t>(folder / "y.u8"))}};
  const Data d = read_data(folder, job.at("features"));
  const uint64_t seed = job.at("seed");
  if (op == "erase") return run_erasure(job, d);
  if (op == "logistic") {
    json out = linear_json(fit_logistic(d.train, d.y, logistic_options(job), seed), d.test);
    out["folds"] =
        stratified_folds(d.y, logistic_options(job).documents, job.value("folds", 5), seed);
    return out;
  }
  if (op == "diff_means") return linear_json(fit_diff_means(d.train, d.y), d.test);
  if (op == "lda") return linear_json(fit_lda(d.train, d.y), d.test);
  if (op == "gate") {
    const Gate gate = make_gate(fit_lda(d.train, d.y), d.train, d.y, job.at("false_positives"));
    json open = json::array();
    for (int64_t i = 0; i < d.test.rows; ++i)
      open.push_back(gate.open({d.test.row(i), static_cast<size_t>(d.test.cols)}));
    return {
        {"threshold", gate.threshold}, {"open", open}, {"shift", steering_vector(d.train, d.y)}};
  }
  if (op == "knn") return {{"scores", fit_knn(d.train, d.y, job.at("k"))->score(d.test)}};
  if (op == "pca") {
    const Pca pca = fit_pca(d.train, job.at("k"));
    return {{"mean", pca.mean}, {"components", pca.components}, {"variance", pca.variance}};
  }
  if (op == "pca_logistic") {
    return linear_json(fit_pca_logistic(d.train, d.y, job.at("k"), logistic_options(job), seed),
                       d.test);
  }
  if (op == "select") {
    std::vector<int64_t> ranked = rank_features(d.train, d.y);
    const std::vector<double> contrast = feature_contrast(d.train, d.y);
    std::vector<int64_t> first(ranked.begin(), ranked.begin() + job.at("k").get<int64_t>());
    json out = linear_json(fit_columns(d.train, d.y, first, logistic_options(job), seed), d.test);
    out["ranked"] = ranked;
    out["contrast"] = contrast;
    return out;
  }
  throw Error("unknown op " + op);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) throw UsageError("usage: probe_driver FOLDER");
  const std::filesystem::path folder = argv[1];
  json job;
  std::ifstream(folder / "job.json") >> job;
  const auto start = std::chrono::steady_clock::now();
  json out = run(job, folder);
  out["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::ofstream(folder / "out.json") << out;
  return 0;
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
