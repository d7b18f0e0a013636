// Strict configuration: every field has a key, a default, bounds, a unit and a sentence, said once
// in the struct's `describe`. The same description reads YAML, writes the resolved YAML and
// generates docs/config.md.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace assay::config {

struct IntBounds {
  int64_t low = std::numeric_limits<int64_t>::min(), high = std::numeric_limits<int64_t>::max();
};
struct RealBounds {
  double low = -std::numeric_limits<double>::infinity(),
         high = std::numeric_limits<double>::infinity();
};

/// Visits the fields of a section. One implementation reads, one writes, one documents.
class Fields {
 public:
  virtual ~Fields() = default;
  virtual void integer(const char* key, int64_t& value, IntBounds bounds, const char* unit,
                       const char* doc) = 0;
  virtual void real(const char* key, double& value, RealBounds bounds, const char* unit,
                    const char* doc) = 0;
  virtual void boolean(const char* key, bool& value, const char* doc) = 0;
  virtual void text(const char* key, std::string& value, const char* doc) = 0;
  /// One of `choices`.
  virtual void choice(const char* key, std::string& value, const std::vector<std::string>& choices,
                      const char* doc) = 0;
  virtual void texts(const char* key, std::vector<std::string>& value, const char* doc) = 0;
  virtual void integers(const char* key, std::vector<int64_t>& value, IntBounds bounds,
                        const char* unit, const char* doc) = 0;
  virtual void reals(const char* key, std::vector<double>& value, RealBounds bounds,
                     const char* unit, const char* doc) = 0;
  /// A nested mapping.
  virtual void section(const char* key, const std::function<void(Fields&)>& describe,
                       const char* doc) = 0;
};

using Describe = std::function<void(Fields&)>;

/// Read `file` (YAML; none where its name is empty) and then `overrides` ("train.steps=100") into
/// the structs that `describe` visits. Fatal (UsageError, one line with file and line number):
/// unknown key (names the nearest known key), duplicate key, wrong type, out of bounds,
/// anchors/aliases/tags, more than 1 MiB or 32 levels.
void read_yaml(const std::string& file, const std::vector<std::string>& overrides,
               const Describe& describe);
/// As read_yaml, of these sections at the top of the file alone, which another version or another
/// command may have written: whatever else stands there is passed over, unread.
void read_sections(const std::string& file, const std::vector<std::string>& sections,
                   const Describe& describe);
/// The resolved configuration, every field written out in the order described. read_yaml reads it
/// back to equal values.
std::string write_yaml(const Describe& describe);
/// A Markdown reference: key, type, default, bounds, unit, sentence.
std::string document(const Describe& describe);
/// The candidate nearest to `word` by edit distance, or "" when none is near (distance > max(2,
/// length / 3)).
std::string nearest(const std::string& word, const std::vector<std::string>& candidates);

}  // namespace assay::config
