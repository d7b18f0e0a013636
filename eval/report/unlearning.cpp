// The charts of the unlearning task.
#include <algorithm>

#include "eval/report/format.h"
#include "eval/report/sections.h"
#include "eval/report/vega.h"
#include "fmt/format.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

std::string arm_name(const Number& n) {
  return n.dictionary.empty() ? method_name(n.method) : n.dictionary + ": " + method_name(n.method);
}

std::string part_text(std::string part) {
  std::replace(part.begin(), part.end(), '_', ' ');
  return part;
}

/// What a method hides from each kind of probe, a method a row, in the order of the results.
void add_drops(Page& page, const TaskResult& task, const std::string& caption) {
  vega::DotOptions options;
  options.x_title = "forget drop";
  options.references = {0, 1};
  options.label_room = 260;
  json values = json::array();
  for (const Number& n : task.numbers) {
    if (n.metric != "forget_drop") continue;
    const std::string part = part_text(n.part);
    for (const auto& [list, name] : {std::pair(&options.rows, arm_name(n)), {&options.parts, part}})
      if (std::find(list->begin(), list->end(), name) == list->end()) list->push_back(name);
    values.push_back({{"row", arm_name(n)},
                      {"part", part},
                      {"value", n.value},
                      {"n", n.n},
                      {"low", nullptr},
                      {"high", nullptr}});
    options.low = std::min(options.low, n.value);
    if (!n.interval) continue;
    values.back()["low"] = (*n.interval)[0];
    values.back()["high"] = (*n.interval)[1];
    options.low = std::min(options.low, (*n.interval)[0]);
  }
  if (values.empty()) return;
  options.low = std::max(options.low, -1.0) - 0.02;
  options.high = 1.05;
  page.figure(vega::dots(values, options), "What each method hides", "Forget drop by method", true);
  page.caption("Forget drop: 0 hides nothing, 1 hides all. " + caption +
               " Lines are 95 % intervals.");
}

}  // namespace

void add_unlearning_charts(Page& page, const TaskResult& task) {
  add_drops(page, task,
            "Frozen probes never saw an edited text; few-shot probes were trained on that many "
            "edited texts a class; the "
            "oracle exchanges forget texts for retained ones.");
  add_arm_table(
      page, task, {"retain_damage", "neighbour_damage", "retain_cosine", "edited_share"},
      "What each method costs at its operating point, and which texts it touches: damage in points "
      "of accuracy "
      "over retained classes, their cosine with the untouched output, the share of texts edited.");
  add_arm_table(page, task, {"frontier_drop", "frontier_damage"},
                "Frontier: few-shot forget drop, and damage on test texts, where settings are "
                "chosen anew for each budget "
                "of damage on tuning texts.");
}

void add_unlearning_text_charts(Page& page, const TaskResult& task) {
  add_drops(page, task,
            "The share of what the layer tells the model about the forgotten corpus that is gone: "
            "at 1 the loss is that "
            "with the data's mean in place of every token, above it is worse still.");
  add_arm_table(page, task, {"token_loss", "retain_damage", "edited_share"},
                "Loss a token (nats) by corpus; damage, in percent, is the forget drop of the "
                "corpora to keep.");
  add_arm_table(page, task, {"relearned_drop"},
                "Relearning: the forget drop that is left when somebody with 4, 16 or 64 texts of "
                "the corpus trains the "
                "layers above the edit. Read it against the untouched model, trained alike, and "
                "against mean ablation, where "
                "all must be learnt anew.");
  add_arm_table(page, task, {"written_as_forgotten", "written_overlap", "written_repetition"},
                "What the model writes behind the beginnings of test texts while the edit is held: "
                "the share that a judge "
                "of words, fitted on other texts, takes for the corpus to forget; the share of "
                "bigrams that the true text "
                "has; the share of bigrams that come again. A low first share with much repetition "
                "is babble, not "
                "forgetting.");
  add_arm_table(page, task, {"frontier_drop", "frontier_damage"},
                "Frontier: forget drop, and damage on test texts, where settings are chosen anew "
                "for each budget of damage "
                "on tuning texts.");
}

}  // namespace assay::eval::report
