#include "eval/tasks/unlearning/continuation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/base/error.h"

namespace assay::eval::unlearning {
namespace {

/// Texts of one length as they stand so far.
struct Growing {
  int64_t count, length;
  std::vector<std::vector<int32_t>> tokens;
  std::vector<std::vector<uint8_t>> special;
};

std::vector<std::pair<int64_t, int64_t>> cut(int64_t count, int64_t size) {
  std::vector<std::pair<int64_t, int64_t>> batches;
  for (int64_t first = 0; first < count; first += size)
    batches.emplace_back(first, std::min(size, count - first));
  return batches;
}

TextRows read_so_far(const Writer& writer, const Growing& texts) {
  TextRows rows;
  rows.d = writer.lower.d();
  std::vector<int64_t> ids;
  for (int64_t e = 0; e < texts.count; ++e) {
    rows.text.push_back(e);
    rows.start.push_back(e * texts.length);
    rows.rows.push_back(texts.length);
    rows.special.insert(rows.special.end(), texts.special[e].begin(), texts.special[e].end());
    ids.insert(ids.end(), texts.tokens[e].begin(), texts.tokens[e].end());
  }
  rows.x.resize(ids.size() * static_cast<size_t>(rows.d));
  const std::vector<int64_t> mask(ids.size(), 1);
  const auto batches = cut(texts.count, writer.batch);
  writer.context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    const auto [first, count] = batches[static_cast<size_t>(i)];
    const int64_t at = first * texts.length;
    writer.lower.run(ids.data() + at, mask.data() + at, count, texts.length,
                     rows.x.data() + at * rows.d);
  });
  return rows;
}

int32_t likeliest(const float* logits, int64_t vocabulary, const std::vector<uint8_t>& barred) {
  int64_t best = -1;
  for (int64_t v = 0; v < vocabulary; ++v) {
    if (!std::isfinite(logits[v]))
      throw Error(
          "the model's upper half returned a logit that is not finite: it does not fit these "
          "activations");
    if (!barred[static_cast<size_t>(v)] && (best < 0 || logits[v] > logits[best])) best = v;
  }
  if (best < 0) throw Error("no token may be written: all of the vocabulary is special");
  return static_cast<int32_t>(best);
}

/// The next token of every text.
std::vector<int32_t> next_tokens(const Writer& writer, const UnlearningCorpus& corpus,
                                 int64_t length, const Edit* edit,
                                 const std::vector<uint8_t>& barred) {
  std::vector<int32_t> next(static_cast<size_t>(corpus.rows.size()));
  const auto batches = cut(corpus.rows.size(), writer.batch);
  const int64_t d = corpus.rows.d, vocabulary = writer.words.vocabulary();
  writer.context.pool().run(std::ssize(batches), [&](int64_t i, int) {
    const auto [first, count] = batches[static_cast<size_t>(i)];
    const auto begin = corpus.rows.x.begin() + first * length * d;
    std::vector<float> residual(begin, begin + count * length * d);
    for (int64_t b = 0; edit && b < count; ++b)
      if (edit->touches(corpus, first + b))
        edit->apply(corpus, first + b, Matrix(residual.data() + b * length * d, length, d));
    const std::vector<int64_t> mask(static_cast<size_t>(count * length), 1);
    std::vector<float> logits(static_cast<size_t>(count * vocabulary));
    writer.words.next(residual.data(), mask.data(), count, length, logits.data());
    for (int64_t b = 0; b < count; ++b)
      next[first + b] = likeliest(logits.data() + b * vocabulary, vocabulary, barred);
  });
  return next;
}

std::map<std::pair<int32_t, int32_t>, int64_t> bigrams(int32_t before,
                                                       std::span<const int32_t> tokens) {
  std::map<std::pair<int32_t, int32_t>, int64_t> counts;
  for (const int32_t token : tokens) {
    ++counts[{before, token}];
    before = token;
  }
  return counts;
}

}  // namespace

std::vector<int32_t> continue_greedily(const Writer& writer, const Prompts& prompts,
                                       const Edit* edit, int64_t tokens) {
  if (writer.words.d() != writer.lower.d())
    throw Error(fmt::format("the halves do not fit: the lower gives d = {}, the upper takes {}",
                            writer.lower.d(), writer.words.d()));
  std::vector<uint8_t> barred(static_cast<size_t>(writer.words.vocabulary()), 0);
  for (const int32_t token : writer.never)
    if (token >= 0 && token < writer.words.vocabulary()) barred[token] = 1;
  Growing texts{prompts.count, prompts.length, {}, {}};
  for (int64_t e = 0; e < prompts.count; ++e) {
    const auto at = prompts.tokens.begin() + e * prompts.length;
    const auto mark = prompts.special.begin() + e * prompts.length;
    texts.tokens.emplace_back(at, at + prompts.length);
    texts.special.emplace_back(mark, mark + prompts.length);
  }
  for (int64_t step = 0; step < tokens; ++step) {
    const UnlearningCorpus corpus =
        make_corpus(writer.context, read_so_far(writer, texts), writer.dictionaries);
    const std::vector<int32_t> next = next_tokens(writer, corpus, texts.length, edit, barred);
    for (int64_t e = 0; e < texts.count; ++e) {
      texts.tokens[e].push_back(next[e]);
      texts.special[e].push_back(0);
    }
    ++texts.length;
  }
  std::vector<int32_t> written;
  for (const auto& text : texts.tokens)
    written.insert(written.end(), text.begin() + prompts.length, text.end());
  return written;
}

double bigram_overlap(int32_t before, std::span<const int32_t> written,
                      std::span<const int32_t> truth) {
  const auto real = bigrams(before, truth);
  int64_t shared = 0;
  for (const auto& [pair, count] : bigrams(before, written)) {
    const auto found = real.find(pair);
    if (found != real.end()) shared += std::min(count, found->second);
  }
  return static_cast<double>(shared) / static_cast<double>(written.size());
}

double repetition(std::span<const int32_t> written) {
  std::set<std::pair<int32_t, int32_t>> distinct;
  for (size_t i = 1; i < written.size(); ++i) distinct.emplace(written[i - 1], written[i]);
  return 1 - static_cast<double>(distinct.size()) / static_cast<double>(written.size() - 1);
}

std::string as_words(std::span<const int32_t> tokens) {
  std::string text;
  for (const int32_t token : tokens) text += fmt::format("t{} ", token);
  for (size_t i = 1; i < tokens.size(); ++i)
    text += fmt::format("t{}_{} ", tokens[i - 1], tokens[i]);
  return text;
}

}  // namespace assay::eval::unlearning
