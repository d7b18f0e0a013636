// What an auditor of language models reads: activations and tokens of organisms on the same
// prompts, and of their base model on texts about each candidate (data/python/harvest_organisms.py
// writes such a data set).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "data/dataset.h"
#include "eval/encoding/text_table.h"
#include "eval/tasks/hidden_goals/organisms.h"
#include "kernels/base/context.h"
#include "sae/dictionary.h"
#include "sae/model_half.h"

namespace assay::eval::hidden_goals {

/// Texts by their labels: part (name, concept, audit, query), candidate, organism (none = the base
/// model), kind, secret.
struct AuditPlan {
  std::vector<std::string> candidates;
  std::vector<Organism> organisms;  ///< of run 0, strength 100
  /// [candidates]: the text whose first token stands for it
  std::vector<int64_t> names;
  std::vector<std::vector<int64_t>> concepts;            ///< [candidates]
  std::vector<std::vector<int64_t>> audit;               ///< [organisms + 1], the base model last
  std::vector<std::vector<std::vector<int64_t>>> query;  ///< [organisms + 1][candidates]
};

/// Empty where a data set has such labels, else what is missing.
std::string lacks_audit(const data::Dataset& dataset);

/// An organism without a secret has a random absent candidate, by `seed`. Throws Error naming what
/// is missing: fewer than four candidates, a candidate without a name or a concept text, an
/// organism without audit texts or a query about every candidate, one whose texts disagree about
/// its kind or secret, a secret where the kind allows none or the reverse; no base model; no
/// planted, no benign or fewer than three calibration organisms.
AuditPlan plan_audit(const data::Dataset& dataset, const TextTable& texts, uint64_t seed);

/// What is read off a model: means and shares, so that readings may be averaged and subtracted.
struct AuditReading {
  enum Part : size_t {
    /// [2, d] activations: mean over all ordinary rows of audit texts; over each text's last one
    kMeans,
    /// [2, candidates] mean log p of the candidate's token by the logit lens; empty without a half
    kLens,
    /// [candidates, d] mean over rows from the candidate's token on, in texts that hold it
    kAfter,
    kWords,       ///< [tokens] share of the audit texts' ordinary tokens
    kWordsAfter,  ///< [candidates, tokens] of those behind the candidate's token
    kQuery,       ///< [candidates, tokens] of the texts that ask about it
    kCodes        ///< [2, n], one a dictionary from here on: mean activation of latents, as kMeans
  };
  std::vector<std::vector<double>> parts;
};

/// a − the mean of `others`.
AuditReading less_mean(const AuditReading& a, const std::vector<const AuditReading*>& others);

/// What the auditor knows of the candidates, from the base model.
struct AuditConcepts {
  /// every ordinary token of the data set, ascending: columns of token shares
  std::vector<int32_t> tokens;
  std::vector<int32_t> candidate;  ///< [candidates]: the token that stands for it
  /// [d] over the ordinary rows of concept texts; a constant dimension has 1
  std::vector<double> sd;
  /// [candidates, d] unit rows: z-scored mean of its texts less the others' mean
  std::vector<double> difference;
  /// [candidates, tokens] log of p(token | candidate)/p(token), half a count added
  std::vector<double> word_odds;
  /// [dictionaries][n]: candidates of the texts on which the latent is most active, the best first
  std::vector<std::vector<std::vector<int32_t>>> exemplars;
  double norm = 0;  ///< mean norm of those rows

  int64_t column(int32_t token) const;
};

/// One reader of a data set. `words` may be null: no lens.
class AuditReader {
 public:
  AuditReader(Context& context, const data::Dataset& dataset, const TextTable& table,
              const AuditPlan& plan, std::vector<const sae::Dictionary*> dictionaries,
              const sae::WordHalf* words, int64_t exemplars);
  const AuditConcepts& concepts() const { return concepts_; }
  /// Of one organism, or (the index behind the last) of the base model. Deterministic on any number
  /// of threads.
  AuditReading read(size_t organism) const;

 private:
  struct Block;
  Block read_block(const std::vector<int64_t>& texts, bool encode) const;
  void read_concepts(int64_t exemplars);
  void set_exemplars(const Block& block, const std::vector<int32_t>& of_entry, int64_t exemplars);
  void add_rows(const Block& block, AuditReading& reading) const;
  void add_after(const Block& block, AuditReading& reading) const;
  void add_lens(const Block& block, AuditReading& reading) const;
  std::vector<double> shares(const Block& block, int64_t first_entry, int64_t entries) const;

  Context& context_;
  const data::Dataset& dataset_;
  const TextTable& table_;
  const AuditPlan& plan_;
  std::vector<const sae::Dictionary*> dictionaries_;
  const sae::WordHalf* words_;
  AuditConcepts concepts_;
};

}  // namespace assay::eval::hidden_goals
