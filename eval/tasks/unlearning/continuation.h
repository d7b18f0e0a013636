// What a causal language model writes behind prompts while an edit is held at the dictionary's
// layer, and what can be said of such text by its tokens alone.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/harvest.h"
#include "eval/tasks/unlearning/edit.h"
#include "sae/model_half.h"

namespace assay::eval::unlearning {

/// Prompts of one length.
struct Prompts {
  int64_t count = 0, length = 0;
  std::vector<int32_t> tokens;   ///< [count, length]
  std::vector<uint8_t> special;  ///< [count, length]
};

/// What writes.
struct Writer {
  Context& context;
  data::LowerHalf& lower;
  const sae::WordHalf& words;
  /// those of the edit; null where the edit reads no codes of it
  std::vector<const sae::Dictionary*> dictionaries;
  /// tokens that are never written: special ones
  std::vector<int32_t> never;
  int64_t batch = 8;  ///< texts a forward pass
};

/// Greedy continuation, [count, tokens]: at every step the text so far goes through the lower half,
/// the edit (null = none) changes its ordinary tokens, written ones too, and the likeliest token
/// follows, ties to the smaller id. Gates see the text so far. Deterministic on any number of
/// threads. Throws Error where a logit is not finite, or the halves are not of one width.
std::vector<int32_t> continue_greedily(const Writer& writer, const Prompts& prompts,
                                       const Edit* edit, int64_t tokens);

/// Share of the bigrams of `written` that the text behind the prompt really has, each as often as
/// it occurs there (BLEU's clipped precision, n = 2). `before` is the prompt's last token: the
/// first bigram starts with it.
double bigram_overlap(int32_t before, std::span<const int32_t> written,
                      std::span<const int32_t> truth);

/// 1 − distinct bigrams/bigrams: 0 where none comes twice (Welleck et al. 2020's seq-rep-n, n = 2).
/// At least 2 tokens.
double repetition(std::span<const int32_t> written);

/// Tokens and pairs of neighbours as words, for a bag-of-words probe that needs no tokenizer: "5 7"
/// → "t5 t7 t5_7".
std::string as_words(std::span<const int32_t> tokens);

}  // namespace assay::eval::unlearning
