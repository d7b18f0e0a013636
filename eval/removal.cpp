#include "eval/removal.h"

#include <fmt/format.h>

#include <algorithm>

#include "eval/compare.h"
#include "eval/format_halves.h"
#include "eval/removal_scores.h"
#include "eval/rng.h"
#include "eval/stats.h"
#include "kernels/error.h"

namespace assay::eval {
namespace {

/// Rows of a part with a binary label.
struct Question {
  std::vector<int64_t> rows;
  std::vector<uint8_t> labels;
};

/// One run's texts, and who they are.
struct Part {
  std::vector<int64_t> texts;
  std::vector<int32_t> category;  // index into the plan's classes
  std::vector<Format> format;
};

struct Run {
  Part train, test;
};

Part take(const FormatHalf& half, const std::vector<int32_t>& classes, int64_t limit) {
  Part part;
  for (size_t c = 0; c < classes.size(); ++c)
    for (const Format format : {kUsual, kOther}) {
      const auto& texts = half.by_class[classes[c]][format];
      for (int64_t i = 0; i < std::min(limit, std::ssize(texts)); ++i) {
        part.texts.push_back(texts[i]);
        part.category.push_back(static_cast<int32_t>(c));
        part.format.push_back(format);
      }
    }
  return part;
}

template <class Keep, class Label>
Question ask(const Part& part, const Keep& keep, const Label& label) {
  Question question;
  for (size_t i = 0; i < part.texts.size(); ++i) {
    if (!keep(i)) continue;
    question.rows.push_back(static_cast<int64_t>(i));
    question.labels.push_back(label(i));
  }
  return question;
}

/// Class c against as many texts of the others, in turns.
Question one_against_rest(const Part& part, int32_t c, int64_t classes) {
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
  for (const int64_t row : rows)
    result.values.insert(result.values.end(), x.values.begin() + row * x.cols, x.values.begin() + (row + 1) * x.cols);
  return result;
}

/// A probe, the question it is about, and its scores on all test rows.
struct Asked {
  Question train, test;
  LinearProbe probe;
  std::vector<double> scores;

