#include "eval/sweep/page.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "eval/report/page.h"
#include "eval/report/vega.h"
#include "eval/results/text.h"
#include "eval/statistics/stats.h"

namespace assay::eval::report {
namespace {

using nlohmann::json;

/// A curve of the charts: what has one variant and size.
std::string series_of(const SweepDictionary& d) {
  return fmt::format("{}, n = {}", d.variant, d.n);
}

/// In the order of first appearance.
std::vector<std::string> series_names(const std::vector<const SweepDictionary*>& trained) {
  std::vector<std::string> names;
  for (const SweepDictionary* d : trained) {
    if (std::find(names.begin(), names.end(), series_of(*d)) == names.end())
      names.push_back(series_of(*d));
  }
  return names;
}

const SweepDictionary& by_name(const std::vector<const SweepDictionary*>& trained,
                               const std::string& name) {
  return **std::find_if(trained.begin(), trained.end(),
                        [&](const auto* d) { return d->name == name; });
}

json point(const SweepDictionary& d, const std::string& name, double y) {
  return {
      {"x", d.l0}, {"y", y}, {"series", series_of(d)}, {"setting", d.setting()}, {"name", name}};
}

json points_of(const std::vector<const SweepDictionary*>& trained, double SweepDictionary::*y) {
  json points = json::array();
  for (const SweepDictionary* d : trained) points.push_back(point(*d, d->name, d->*y));
  return points;
}

double share(const SeedAgreement& a) {
  return static_cast<double>(a.shared) / static_cast<double>(a.latents);
}

void add_charts(Page& page, const SweepResults& results,
                const std::vector<const SweepDictionary*>& trained) {
  const std::vector<std::string> series = series_names(trained);
  const auto chart = [&](json points, const char* y, const char* title, const char* alt,
                         bool from_zero = true) {
    const vega::Chart drawn = vega::clouds(std::move(points), "L0", y, series, from_zero);
    page.figure(drawn.spec, title, alt, drawn.least_width);
  };
  chart(points_of(trained, &SweepDictionary::fvu), "FVU", "Reconstruction against sparsity",
        "FVU over L0, a point each dictionary", false);
  page.caption(
      fmt::format("FVU and L0 on {} activations of the validation split; every dictionary is a "
                  "point, and a line joins the means "
                  "over seeds of one variant and size. Lower and further left is better; "
                  "reconstruction is not worth: that takes "
                  "an evaluation.",
                  count_text(results.rows)));
  page.begin_grid();
  chart(points_of(trained, &SweepDictionary::dead_share), "dead share", "Dead latents",
        "Share of dead latents over L0, a point each dictionary");
  json agreements = json::array();
  for (const SeedAgreement& a : results.agreements) {
    agreements.push_back(point(by_name(trained, a.first), a.first + " ~ " + a.second, share(a)));
  }
  const bool agreed = !agreements.empty();
  if (agreed) {
    chart(std::move(agreements), "share of latents", "Agreement of seeds",
          "Share of latents another seed has too, over L0, a point each pair of seeds");
  }
  page.end_grid();
  page.caption(fmt::format(
      "{}Share of latents that fire on none of these activations.{}", agreed ? "Left: " : "",
      agreed ? " Right: share of the latents of one seed that another seed has too; a point each "
               "pair of seeds, at the first's L0."
             : ""));
}

TableCell shared_cell(const SweepResults& results, const std::string& name) {
  int64_t latents = 0, shared = 0, pairs = 0;
  for (const SeedAgreement& a : results.agreements) {
    if (a.first != name && a.second != name) continue;
    latents += a.latents;
    shared += a.shared;
    ++pairs;
  }
  if (pairs == 0) return {"–", "num"};
  return {value_text(static_cast<double>(shared) / static_cast<double>(latents)), "num",
          fmt::format("{} pair{}", pairs, pairs == 1 ? "" : "s")};
}

void add_table(Page& page, const SweepResults& results) {
  Table table;
  table.head = {{"Dictionary"},
                {"FVU", "num"},
                {"L0", "num"},
                {"Dead share", "num"},
                {"Shared by seeds", "num"}};
  for (const SweepDictionary& d : results.dictionaries) {
    std::vector<TableCell> row{{d.name, "name", fmt::format("{}, seed {}", d.setting(), d.seed)}};
    if (d.failure.empty()) {
      row.insert(row.end(), {{value_text(d.fvu), "num"},
                             {value_text(d.l0), "num"},
                             {value_text(d.dead_share), "num"},
                             shared_cell(results, d.name)});
    } else {
      row.insert(row.end(), {{"left out", "num fail"}, {"–", "num"}, {"–", "num"}, {"–", "num"}});
    }
    table.rows.push_back(std::move(row));
  }
  page.table(table);
}

void add_agreements(Page& page, const SweepResults& results) {
  if (results.agreements.empty()) return;
  Table table;
  table.head = {
      {"Seed"}, {"Another seed"}, {"Latents matched", "num"}, {"Shared", "num"}, {"Share", "num"}};
  for (const SeedAgreement& a : results.agreements) {
    const Interval interval = wilson(a.shared, a.latents);
    table.rows.push_back(
        {{a.first, "name"},
         {a.second, "name"},
         {count_text(a.latents), "num"},
         {count_text(a.shared), "num"},
         {value_text(share(a)), "num", fmt::format("[{:.3f}, {:.3f}]", interval[0], interval[1])}});
  }
  page.begin_fold("Every pair of seeds");
  page.table(table, "95 % intervals are Wilson's over the latents matched.");
  page.end_fold();
}

void add_notes(Page& page, const SweepResults& results) {
  page.heading(2, "How this was measured");
  page.paragraph(fmt::format(
      "All dictionaries learnt from the same {} activations in the same order, batch by batch. FVU "
      "is the squared "
      "error over the squared deviation from the mean, L0 the mean number of active latents, both "
      "on the same {} "
      "activations of documents that no dictionary trained on; one dead here may fire elsewhere.",
      count_text(results.tokens), count_text(results.rows)));
  if (results.agreements.empty()) return;
  page.paragraph(
      fmt::format("Shared latents: up to {} latents that fire, drawn from one dictionary, are "
                  "matched one to one with all latents "
                  "of another seed, by decoder and by encoder rows; one is shared where both give "
                  "it the same partner and the mean "
                  "of the two cosines is above 0.7.",
                  kAgreementLatents));
}

}  // namespace

std::string sweep_page(const SweepResults& results) {
  std::vector<const SweepDictionary*> trained;
  for (const SweepDictionary& d : results.dictionaries) {
    if (d.failure.empty()) trained.push_back(&d);
  }
  const std::string title = fmt::format("Sweep of {} dictionaries", results.dictionaries.size());
  Page page;
  page.heading(1, title);
  page.paragraph(fmt::format("{}, {}, on {}; {} activations each.",
                             results.model.empty() ? "An unnamed model" : results.model,
                             results.hook.empty() ? "an unnamed hook" : results.hook,
                             results.dataset, count_text(results.tokens)),
                 "lead");
  for (const SweepDictionary& d : results.dictionaries) {
    if (!d.failure.empty())
      page.paragraph(fmt::format("{} was left out: {}", d.name, d.failure), "notice");
  }
  if (!trained.empty()) add_charts(page, results, trained);
  page.heading(2, "Every dictionary");
  add_table(page, results);
  add_agreements(page, results);
  add_notes(page, results);
  return page.render(title, chart_runtime());
}

}  // namespace assay::eval::report
