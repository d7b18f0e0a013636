// The members of results.json, each said once: what writes the file (results.cpp) and what reads it
// (results_read.cpp) visit them by the same lists, so a new member is one line here, one in
// eval/results/results.h and one in docs/results.md.
//
// A visitor has `visit(key, member)` for members that must be there and `visit.where_any(key,
// member)` for those that are written only where they are not empty, and may be absent.
#pragma once

#include <concepts>
#include <type_traits>

#include "eval/results/results.h"

namespace assay::eval {

/// T or const T: readers fill, writers look.
template <class T, class Of>
concept MaybeConst = std::same_as<std::remove_const_t<T>, Of>;

template <class Visitor, MaybeConst<Number> T>
void visit_members(Visitor& visit, T& number) {
  visit("metric", number.metric);
  visit("method", number.method);
  visit("dictionary", number.dictionary);
  visit("part", number.part);
  visit("value", number.value);
  visit("interval", number.interval);
  visit("interval_kind", number.interval_kind);
  visit("n", number.n);
  visit("n_unit", number.n_unit);
  visit("unit", number.unit);
  visit("test_seen_in_training", number.test_seen_in_training);
  visit("control", number.control);
}

template <class Visitor, MaybeConst<Check> T>
void visit_members(Visitor& visit, T& check) {
  visit("name", check.name);
  visit("passed", check.passed);
  visit("detail", check.detail);
}

template <class Visitor, MaybeConst<Score> T>
void visit_members(Visitor& visit, T& score) {
  visit("metric", score.metric);
  visit("part", score.part);
  visit("method", score.method);
  visit("dictionary", score.dictionary);
  visit("headline", score.headline);
  visit("higher_is_better", score.higher_is_better);
  visit("cells", score.cells);
}

template <class Visitor, MaybeConst<ArmEntry> T>
void visit_members(Visitor& visit, T& arm) {
  visit("name", arm.name);
  visit("label", arm.label);
  visit("role", arm.role);
  visit("space", arm.space);
  visit("method", arm.method);
  visit.where_any("k", arm.k);
  visit.where_any("reads", arm.reads);
}

template <class Visitor, MaybeConst<MetricEntry> T>
void visit_members(Visitor& visit, T& metric) {
  visit("name", metric.name);
  visit("label", metric.label);
  visit("better", metric.better);
  visit.where_any("chance", metric.chance);
  visit.where_any("summary_part", metric.summary_part);
}

template <class Visitor, MaybeConst<PartEntry> T>
void visit_members(Visitor& visit, T& part) {
  visit("name", part.name);
  visit("label", part.label);
  visit.where_any("at", part.at);
}

template <class Visitor, MaybeConst<ReferenceLine> T>
void visit_members(Visitor& visit, T& line) {
  visit("value", line.value);
  visit("label", line.label);
}

template <class Visitor, MaybeConst<Figure> T>
void visit_members(Visitor& visit, T& figure) {
  visit("kind", figure.kind);
  visit.where_any("title", figure.title);
  visit("caption", figure.caption);
  visit.where_any("metrics", figure.metrics);
  visit.where_any("parts", figure.parts);
  visit.where_any("arms", figure.arms);
  visit.where_any("references", figure.references);
  visit.where_any("x", figure.x);
  visit.where_any("x_title", figure.x_title);
  visit.where_any("details", figure.details);
  visit.where_any("fields", figure.fields);
  visit.where_any("panels", figure.panels);
  visit.where_any("order", figure.order);
}

template <class Visitor, MaybeConst<TaskResult> T>
void visit_members(Visitor& visit, T& task) {
  visit("name", task.name);
  visit("title", task.title);
  visit("question", task.question);
  visit("status", task.status);
  visit("reason", task.reason);
  visit.where_any("caveat", task.caveat);
  visit("seconds", task.seconds);
  visit("numbers", task.numbers);
  visit("scores", task.scores);
  visit("checks", task.checks);
  visit("arms", task.arms);
  visit("metrics", task.metrics);
  visit("parts", task.parts);
  visit("figures", task.figures);
  visit("details", task.details);
}

template <class Visitor, MaybeConst<DictionaryEntry> T>
void visit_members(Visitor& visit, T& entry) {
  visit("name", entry.name);
  visit("path", entry.path);
  visit("hash", entry.hash);
  visit("variant", entry.variant);
  visit("null_kind", entry.null_kind);
  visit("d", entry.d);
  visit("n", entry.n);
  visit("k", entry.k);
  visit("tokens", entry.tokens);
  visit("seed", entry.seed);
  visit("same_data", entry.same_data);
  visit("parent", entry.parent);
  visit.where_any("setting", entry.setting);
  visit.where_any("warnings", entry.warnings);
}

template <class Visitor, MaybeConst<LeftOut> T>
void visit_members(Visitor& visit, T& left_out) {
  visit("name", left_out.name);
  visit("path", left_out.path);
  visit("reason", left_out.reason);
}

/// All of the file but its member "schema".
template <class Visitor, MaybeConst<Results> T>
void visit_members(Visitor& visit, T& results) {
  visit("version", results.version);
  visit("dataset", results.dataset);
  visit("dataset_hash", results.dataset_hash);
  visit("model", results.model);
  visit("hook", results.hook);
  visit("split_rule", results.split_rule);
  visit("seed", results.seed);
  visit("dictionaries", results.dictionaries);
  visit("tasks", results.tasks);
  visit.where_any("left_out", results.left_out);
}

}  // namespace assay::eval
