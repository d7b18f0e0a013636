#include "eval/tasks/spurious/removal_run.h"

#include <algorithm>
#include <functional>

#include "eval/tasks/spurious/decoder_rows.h"
#include "kernels/base/random.h"

namespace assay::eval::spurious {
namespace {

/// Rows of a part with a binary label.
struct Question {
  std::vector<int64_t> rows;
  std::vector<uint8_t> labels;
};

template <class Keep, class Label>
Question ask(const RemovalPart& part, const Keep& keep, const Label& label) {
  Question question;
  for (size_t i = 0; i < part.texts.size(); ++i) {
    if (!keep(i)) continue;
    question.rows.push_back(static_cast<int64_t>(i));
    question.labels.push_back(label(i));
  }
  return question;
}

/// Class c against as many texts of the others, in turns.
Question one_against_rest(const RemovalPart& part, int32_t c, int64_t classes) {
  Question question = ask(
      part, [&](size_t i) { return part.category[i] == c; }, [](size_t) { return uint8_t{1}; });
  std::vector<std::vector<int64_t>> others(static_cast<size_t>(classes));
  for (size_t i = 0; i < part.texts.size(); ++i)
    if (part.category[i] != c) others[part.category[i]].push_back(static_cast<int64_t>(i));
  const size_t wanted = 2 * question.rows.size();
  for (size_t turn = 0; question.rows.size() < wanted; ++turn) {
    const size_t before = question.rows.size();
    for (const auto& rows : others) {
      if (turn >= rows.size() || question.rows.size() == wanted) continue;
      // From both ends, so that both formats come.
      question.rows.push_back(turn % 2 ? rows[rows.size() - 1 - turn / 2] : rows[turn / 2]);
    }
    if (question.rows.size() == before) break;
  }
  question.labels.resize(question.rows.size(), 0);
  return question;
}

Features rows_of(const Features& x, const std::vector<int64_t>& rows) {
  Features result{std::ssize(rows), x.cols, {}};
  for (const int64_t row : rows) result.documents.push_back(x.documents[row]);
  for (const int64_t row : rows)
    result.values.insert(result.values.end(), x.values.begin() + row * x.cols,
                         x.values.begin() + (row + 1) * x.cols);
  return result;
}

/// A probe, the question it is about, and its scores on all test rows.
struct Asked {
  Question train, test;
  LinearProbe probe;
  std::vector<double> scores;

