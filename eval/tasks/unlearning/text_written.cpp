#include "eval/tasks/unlearning/text_written.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::eval::unlearning {

struct WritingExam::Place {
  int64_t front, first;  ///< special tokens in front; the row where the continuation begins
};

WritingExam::WritingExam(const TextRows& rows, const std::vector<int64_t>& test,
                         const std::vector<uint8_t>& test_corpus,
                         const std::vector<int64_t>& held_out,
                         const std::vector<uint8_t>& held_out_corpus,
                         const UnlearningTextConfig& config, uint64_t seed)
    : config_(config) {
  choose(rows, test, test_corpus);
  if (missing_.empty()) train_judge(rows, held_out, held_out_corpus, seed);
  if (!missing_.empty()) return;
  judge_auroc_ = auroc(judge(truth_), forget_);
}

/// Nothing where the text is too short, or has a special token in the middle.
std::optional<WritingExam::Place> WritingExam::place_of(const TextRows& rows, int64_t entry) const {
  const auto first = rows.special.begin() + rows.start[entry], last = first + rows.rows[entry];
  const auto ordinary = std::find(first, last, 0);
  if (last - ordinary < config_.prompt + config_.generated) return std::nullopt;
  if (std::any_of(ordinary, ordinary + config_.prompt + config_.generated,
                  [](uint8_t s) { return s != 0; }))
    return std::nullopt;
  return Place{ordinary - first, rows.start[entry] + (ordinary - first) + config_.prompt};
}

void WritingExam::choose(const TextRows& rows, const std::vector<int64_t>& test,
                         const std::vector<uint8_t>& corpus) {
  prompted_.assign(test.size(), 0);
  std::vector<int64_t> taken(static_cast<size_t>(*std::max_element(corpus.begin(), corpus.end())) +
                             1);
  for (size_t i = 0; i < test.size(); ++i) {
    const auto place = place_of(rows, test[i]);
    if (!place || taken[corpus[i]] == config_.continuations || (front_ && place->front != *front_))
      continue;
    front_ = place->front;
    ++taken[corpus[i]];
    prompted_[i] = 1;
    forget_.push_back(corpus[i] == 0);
    const int64_t from = rows.start[test[i]];
    prompts_.length = place->first - from;
    ++prompts_.count;
    prompts_.tokens.insert(prompts_.tokens.end(), rows.tokens.begin() + from,
                           rows.tokens.begin() + place->first);
    prompts_.special.insert(prompts_.special.end(), rows.special.begin() + from,
                            rows.special.begin() + place->first);
    const auto behind = rows.tokens.begin() + place->first;
    truth_.insert(truth_.end(), behind, behind + config_.generated);
  }
  if (*std::min_element(taken.begin(), taken.end()) < 2)
    missing_ = fmt::format(
        "a corpus has fewer than 2 test texts of {} + {} ordinary tokens: lower "
        "unlearning_text.prompt or .generated",
        config_.prompt, config_.generated);
}

void WritingExam::train_judge(const TextRows& rows, const std::vector<int64_t>& texts,
                              const std::vector<uint8_t>& corpus, uint64_t seed) {
  std::vector<std::string> words;
  std::vector<uint8_t> labels;
  std::vector<int64_t> documents;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto place = place_of(rows, texts[i]);
    if (!place) continue;
    words.push_back(
        as_words({rows.tokens.data() + place->first, static_cast<size_t>(config_.generated)}));
    labels.push_back(corpus[i] == 0);
    documents.push_back(rows.document[texts[i]]);
  }
  const auto forget = std::count(labels.begin(), labels.end(), 1);
  if (std::min(forget, std::ssize(labels) - forget) < 10) {
    missing_ = "fewer than 10 held-out texts of either kind are long enough to train the judge on";
    return;
  }
  LogisticOptions options;
  options.balanced = true;
  options.documents = documents;
  probe_ = fit_tfidf_logistic({words.begin(), words.end()}, labels, options, seed);
}

std::span<const int32_t> WritingExam::one(const std::vector<int32_t>& tokens,
                                          int64_t prompt) const {
  return {tokens.data() + prompt * config_.generated, static_cast<size_t>(config_.generated)};
}

std::vector<double> WritingExam::judge(const std::vector<int32_t>& tokens) const {
  std::vector<std::string> words;
  for (int64_t p = 0; p < prompts_.count; ++p) words.push_back(as_words(one(tokens, p)));
  return probe_->score({words.begin(), words.end()});
}

Written WritingExam::grade(std::vector<int32_t> tokens) const {
  const std::vector<double> verdict = judge(tokens);
  Written written;
  for (auto* measure : {&written.judged, &written.overlap, &written.repetition})
    measure->assign(prompted_.size(), 0.0);
  int64_t p = 0;
  for (size_t i = 0; i < prompted_.size(); ++i) {
    if (!prompted_[i]) continue;
    const int32_t before = prompts_.tokens[(p + 1) * prompts_.length - 1];
    written.judged[i] = verdict[p] > 0;
    written.overlap[i] = bigram_overlap(before, one(tokens, p), one(truth_, p));
    written.repetition[i] = repetition(one(tokens, p));
    ++p;
  }
  written.tokens = std::move(tokens);
  return written;
}

}  // namespace assay::eval::unlearning
