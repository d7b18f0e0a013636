#include "eval/tasks/documents.h"

#include <fmt/format.h>

#include <algorithm>

#include "data/split_rule.h"
#include "kernels/base/error.h"

namespace assay::eval {
namespace {

PlannedTexts plan_with(const Session& session, const Task& task,
                       const std::vector<data::SplitRule>& unseen_by) {
  Session own = session;
  own.unseen_by = unseen_by;
  PlannedTexts planned;
  planned.plan = task.plan(own, planned.request);
  return planned;
}

/// What unseen documents lack, empty where they are enough.
std::string shortage(const std::vector<std::string>& all, const std::vector<std::string>& unseen) {
  const auto missing = std::find_if(all.begin(), all.end(), [&](const std::string& unit) {
    return std::find(unseen.begin(), unseen.end(), unit) == unseen.end();
  });
  if (missing == all.end()) return {};
  const auto kept = std::count_if(all.begin(), all.end(), [&](const std::string& unit) {
    return std::find(unseen.begin(), unseen.end(), unit) != unseen.end();
  });
  return fmt::format("unseen ones alone have enough test texts for {} of {} (not for {})", kept,
                     all.size(), *missing);
}

std::string who_does_not_say(const TrainingSplits& splits) {
  return fmt::format("{} {} not say which of these documents trained {}",
                     fmt::join(splits.unknown, ", "), splits.unknown.size() == 1 ? "does" : "do",
                     splits.unknown.size() == 1 ? "it" : "them");
}

constexpr const char* kUnseen =
    "unseen: test texts come from documents that trained none of the dictionaries";

/// Unseen documents where they are enough, else `all`.
PlannedTexts plan_auto(const Session& session, const Task& task, const TrainingSplits& splits,
                       PlannedTexts all) {
  const auto fall_back = [&](const std::string& why) {
    all.documents = "all: " + why;
    return std::move(all);
  };
  if (!splits.unknown.empty()) return fall_back(who_does_not_say(splits));
  try {
    PlannedTexts unseen = plan_with(session, task, splits.rules);
    const std::string lacks =
        shortage(task.tested(session, all.plan).units, task.tested(session, unseen.plan).units);
    if (!lacks.empty()) return fall_back(lacks);
    unseen.documents = kUnseen;
    return unseen;
  } catch (const Error& error) {
    return fall_back(fmt::format("unseen ones alone are too few ({})", error.what()));
  }
}

}  // namespace

TrainingSplits training_splits(const Session& session) {
  TrainingSplits splits;
  for (const EvalDictionary& dictionary : session.dictionaries) {
    const sae::DictionaryInfo& info = dictionary.dictionary.info;
    if (info.null_kind == "random") continue;
    const auto rule = data::parse_split_rule(info.split_rule);
    if (rule && !info.data_hash.empty() && info.data_hash == session.dataset.info().content_hash)
      splits.rules.push_back(*rule);
    else
      splits.unknown.push_back(dictionary.entry.name);
  }
  return splits;
}

PlannedTexts plan_texts(const Session& session, const Task& task) {
  const std::string& wanted = session.config.documents;
  const TrainingSplits splits = training_splits(session);
  if (wanted == "unseen") {
    PlannedTexts unseen = plan_with(session, task, splits.rules);
    if (task.tested(session, unseen.plan).units.empty()) return unseen;
    if (!splits.unknown.empty())
      throw Error(fmt::format("eval.documents is 'unseen', but {}: use auto or all",
                              who_does_not_say(splits)));
    unseen.documents = kUnseen;
    return unseen;
  }
  PlannedTexts all = plan_with(session, task, {});
  if (task.tested(session, all.plan).units.empty()) return all;
  if (wanted == "auto") return plan_auto(session, task, splits, std::move(all));
  all.documents = "all: eval.documents asks for them";
  return all;
}

TextTable text_table(const Session& session) {
  TextTable table = text_table(session.dataset);
  if (session.unseen_by.empty()) return table;
  for (int64_t t = 0; t < table.size(); ++t)
    table.not_for_tests.push_back(
        std::any_of(session.unseen_by.begin(), session.unseen_by.end(), [&](const auto& rule) {
          return data::split_of(table.document[t], rule) == data::Split::train;
        }));
  return table;
}

}  // namespace assay::eval