  Asked(const Features& x, const Features& x_test, Question train_question, Question test_question,
        uint64_t seed)
      : train(std::move(train_question)), test(std::move(test_question)) {
    const Features own = rows_of(x, train.rows);
    probe = fit_logistic(own.view(), train.labels, by_document(own.documents), seed);
    scores = probe.score(x_test.view());
  }
  double accuracy_on(const Question& question) const {
    double right = 0;
    for (size_t i = 0; i < question.rows.size(); ++i)
      right += (scores[question.rows[i]] > 0) == (question.labels[i] == 1);
    return right / static_cast<double>(question.rows.size());
  }
};

using Ablated = std::vector<int64_t>;

/// What is ablated for the latents chosen at ablate[n] for a question: sets whose scores are
/// averaged.
using StandIn =
    std::function<std::vector<Ablated>(const Ablated& chosen, size_t n, uint64_t question)>;

std::vector<Ablated> themselves(const Ablated& chosen, size_t, uint64_t) { return {chosen}; }

template <class ScoreOf>
double mean_score(const std::vector<Ablated>& sets, const ScoreOf& score) {
  double sum = 0;
  for (const Ablated& set : sets) sum += score(set);
  return sum / static_cast<double>(sets.size());
}

/// TPP of one arm in one run: [n][classes].
std::vector<std::vector<double>> tpp(const RemovalSpace& space, const std::vector<Asked>& probes,
                                     const std::vector<int64_t>& ablate, const StandIn& stand_in) {
  std::vector<std::vector<double>> aligned, result;
  for (const Asked& asked : probes) aligned.push_back(alignments(space, asked.probe));
  const auto score = [&](size_t i, const Ablated& ablated) {
    double value = 0;
    for (size_t k = 0; k < probes.size(); ++k) {
      const Question& test = probes[k].test;
      const double drop =
          probes[k].accuracy_on(test) -
          ablated_accuracy(space, probes[k].scores, aligned[k], ablated, test.rows, test.labels);
      value += k == i ? drop : -drop / static_cast<double>(probes.size() - 1);
    }
    return value;
  };
  for (size_t n = 0; n < ablate.size(); ++n) {
    result.emplace_back();
    for (size_t i = 0; i < probes.size(); ++i) {
      const Ablated chosen = choose_ablated(space, aligned[i], probes[i].train.rows,
                                            probes[i].train.labels, ablate[n], true);
      result.back().push_back(mean_score(
          stand_in(chosen, n, i), [&](const Ablated& ablated) { return score(i, ablated); }));
    }
  }
  return result;
}

/// One pair's probes: of the two attributes on all four cells, and the biased one.
struct Pair {
  Asked attribute[2];  // class, format
  Asked biased;
};

/// The pair's texts, asked for class (0), format (1), or, where the two go together, either (2).
Question ask_pair(const RemovalPart& part, int32_t first, int what) {
  const auto own = [&part, first](size_t i) { return part.category[i] == first; };
  const auto usual = [&part](size_t i) { return part.format[i] == kUsual; };
  return ask(
      part,
      [&](size_t i) {
        return part.category[i] / 2 == first / 2 && (what < 2 || own(i) == usual(i));
      },
      [&](size_t i) { return static_cast<uint8_t>(what == 1 ? usual(i) : own(i)); });
}

Pair make_pair(const RemovalData& data, const RemovalRun& run, int32_t first, uint64_t seed) {
  const auto asked = [&](int what) {
    return Asked(data.train, data.test, ask_pair(run.train, first, what),
                 ask_pair(run.test, first, what), derive_seed(seed, {static_cast<uint64_t>(what)}));
  };
  return {{asked(0), asked(1)}, asked(2)};
}

/// SCR of one arm on one pair, for every n.
std::vector<double> scr(const RemovalSpace& space, const Pair& pair,
                        const std::vector<int64_t>& ablate, const StandIn& stand_in,
                        uint64_t question) {
  const int kept = pair.biased.accuracy_on(pair.attribute[0].test) <=
                           pair.biased.accuracy_on(pair.attribute[1].test)
                       ? 0
                       : 1;
  const Asked &own = pair.attribute[kept], &other = pair.attribute[1 - kept];
  const std::vector<double> biased = alignments(space, pair.biased.probe),
                            effect = alignments(space, other.probe);
  const double before = pair.biased.accuracy_on(own.test), clean = own.accuracy_on(own.test);
  std::vector<double> values;
  for (size_t n = 0; n < ablate.size(); ++n) {
    const Ablated chosen =
        choose_ablated(space, effect, other.train.rows, other.train.labels, ablate[n], false);
    values.push_back(mean_score(stand_in(chosen, n, question), [&](const Ablated& ablated) {
      const double after = ablated_accuracy(space, pair.biased.scores, biased, ablated,
                                            own.test.rows, own.test.labels);
      return scr_score(before, after, clean);
    }));
  }
  return values;
}

/// Partners drawn anew kDraws times for every question; how well they match is added to `match`.
StandIn random_partners(const std::vector<LatentWeight>& weights, uint64_t seed,
                        std::vector<MatchQuality>& match) {
  return [&weights, seed, &match](const Ablated& chosen, size_t n, uint64_t question) {
    std::vector<Ablated> sets;
    for (uint64_t draw = 0; draw < kDraws; ++draw) {
      sets.push_back(matched_latents(weights, chosen, derive_seed(seed, {n, question, draw})));
      match[n].add(weights, chosen, sets.back());
      std::erase(sets.back(), kUnmatched);
    }
    return sets;
  };
}

/// The oracle may see what no arm may: the test's texts. From the training texts alone, fewer than
/// dimensions, LEACE would erase their noise.
Eraser erase_attribute(const RemovalData& data, const Question& train, const Question& test) {
  Features x = rows_of(data.train, train.rows);
  const Features more = rows_of(data.test, test.rows);
  x.values.insert(x.values.end(), more.values.begin(), more.values.end());
  x.rows += more.rows;
  std::vector<uint8_t> labels = train.labels;
  labels.insert(labels.end(), test.labels.begin(), test.labels.end());
  return fit_leace(x.view(), labels);
}

RemovalSpace class_oracle(const RemovalData& data, const RemovalRun& run, int32_t classes) {
  std::vector<Eraser> erasers;
  for (int32_t c = 0; c < classes; ++c) {
    const auto question = [c](const RemovalPart& part) {
      return ask(
          part, [](size_t) { return true; },
          [&](size_t i) { return static_cast<uint8_t>(part.category[i] == c); });
    };
    erasers.push_back(erase_attribute(data, question(run.train), question(run.test)));
  }
  return oracle_space(data.train, data.test, erasers);
}

RemovalSpace pair_oracle(const RemovalData& data, const Pair& pair) {
  std::vector<Eraser> erasers;
  for (const Asked& a : pair.attribute) erasers.push_back(erase_attribute(data, a.train, a.test));
  return oracle_space(data.train, data.test, erasers);
}

}  // namespace

RemovalPart removal_part(const FormatFold& fold, const std::vector<int32_t>& classes,
                         int64_t limit) {
  RemovalPart part;
  for (size_t c = 0; c < classes.size(); ++c)
    for (const Format format : {kUsual, kOther}) {
      const auto& texts = fold.by_class[classes[c]][format];
      for (int64_t i = 0; i < std::min(limit, std::ssize(texts)); ++i) {
        part.texts.push_back(texts[i]);
        part.category.push_back(static_cast<int32_t>(c));
        part.format.push_back(format);
      }
    }
  return part;
}

RemovalData gather_run(const Session& session, const EncodeCache& cache, const RemovalRun& run) {
  RemovalData data{gather_dense(cache, cache.dense, run.train.texts),
                   gather_dense(cache, cache.dense, run.test.texts),
                   {},
                   {}};
  data.arms.emplace_back("neurons", std::nullopt);
  data.spaces.push_back(neuron_space(data.train, data.test));
  for (size_t i = 0; i < cache.dictionaries.size(); ++i) {
    const SparseCodes& pooled = cache.dictionaries[i].pooled;
    const std::vector<int32_t> latents = active_latents(cache, pooled, run.train.texts);
    RemovalSpace space{gather_latents(cache, pooled, run.train.texts, latents),
                       gather_latents(cache, pooled, run.test.texts, latents),
                       gather_decoder(session.dictionaries[i].dictionary, latents)};
    data.arms.emplace_back("latents", i);
    data.spaces.push_back(std::move(space));
  }
  return data;
}

std::vector<RemovalValues> score_run(const RemovalData& data, const RemovalRun& run,
                                     int64_t classes, const std::vector<int64_t>& ablate,
                                     uint64_t seed) {
  std::vector<Asked> probes;
  std::vector<Pair> pairs;
  for (int32_t c = 0; c < classes; ++c)
    probes.emplace_back(data.train, data.test, one_against_rest(run.train, c, classes),
                        one_against_rest(run.test, c, classes),
                        derive_seed(seed, {static_cast<uint64_t>(c)}));
  for (int32_t c = 0; c + 1 < classes; c += 2)
    pairs.push_back(make_pair(data, run, c, derive_seed(seed, {'p', static_cast<uint64_t>(c)})));
  std::vector<RemovalValues> result;
  const auto pair_values = [&](const auto& space_of, const std::vector<int64_t>& counts,
                               const StandIn& stand_in) {
    std::vector<std::vector<double>> values(counts.size());
    for (size_t p = 0; p < pairs.size(); ++p) {
      const std::vector<double> own = scr(space_of(pairs[p]), pairs[p], counts, stand_in, p);
      for (size_t n = 0; n < own.size(); ++n) values[n].push_back(own[n]);
    }
    return values;
  };
  for (size_t a = 0; a < data.arms.size(); ++a) {
    const auto& method = data.arms[a].first;
    const auto& dictionary = data.arms[a].second;
    const RemovalSpace& space = data.spaces[a];
    const auto same = [&](const Pair&) -> const RemovalSpace& { return space; };
    result.push_back({"tpp", method, dictionary, tpp(space, probes, ablate, themselves)});
    result.push_back({"scr", method, dictionary, pair_values(same, ablate, themselves)});
    if (!dictionary) continue;
    const std::vector<LatentWeight> weights = latent_weights(space.train.view(), space.decoder);
    const auto partners = [&](char metric, std::vector<MatchQuality>& match) {
      match.resize(ablate.size());
      // Not the dictionary's place: no number depends on what stands beside it.
      return random_partners(weights, derive_seed(seed, {'r', static_cast<uint64_t>(metric), 0}),
                             match);
    };
    RemovalValues control{"tpp", "random_latents", dictionary, {}};
    control.values = tpp(space, probes, ablate, partners('t', control.match));
    result.push_back(std::move(control));
    control = {"scr", "random_latents", dictionary, {}};
    control.values = pair_values(same, ablate, partners('s', control.match));
    result.push_back(std::move(control));
  }
  // Ablating more than the one latent that an oracle has for each attribute would be no oracle.
  const std::vector<int64_t> one(ablate.size(), 1);
  const RemovalSpace oracle = class_oracle(data, run, static_cast<int32_t>(classes));
  const auto pair_space = [&](const Pair& pair) { return pair_oracle(data, pair); };
  result.push_back({"tpp", "oracle", {}, tpp(oracle, probes, one, themselves)});
  result.push_back({"scr", "oracle", {}, pair_values(pair_space, one, themselves)});
  return result;
}

}  // namespace assay::eval::spurious
