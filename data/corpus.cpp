#include "data/corpus.h"

#include <fmt/core.h>

#include <cstring>
#include <type_traits>

#include "data/base/within_memory.h"
#include "data/hdf5.h"
#include "data/hdf5_attributes.h"
#include "data/hdf5_values.h"
#include "data/untrusted.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostTokens = int64_t{1} << 34;
constexpr int64_t kMostTexts = int64_t{1} << 32;

/// Carries a corpus from the child that read it: the same walk over the fields writes and reads the
/// bytes.
class Writer {
 public:
  template <class T>
  void operator()(const std::vector<T>& values) {
    number(static_cast<int64_t>(values.size()));
    if (!values.empty())
      bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void operator()(const std::string& text) {
    number(static_cast<int64_t>(text.size()));
    bytes_ += text;
  }
  void operator()(int64_t& value) { number(value); }
  std::string take() { return std::move(bytes_); }

 private:
  void number(int64_t value) { bytes_.append(reinterpret_cast<const char*>(&value), sizeof value); }
  std::string bytes_;
};

class Reader {
 public:
  Reader(const std::string& bytes, std::string where) : bytes_(bytes), where_(std::move(where)) {}
  template <class T>
  void operator()(std::vector<T>& values) {
    values.resize(count(sizeof(T)));
    copy(values.data(), values.size() * sizeof(T));
  }
  void operator()(std::string& text) {
    text.resize(count(1));
    copy(text.data(), text.size());
  }
  void operator()(int64_t& value) { copy(&value, sizeof value); }

