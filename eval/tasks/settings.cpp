#include "eval/tasks/settings.h"

namespace assay::eval {

EvalConfig::EvalConfig() {
  for (const SettingsSection* section : settings_sections())
    sections_.push_back(section->defaults());
}

void describe(config::Fields& fields, EvalConfig& config) {
  fields.integer(
      "seeds", config.seeds, {1, 1000}, "seeds",
      "Evaluation seeds; each cuts the documents in halves anew and is run with swapped roles.");
  fields.texts("nulls", config.nulls,
               "Controls beside every trained dictionary: random, rate_matched, permuted_encoder; "
               "trained like it are frozen_decoder, soft_frozen_decoder, frozen_encoder.");
  fields.choice(
      "documents", config.documents, {"auto", "all", "unseen"},
      "Which documents test texts come from: all, those that no dictionary trained on, or "
      "(auto) the latter where every class keeps enough texts.");
  for (size_t i = 0; i < config.sections_.size(); ++i) {
    const SettingsSection& section = *settings_sections()[i];
    fields.section(
        section.key, [&](config::Fields& own) { section.describe(own, config.sections_[i]); },
        section.doc);
  }
}

void make_quick(EvalConfig& config) {
  config.seeds = 1;
  for (size_t i = 0; i < config.sections_.size(); ++i)
    settings_sections()[i]->make_quick(config.sections_[i]);
}

}  // namespace assay::eval