  Asked(const Features& x, const Features& x_test, Question train_question, Question test_question, uint64_t seed)
      : train(std::move(train_question)), test(std::move(test_question)) {
    probe = fit_logistic(rows_of(x, train.rows).view(), train.labels, {}, seed);
    scores = probe.score(x_test.view());
  }
  double accuracy_on(const Question& question) const {
    double right = 0;
    for (size_t i = 0; i < question.rows.size(); ++i)
      right += (scores[question.rows[i]] > 0) == (question.labels[i] == 1);
    return right / static_cast<double>(question.rows.size());
  }
};

/// One arm's values at every n of config.ablate, on the units of one run.
struct ArmValues {
  std::string metric, method;
  int dictionary;
  std::vector<std::vector<double>> values;  // [n][units]
};

struct RunData {
  Features train, test;
  std::vector<std::pair<std::string, int>> arms;  // method, dictionary
  std::vector<RemovalSpace> spaces;               // one an arm; without the oracle, which depends on the question
};

/// TPP of one arm in one run: [n][classes].
std::vector<std::vector<double>> tpp(const RemovalSpace& space, const std::vector<Asked>& probes,
                                     const std::vector<int64_t>& ablate) {
  std::vector<std::vector<double>> aligned, result;
  for (const Asked& asked : probes) aligned.push_back(alignments(space, asked.probe));
  for (const int64_t n : ablate) {
    result.emplace_back();
    for (size_t i = 0; i < probes.size(); ++i) {
      const auto chosen = choose_ablated(space, aligned[i], probes[i].train.rows, probes[i].train.labels, n, true);
      double value = 0;
      for (size_t k = 0; k < probes.size(); ++k) {
        const Question& test = probes[k].test;
        const double drop = probes[k].accuracy_on(test) -
                            ablated_accuracy(space, probes[k].scores, aligned[k], chosen, test.rows, test.labels);
        value += k == i ? drop : -drop / static_cast<double>(probes.size() - 1);
      }
      result.back().push_back(value);
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
Question ask_pair(const Part& part, int32_t first, int what) {
  const auto own = [&part, first](size_t i) { return part.category[i] == first; };
  const auto usual = [&part](size_t i) { return part.format[i] == kUsual; };
  return ask(
      part, [&](size_t i) { return part.category[i] / 2 == first / 2 && (what < 2 || own(i) == usual(i)); },
      [&](size_t i) { return static_cast<uint8_t>(what == 1 ? usual(i) : own(i)); });
}

Pair make_pair(const RunData& data, const Run& run, int32_t first, uint64_t seed) {
  const auto asked = [&](int what) {
    return Asked(data.train, data.test, ask_pair(run.train, first, what), ask_pair(run.test, first, what),
                 derive_seed(seed, {static_cast<uint64_t>(what)}));
  };
  return {{asked(0), asked(1)}, asked(2)};
}

/// SCR of one arm on one pair, for every n.
std::vector<double> scr(const RemovalSpace& space, const Pair& pair, const std::vector<int64_t>& ablate) {
  const int kept =
      pair.biased.accuracy_on(pair.attribute[0].test) <= pair.biased.accuracy_on(pair.attribute[1].test) ? 0 : 1;
  const Asked &own = pair.attribute[kept], &other = pair.attribute[1 - kept];
  const std::vector<double> biased = alignments(space, pair.biased.probe), effect = alignments(space, other.probe);
  const double before = pair.biased.accuracy_on(own.test), clean = own.accuracy_on(own.test);
  std::vector<double> values;
  for (const int64_t n : ablate) {
    const auto chosen = choose_ablated(space, effect, other.train.rows, other.train.labels, n, false);
    const double after = ablated_accuracy(space, pair.biased.scores, biased, chosen, own.test.rows, own.test.labels);
    values.push_back(scr_score(before, after, clean));
  }
  return values;
}

/// The oracle may see what no arm may: the test's texts. From the training texts alone, fewer than dimensions, LEACE
/// would erase their noise.
Eraser erase_attribute(const RunData& data, const Question& train, const Question& test) {
  Features x = rows_of(data.train, train.rows);
  const Features more = rows_of(data.test, test.rows);
  x.values.insert(x.values.end(), more.values.begin(), more.values.end());
  x.rows += more.rows;
  std::vector<uint8_t> labels = train.labels;
  labels.insert(labels.end(), test.labels.begin(), test.labels.end());
  return fit_leace(x.view(), labels);
}

RemovalSpace class_oracle(const RunData& data, const Run& run, int32_t classes) {
  std::vector<Eraser> erasers;
  for (int32_t c = 0; c < classes; ++c) {
    const auto question = [c](const Part& part) {
      return ask(
          part, [](size_t) { return true; }, [&](size_t i) { return static_cast<uint8_t>(part.category[i] == c); });
    };
    erasers.push_back(erase_attribute(data, question(run.train), question(run.test)));
  }
  return oracle_space(data.train, data.test, erasers);
}

RemovalSpace pair_oracle(const RunData& data, const Pair& pair) {
  std::vector<Eraser> erasers;
  for (const Asked& a : pair.attribute) erasers.push_back(erase_attribute(data, a.train, a.test));
  return oracle_space(data.train, data.test, erasers);
}

std::vector<ArmValues> score_run(const RunData& data, const Run& run, int64_t classes,
                                 const std::vector<int64_t>& ablate, uint64_t seed) {
  std::vector<Asked> probes;
  std::vector<Pair> pairs;
  for (int32_t c = 0; c < classes; ++c)
    probes.emplace_back(data.train, data.test, one_against_rest(run.train, c, classes),
                        one_against_rest(run.test, c, classes), derive_seed(seed, {static_cast<uint64_t>(c)}));
  for (int32_t c = 0; c + 1 < classes; c += 2)
    pairs.push_back(make_pair(data, run, c, derive_seed(seed, {'p', static_cast<uint64_t>(c)})));
  std::vector<ArmValues> result;
  const auto pair_values = [&](const auto& space_of, const std::vector<int64_t>& counts) {
    std::vector<std::vector<double>> values(counts.size());
    for (const Pair& pair : pairs) {
      const std::vector<double> own = scr(space_of(pair), pair, counts);
      for (size_t n = 0; n < own.size(); ++n) values[n].push_back(own[n]);
    }
    return values;
  };
  for (size_t a = 0; a < data.arms.size(); ++a) {
    const auto& [method, dictionary] = data.arms[a];
    const RemovalSpace& space = data.spaces[a];
    result.push_back({"tpp", method, dictionary, tpp(space, probes, ablate)});
    result.push_back(
        {"scr", method, dictionary, pair_values([&](const Pair&) -> const RemovalSpace& { return space; }, ablate)});
  }
  // Ablating more than the one latent that an oracle has for each attribute would be no oracle.
  const std::vector<int64_t> one(ablate.size(), 1);
  const RemovalSpace oracle = class_oracle(data, run, static_cast<int32_t>(classes));
  result.push_back({"tpp", "oracle", -1, tpp(oracle, probes, one)});
  result.push_back({"scr", "oracle", -1, pair_values([&](const Pair& pair) { return pair_oracle(data, pair); }, one)});
  return result;
}

/// Values of all runs.
struct ArmCells {
  std::string metric, method;
  int dictionary;
  std::vector<std::vector<Cell>> cells;  // [n]
};

void merge(const std::vector<ArmValues>& values, int64_t run, std::vector<ArmCells>& arms) {
  for (size_t a = 0; a < values.size(); ++a) {
    if (arms.size() == a) arms.push_back({values[a].metric, values[a].method, values[a].dictionary, {}});
    arms[a].cells.resize(values[a].values.size());
    for (size_t n = 0; n < values[a].values.size(); ++n)
      for (size_t unit = 0; unit < values[a].values[n].size(); ++unit)
        arms[a].cells[n].push_back({static_cast<int64_t>(unit), kAnyDictionary, run, values[a].values[n][unit]});
  }
}

class RemovalTask : public Task {
 public:
  std::string name() const override { return "targeted_removal"; }
  std::string title() const override { return "Targeted removal (SCR and TPP)"; }
  std::string question() const override {
    return "For whoever compares with published SCR and TPP scores: how well do a few latents separate one concept "
           "from others, and how far can these two scores be trusted?";
  }
  std::string missing(const Session& session) const override {
    return lacks_formats(session.dataset, session.config.spurious);
  }

  void request(const Session& session, EncodeRequest& request) override {
    const SpuriousConfig& config = session.config.spurious;
    if (std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) == config.ablate.end())
      throw Error(fmt::format("targeted_removal: headline_ablate = {} is not one of ablate", config.headline_ablate));
    const TextTable table = text_table(session.dataset);
    const FormatPool pool = format_pool(session.dataset, table, config);
    std::vector<std::array<FormatHalf, 2>> cuts;
    for (int64_t s = 0; s < session.config.seeds; ++s)
      cuts.push_back(cut_halves(pool, table, derive_seed(session.seed, {'q', static_cast<uint64_t>(s)})));
    const std::vector<int32_t> chosen = choose_format_classes(pool, cuts, config);
    classes_.clear();
    for (const int32_t c : chosen) classes_.push_back(pool.names[c]);
    runs_.clear();
    for (const auto& halves : cuts)
      for (const size_t train : {0, 1})
        runs_.push_back({take(halves[train], chosen, config.train_per_class / 2),
                         take(halves[1 - train], chosen, config.train_per_class / 2)});
    documents_.clear();
    for (const Run& run : runs_)
      for (const Part* part : {&run.train, &run.test}) {
        request.texts.insert(request.texts.end(), part->texts.begin(), part->texts.end());
        for (const int64_t t : part->texts) documents_.push_back(table.document[t]);
      }
  }

  void run(const Session& session, const EncodeCache& cache, TaskResult& result) override {
    const SpuriousConfig& config = session.config.spurious;
    std::vector<std::vector<ArmValues>> values(runs_.size());
    session.context.pool().run(std::ssize(runs_), [&](int64_t r, int) {
      values[r] = score_run(make_data(session, cache, runs_[r]), runs_[r], std::ssize(classes_), config.ablate,
                            derive_seed(session.seed, {'v', static_cast<uint64_t>(r)}));
    });
    std::vector<ArmCells> arms;
    for (size_t r = 0; r < values.size(); ++r) merge(values[r], static_cast<int64_t>(r), arms);
    for (const ArmCells& arm : arms) report_arm(session, arm, result);
    check_oracle(session, arms, result);
    result.details["classes"] = classes_;
  }

 private:
  static RunData make_data(const Session& session, const EncodeCache& cache, const Run& run) {
    RunData data{
        gather_dense(cache, cache.dense, run.train.texts), gather_dense(cache, cache.dense, run.test.texts), {}, {}};
    data.arms.emplace_back("neurons", -1);
    data.spaces.push_back(neuron_space(data.train, data.test));
    for (size_t i = 0; i < cache.dictionaries.size(); ++i) {
      const SparseCodes& pooled = cache.dictionaries[i].pooled;
      const std::vector<int32_t> latents = active_latents(cache, pooled, run.train.texts);
      RemovalSpace space{gather_latents(cache, pooled, run.train.texts, latents),
                         gather_latents(cache, pooled, run.test.texts, latents),
                         {}};
      const std::vector<float>& decoder = session.dictionaries[i].dictionary.w_dec;
      for (const int32_t j : latents)
        space.decoder.insert(space.decoder.end(), decoder.begin() + j * cache.d, decoder.begin() + (j + 1) * cache.d);
      data.arms.emplace_back("latents", static_cast<int>(i));
      data.spaces.push_back(std::move(space));
    }
    return data;
  }

  static std::string part_of(int64_t n) { return fmt::format("n {}", n); }
  static size_t headline(const SpuriousConfig& config) {
    return static_cast<size_t>(std::find(config.ablate.begin(), config.ablate.end(), config.headline_ablate) -
                               config.ablate.begin());
  }
  static uint64_t bootstrap_seed(const Session& session) { return derive_seed(session.seed, {'b', 'r'}); }

  void report_arm(const Session& session, const ArmCells& arm, TaskResult& result) const {
    const SpuriousConfig& config = session.config.spurious;
    for (size_t n = 0; n < arm.cells.size(); ++n) {
      const Estimate estimate = hierarchical_bootstrap(arm.cells[n], bootstrap_seed(session), session.config.resamples);
      Number number;
      number.metric = arm.metric;
      number.method = arm.method;
      number.part = part_of(config.ablate[n]);
      number.value = estimate.value;
      number.interval = estimate.interval;
      number.interval_kind = fmt::format("hierarchical bootstrap over {} × (evaluation seed, document half)",
                                         arm.metric == "scr" ? "pairs of classes" : "classes");
      number.n = arm.metric == "scr" ? std::ssize(classes_) / 2 : std::ssize(classes_);
      number.n_unit = arm.metric == "scr" ? "pairs" : "classes";
      number.seed = bootstrap_seed(session);
      if (arm.dictionary >= 0) {
        const EvalDictionary& dictionary = session.dictionaries[static_cast<size_t>(arm.dictionary)];
        number.dictionary = dictionary.entry.name;
        number.control = dictionary.entry.null_kind;
        number.test_seen_in_training = seen_in_training(session, dictionary, documents_);
      }
      result.numbers.push_back(number);
    }
    if (arm.method == "oracle") return;
    const std::string dictionary = arm.dictionary < 0 ? "" : result.numbers.back().dictionary;
    Score score{arm.metric, part_of(config.headline_ablate), arm.method, dictionary, arm.dictionary >= 0, true, {}};
    for (const Cell& cell : arm.cells[headline(config)]) score.cells.push_back({cell.task, cell.seed, cell.value});
    result.scores.push_back(std::move(score));
  }

  static void check_oracle(const Session& session, const std::vector<ArmCells>& arms, TaskResult& result) {
    const size_t n = headline(session.config.spurious);
    std::vector<double> p;
    std::vector<std::pair<std::string, Estimate>> differences;
    for (const ArmCells& arm : arms) {
      if (arm.method == "oracle") continue;
      const auto oracle = std::find_if(arms.begin(), arms.end(), [&](const ArmCells& other) {
        return other.method == "oracle" && other.metric == arm.metric;
      });
      const std::string owner =
          arm.dictionary < 0 ? arm.method : session.dictionaries[static_cast<size_t>(arm.dictionary)].entry.name;
      differences.emplace_back(
          arm.metric + " of " + owner,
          paired_difference(arm.cells[n], oracle->cells[n], bootstrap_seed(session), session.config.resamples));
      p.push_back(differences.back().second.p);
    }
    const std::vector<double> adjusted = holm(p);
    for (size_t i = 0; i < differences.size(); ++i) {
      const Estimate& e = differences[i].second;
      result.checks.push_back({"oracle on top: " + differences[i].first, e.value <= 0 || adjusted[i] >= kAlpha,
                               fmt::format("less the oracle: {:+.3f} [{:+.3f}, {:+.3f}], Holm p {:.3f}", e.value,
                                           e.interval[0], e.interval[1], adjusted[i])});
    }
  }

  std::vector<std::string> classes_;
  std::vector<Run> runs_;
  std::vector<int64_t> documents_;
};

}  // namespace

std::unique_ptr<Task> make_removal_task() { return std::make_unique<RemovalTask>(); }

}  // namespace assay::eval
