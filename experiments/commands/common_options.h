// Options that several commands have alike.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace assay::commands {

inline void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads (0: the processors); never changes the result")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
}

/// `example` is a setting of the command: "train.steps=100".
inline void add_overrides(CLI::App& command, std::vector<std::string>& overrides,
                          const std::string& example) {
  command.add_option("--set", overrides, "Override a setting: --set " + example + " (repeatable)")
      ->allow_extra_args(false);
}

/// Of commands that write shards.
inline void add_shards(CLI::App& command, int64_t& rows_per_shard, int64_t& disk_limit) {
  command
      .add_option("--rows-per-shard", rows_per_shard,
                  "Rows of a shard file; a kill loses at most one shard")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--disk-limit", disk_limit,
                  "Make OUT a rolling cache of at most so much (as 20GB): wait for a trainer with "
                  "data.rolling to use shards up (0: an ordinary data set)")
      ->transform(CLI::AsSizeValue(true))
      ->capture_default_str();
}

}  // namespace assay::commands
