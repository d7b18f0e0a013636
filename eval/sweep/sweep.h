// What the dictionaries of a sweep are worth beside each other, on rows that none of them trained
// on: sweep.json and its page. One look at many dictionaries, to choose those that deserve an
// evaluation.
//
// Definitions (over the same rows of the validation split, raw scale):
//   fvu          Σ‖x − x̂‖² / Σ‖x − μ‖², μ = mean of the rows
//   l0           mean number of latents with values > 0
//   dead_share   share of latents that fire on none of the rows
//   shared       of up to kAgreementLatents living latents of one seed, drawn by seed: those that
//                another seed of the same setting has too, as match_latents
//                (eval/tasks/core/seed_stability.h) defines it, mean cosine above .7
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/context.h"
#include "kernels/base/view.h"
#include "sae/dictionary.h"

namespace assay::eval {

constexpr int64_t kAgreementLatents = 512;

/// One dictionary of the sweep, known by its setting.
struct SweepDictionary {
  std::string name;  ///< its run folder's
  std::string variant;
  int64_t n = 0;
  double k = 0;
  double sparsity = 0;  ///< the penalty's weight; 0: the variant's default, or it has none
  uint64_t seed = 0;
  std::string failure;  ///< why it was left out; empty where it was trained to the end
  std::string hash;     ///< of the dictionary; this and what follows only where it was
  double fvu = 0, l0 = 0, dead_share = 0;

  /// "topk, n = 6144, k = 32", with ", sparsity = 0.1" where there is one.
  std::string setting() const;
};

/// Two seeds of one setting.
struct SeedAgreement {
  std::string first, second;
  int64_t latents = 0, shared = 0;
};

struct SweepResults {
  std::string dataset, model, hook;
  int64_t tokens = 0;  ///< each was trained on
  int64_t rows = 0;    ///< of the validation split that were measured on
  double seconds = 0;  ///< of training, in the process that ended it
  std::vector<SweepDictionary> dictionaries;
  std::vector<SeedAgreement> agreements;
};

/// Fills in what is measured: x [rows, d] raw; `folder` holds each dictionary's run. Deterministic.
void measure_sweep(Context& context, const std::filesystem::path& folder, ConstMatrix x,
                   SweepResults& results);

/// FOLDER/sweep.json and FOLDER/report.html, each whole or not at all. Throws Error where the
/// charts' runtime is missing.
void write_sweep(const SweepResults& results, const std::filesystem::path& folder);

/// The names of the dictionaries in a sweep.json; nullopt where the file is something else.
std::optional<std::vector<std::string>> names_in_sweep(const std::filesystem::path& file);

}  // namespace assay::eval
