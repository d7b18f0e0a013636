// What a published dictionary is on disk: a file of tensors, and the configuration beside it where
// there is one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "data/tensor_file.h"

namespace assay::sae::formats {

/// A JSON (or YAML) object from strangers, read by dotted keys. What is of another type than asked
/// for throws Error naming the file and the key.
class Config {
 public:
  Config() = default;
  Config(std::filesystem::path file, nlohmann::ordered_json json)
      : file_(std::move(file)), json_(std::move(json)) {}

  const std::filesystem::path& file() const { return file_; }
  bool empty() const { return json_.empty(); }
  bool has(const std::string& key) const { return find(key) != nullptr; }
  /// Absent and null are the same: the fallback.
  std::string text(const std::string& key, const std::string& fallback = "") const;
  bool flag(const std::string& key, bool fallback) const;
  double number(const std::string& key, double fallback) const;
  int64_t integer(const std::string& key, int64_t fallback) const;
  /// Throws Error where it is absent.
  int64_t required_integer(const std::string& key) const;
  double required_number(const std::string& key) const;
  /// Null where it is absent or null.
  const nlohmann::ordered_json* find(const std::string& key) const;

 private:
  [[noreturn]] void refuse(const std::string& key, const char* expected) const;
  const nlohmann::ordered_json& required(const std::string& key) const;

  std::filesystem::path file_;
  nlohmann::ordered_json json_ = nlohmann::ordered_json::object();
};

struct Source {
  std::filesystem::path path;  ///< as it was named: a folder or a file
  data::TensorFile tensors;
  Config config;

  bool has(const std::string& tensor) const { return tensors.has(tensor); }
  bool has(std::initializer_list<const char*> names) const;
  int64_t rank(const std::string& tensor) const;  ///< dimensions; -1 where there is no such tensor
};

/// Opens PATH: a file of tensors, or a folder that holds one (by the names that formats give it,
/// else the only one). Throws Error where there is none, or more than one to choose from.
Source open_source(const std::filesystem::path& path);
/// Whether open_source would find something.
bool is_source(const std::filesystem::path& path);

}  // namespace assay::sae::formats
