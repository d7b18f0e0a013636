// What may differ between a run and the configuration that goes on with it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace assay::sae {

/// Where two configurations differ in a setting that changes the result: "train.lr is 0.001 there, 0.002 now". Only
/// the sections data, model and train are looked at; a setting that one of them lacks has its default there. Both are
/// YAML as config::write_yaml writes it. Throws Error naming `name` where `before` cannot be parsed.
std::vector<std::string> result_changes(const std::string& name, const std::string& before, const std::string& now);

/// Throws UsageError naming every difference between RUN/config.yaml and `resolved`; Error where it cannot be read.
void check_same_configuration(const std::filesystem::path& run, const std::string& resolved);

}  // namespace assay::sae