 private:
  size_t count(size_t size) {
    int64_t n = 0;
    copy(&n, sizeof n);
    if (n < 0 || static_cast<uint64_t>(n) > (bytes_.size() - at_) / size)
      throw Error(where_ + ": reading was cut short");
    return static_cast<size_t>(n);
  }
  void copy(void* to, size_t size) {
    if (size > bytes_.size() - at_) throw Error(where_ + ": reading was cut short");
    if (size > 0) std::memcpy(to, bytes_.data() + at_, size);
    at_ += size;
  }
  const std::string& bytes_;
  std::string where_;
  size_t at_ = 0;
};

template <class Archive>
void walk(Archive& archive, Corpus& c) {
  archive(c.model), archive(c.tokenizer_hash), archive(c.source_hash), archive(c.max_length);
  archive(c.tokens), archive(c.special), archive(c.offsets), archive(c.document);
  archive(c.text_bytes), archive(c.text_offsets);
  int64_t begins = c.prepend_bos, labels = static_cast<int64_t>(c.labels.size());
  archive(begins), archive(labels);
  c.prepend_bos = begins != 0;
  c.labels.resize(static_cast<size_t>(labels));
  c.label_values.resize(static_cast<size_t>(labels));
  for (size_t l = 0; l < c.labels.size(); ++l) {
    int64_t classes = static_cast<int64_t>(c.labels[l].classes.size());
    archive(c.labels[l].name), archive(c.label_values[l]), archive(classes);
    c.labels[l].classes.resize(static_cast<size_t>(classes));
    for (std::string& name : c.labels[l].classes) archive(name);
  }
}

int64_t integer_attribute(hid_t file, const std::string& name, const std::string& where) {
  const std::vector<double> values = hdf5::read_numbers_attribute(file, name, where);
  if (values.size() != 1 || !(values[0] >= 0 && values[0] <= 1e9)) {
    throw Error(fmt::format(
        "{}: attribute {}: expected one number from 0 to 1e9; make the file with tokenise.py",
        where, name));
  }
  return static_cast<int64_t>(values[0]);
}

void require_length(size_t found, size_t expected, const std::string& name,
                    const std::string& where) {
  if (found == expected) return;
  throw Error(fmt::format("{}: {} has {} entries, expected {}", where, name, found, expected));
}

/// Offsets rise from 0 to `end`, each step at most `most` and at least `least`.
void check_offsets(const std::vector<int64_t>& offsets, size_t end, int64_t least, int64_t most,
                   const std::string& name, const std::string& where) {
  if (offsets.front() != 0 || offsets.back() != static_cast<int64_t>(end)) {
    throw Error(fmt::format("{}: {} must go from 0 to {}, found {} to {}", where, name, end,
                            offsets.front(), offsets.back()));
  }
  for (size_t i = 1; i < offsets.size(); ++i) {
    // Both lie in 0 … end before they are subtracted: a hostile difference would overflow.
    const bool inside = offsets[i] >= offsets[i - 1] && offsets[i] <= static_cast<int64_t>(end);
    if (inside && offsets[i] - offsets[i - 1] >= least && offsets[i] - offsets[i - 1] <= most)
      continue;
    throw Error(fmt::format("{}: {}: text {} runs from {} to {}; a text has {} to {} entries",
                            where, name, i - 1, offsets[i - 1], offsets[i], least, most));
  }
}

void check(const Corpus& c, const std::string& where) {
  if (c.offsets.size() < 2) throw Error(where + ": /offsets is empty: the corpus holds no texts");
  const size_t texts = c.offsets.size() - 1;
  require_length(c.special.size(), c.tokens.size(), "/special", where);
  require_length(c.document.size(), texts, "/document", where);
  require_length(c.text_offsets.size(), texts + 1, "/text_offsets", where);
  check_offsets(c.offsets, c.tokens.size(), 1, c.max_length, "/offsets", where);
  check_offsets(c.text_offsets, c.text_bytes.size(), 0, int64_t{1} << 30, "/text_offsets", where);
  for (size_t i = 0; i < c.tokens.size(); ++i) {
    if (c.tokens[i] < 0)
      throw Error(fmt::format("{}: /tokens[{}] = {} is negative", where, i, c.tokens[i]));
    if (c.special[i] > 1)
      throw Error(fmt::format("{}: /special[{}] = {}: expected 0 or 1", where, i, c.special[i]));
  }
  for (size_t l = 0; l < c.labels.size(); ++l) {
    const LabelInfo& label = c.labels[l];
    require_length(c.label_values[l].size(), texts, "/labels/" + label.name, where);
    const int64_t most =
        label.classes.empty() ? INT32_MAX : static_cast<int64_t>(label.classes.size()) - 1;
    for (size_t i = 0; i < texts; ++i) {
      if (c.label_values[l][i] >= -1 && c.label_values[l][i] <= most) continue;
      throw Error(fmt::format("{}: /labels/{}[{}] = {}: expected -1 to {}", where, label.name, i,
                              c.label_values[l][i], most));
    }
  }
}

Corpus read(const fs::path& path) {
  const std::string where = path.string();
  const hdf5::Handle file = hdf5::open_file(path);
  Corpus c;
  if (hdf5::read_text_attribute(file, "format", where) != "assay-corpus") {
    throw Error(where +
                ": not a corpus (attribute format is not assay-corpus); make it with "
                "data/python/tokenise.py");
  }
  if (const int64_t version = integer_attribute(file, "format_version", where); version != 1) {
    throw Error(fmt::format("{}: corpus format {}, this program reads 1", where, version));
  }
  c.model = hdf5::read_text_attribute(file, "model", where);
  c.tokenizer_hash = hdf5::read_text_attribute(file, "tokenizer_hash", where);
  c.source_hash = hdf5::read_text_attribute(file, "source_hash", where);
  c.max_length = integer_attribute(file, "max_length", where);
  c.prepend_bos = integer_attribute(file, "prepend_bos", where) != 0;
  c.tokens = hdf5::read_vector<int32_t>(file, "/tokens", kMostTokens, where);
  c.special = hdf5::read_vector<uint8_t>(file, "/special", kMostTokens, where);
  c.offsets = hdf5::read_vector<int64_t>(file, "/offsets", kMostTexts, where);
  c.document = hdf5::read_vector<int64_t>(file, "/document", kMostTexts, where);
  c.text_bytes = hdf5::read_vector<uint8_t>(file, "/text_bytes", kMostTokens, where);
  c.text_offsets = hdf5::read_vector<int64_t>(file, "/text_offsets", kMostTexts, where);
  for (const std::string& name : hdf5::members(file, "/labels")) {
    const hdf5::Handle label = hdf5::open_dataset(file, "/labels/" + name, where);
    c.labels.push_back({name, hdf5::read_names_attribute(label, "classes", where)});
    c.label_values.push_back(
        hdf5::read_vector<int32_t>(file, "/labels/" + name, kMostTexts, where));
  }
  check(c, where);
  return c;
}

}  // namespace

Corpus Corpus::open(const fs::path& path) {
  std::error_code failed;
  const auto size = fs::file_size(path, failed);
  // Integers are widened to 64 bits while they are read; compressed files unfold.
  const int64_t bytes = failed ? 0 : static_cast<int64_t>(size);
  const IsolationLimits limits{(int64_t{2} << 30) + 16 * bytes, (int64_t{1} << 28) + 8 * bytes,
                               600};
  const std::string answer = run_isolated(
      path.string(),
      [](std::string_view file) {
        Corpus c = read(fs::path(file));
        Writer writer;
        walk(writer, c);
        return writer.take();
      },
      path.string(), limits);
  Corpus c;
  Reader reader(answer, path.string());
  within_memory(path.string(), [&] { walk(reader, c); });
  c.path = path;
  check(c,
        path.string());  // the answer comes from a process that a hostile file may have taken over
  return c;
}

}  // namespace assay::data
