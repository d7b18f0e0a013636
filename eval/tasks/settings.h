// Settings of `assay eval`: what all tasks share, and sections that tasks bring along.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <any>
#include <cstdint>
#include <string>
#include <typeinfo>
#include <vector>

#include "data/base/config_fields.h"
#include "kernels/base/error.h"

namespace assay::eval {

/// A section of the settings, read by one task or several.
struct SettingsSection {
  const char* key;  ///< under "eval"
  const char* doc;
  std::any (*defaults)();
  void (*describe)(config::Fields& fields, std::any& own);
  void (*make_quick)(std::any& own);
};

/// Of a struct T, beside which stand
///   void describe(config::Fields&, T&)  every field, once
///   void make_quick(T&)                 lowers what costs time
template <class T>
constexpr SettingsSection settings_section(const char* key, const char* doc) {
  return {.key = key,
          .doc = doc,
          .defaults = [] { return std::any(T{}); },
          .describe = [](config::Fields& fields,
                         std::any& own) { describe(fields, std::any_cast<T&>(own)); },
          .make_quick = [](std::any& own) { make_quick(std::any_cast<T&>(own)); }};
}

/// Every section, in the order of the configuration (eval/tasks/all.cpp).
const std::vector<const SettingsSection*>& settings_sections();

class EvalConfig {
 public:
  EvalConfig();
  int64_t seeds = 2;
  std::vector<std::string> nulls{"random"};
  std::string documents = "auto";

  /// The section whose struct is T. Throws Error if eval/tasks/all.cpp lists none.
  template <class T>
  T& of() {
    for (std::any& section : sections_)
      if (T* own = std::any_cast<T>(&section)) return *own;
    throw Error(fmt::format("no section of settings is a {}", typeid(T).name()));
  }
  template <class T>
  const T& of() const {
    return const_cast<EvalConfig*>(this)->of<T>();
  }

 private:
  friend void describe(config::Fields& fields, EvalConfig& config);
  friend void make_quick(EvalConfig& config);
  std::vector<std::any> sections_;  // as settings_sections()
};

void describe(config::Fields& fields, EvalConfig& config);
/// Lowers what costs time: one evaluation seed, fewer texts. For a look, not for
/// publication.
void make_quick(EvalConfig& config);

/// For make_quick: at most `most`; the first value alone.
inline void lower(int64_t& value, int64_t most) { value = std::min(value, most); }
inline void keep_first(std::vector<int64_t>& values) {
  values.resize(std::min<size_t>(values.size(), 1));
}

}  // namespace assay::eval
