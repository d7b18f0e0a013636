#include "data/text_table.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"

namespace assay::data {

TextTable text_table(const Dataset& dataset) {
  const auto& text = dataset.text();
  const auto& document = dataset.document();
  const auto& left_out = dataset.left_out();
  TextTable table;
  for (size_t row = 0; row < text.size(); ++row) {
    if (row == 0 || text[row] != text[row - 1]) {
      table.first.push_back(static_cast<int64_t>(row));
      table.rows.push_back(0);
      table.ordinary.push_back(0);
      table.document.push_back(document[row]);
      table.number.push_back(text[row]);
    }
    if (document[row] != table.document.back())
      throw Error(fmt::format(
          "{}: row {}: text {} belongs to document {} and to document {}: a text has one document",
          dataset.info().path.string(), row, text[row], table.document.back(), document[row]));
    ++table.rows.back();
    table.ordinary.back() += left_out[row] == 0;
  }
  return table;
}

bool has_label(const Dataset& dataset, const std::string& name) {
  const auto& labels = dataset.info().labels;
  return std::any_of(labels.begin(), labels.end(),
                     [&](const LabelInfo& label) { return label.name == name; });
}

std::vector<int32_t> text_labels(const Dataset& dataset, const TextTable& texts,
                                 const std::string& name) {
  const auto& values = dataset.label_values(name);
  const auto& special = dataset.special();
  std::vector<int32_t> result(texts.first.size(), -1);
  for (int64_t t = 0; t < texts.size(); ++t) {
    bool seen = false;
    for (int64_t row = texts.first[t]; row < texts.first[t] + texts.rows[t]; ++row) {
      if (special[row]) continue;
      if (seen && values[row] != result[t])
        throw Error(fmt::format(
            "{}: row {}: text {} has two values of label '{}': this task needs one a text",
            dataset.info().path.string(), row, texts.number[t], name));
      result[t] = values[row];
      seen = true;
    }
  }
  return result;
}

int32_t class_index(const LabelInfo& label, const std::string& name) {
  const auto found = std::find(label.classes.begin(), label.classes.end(), name);
  if (found == label.classes.end()) {
    const size_t shown = std::min<size_t>(label.classes.size(), 50);
    throw Error(fmt::format(
        "label '{}' has no class '{}': its classes are {}{}", label.name, name,
        fmt::join(label.classes.begin(), label.classes.begin() + static_cast<int64_t>(shown), ", "),
        shown < label.classes.size() ? ", …" : ""));
  }
  return static_cast<int32_t>(found - label.classes.begin());
}

}  // namespace assay::data
