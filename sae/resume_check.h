// Whether a run folder may be gone on with, and what may differ between its run and the
// configuration that does.
#pragma once

#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace assay::sae {

enum class Resume {
  never,      ///< the folder must not hold a run
  automatic,  ///< go on from the newest good checkpoint, or start
};

/// Where two configurations differ in a setting that changes the result: "train.lr is 0.001 there,
/// 0.002 now". Only the sections data, model and train are looked at; a setting that one of them
/// lacks has its default there. Both are YAML as config::write_yaml writes it. Throws Error naming
/// `name` where `before` cannot be parsed.
std::vector<std::string> result_changes(const std::string& name, const std::string& before,
                                        const std::string& now);

/// SHA-256 of the settings that change the result, but for seeds and the place of the data: runs
/// that share it, and their data, differ by reseeding alone. `resolved` as above; of data.mixture
/// the weights count.
std::string setting_hash(const std::string& resolved);

/// Throws UsageError naming every difference between RUN/config.yaml and `resolved`; Error where it
/// cannot be read.
void check_same_configuration(const std::filesystem::path& run, const std::string& resolved);

/// The same for a file of one command's settings, written by config::write_yaml; those in `free`
/// may differ.
void check_same_settings(const std::filesystem::path& file, const std::string& resolved,
                         const std::set<std::string>& free);

/// Writes RUN/config.yaml. One that is there, left by a start that was killed before its first
/// checkpoint, stays if it gives the same results; else throws as check_same_configuration does.
void keep_configuration(const std::filesystem::path& run, const std::string& resolved);

/// Whether the run in this folder is finished. Throws UsageError where it holds a run and `resume`
/// is never, and as check_same_configuration does where it is finished.
bool already_finished(const std::filesystem::path& run, const std::string& resolved, Resume resume);

}  // namespace assay::sae
