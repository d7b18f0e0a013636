#include <fmt/core.h>

#include <algorithm>

#include "data/base/sha256.h"
#include "data/index_file.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

/// Files that carry their sinks' marks and files that do not go together: the index has the others.
std::vector<std::string> columns_besides_sink(const FileLayout& file) {
  std::vector<std::string> columns = file.columns;
  std::erase(columns, "sink");
  return columns;
}

void require_same(const FileLayout& file, const FileLayout& first) {
  const std::string where = file.path.string(), other = first.path.string();
  if (file.arrays.size() != first.arrays.size()) {
    throw Error(fmt::format("{}: {} hooks, but {} has {}", where, file.arrays.size(), other,
                            first.arrays.size()));
  }
  for (size_t i = 0; i < file.arrays.size(); ++i) {
    const ArrayLayout &a = file.arrays[i], &b = first.arrays[i];
    if (a.name != b.name)
      throw Error(fmt::format("{}: hook {}, but {} has {}", where, a.name, other, b.name));
    if (a.d != b.d) {
      throw Error(
          fmt::format("{}: {} has d = {}, but {} has d = {}", where, a.dataset(), a.d, other, b.d));
    }
    if (a.dtype != b.dtype) {
      throw Error(fmt::format("{}: {} is {}, but {} is {}", where, a.dataset(), name_of(a.dtype),
                              other, name_of(b.dtype)));
    }
  }
  if (columns_besides_sink(file) != columns_besides_sink(first))
    throw Error(fmt::format("{}: has other columns than {}", where, other));
  bool labels = file.labels.size() == first.labels.size();
  for (size_t i = 0; labels && i < file.labels.size(); ++i) {
    labels = file.labels[i].name == first.labels[i].name &&
             file.labels[i].classes == first.labels[i].classes;
  }
  if (!labels) throw Error(fmt::format("{}: has other labels or classes than {}", where, other));
}

/// SHA-256 over the arrays' names, shapes and chunk checksums, and the marks of the sinks, which
/// decide what is trained on; "" where a file has no checksums.
std::string content_hash(const std::vector<FileLayout>& files) {
  std::string text;
  for (const FileLayout& file : files) {
    for (const ArrayLayout& array : file.arrays) {
      if (file.rows > 0 && array.crc32c.empty()) return "";
      text += fmt::format("{} {} {} {} {}\n", array.name, name_of(array.dtype), array.d, file.rows,
                          file.chunk_rows);
      for (const uint32_t crc : array.crc32c) text += fmt::format("{:08x}", crc);
      text += '\n';
    }
    if (file.sinks.rows > 0) text += fmt::format("sinks {:08x}\n", file.sinks.crc32c);
  }
  return sha256(text);
}

Moments join_moments(const std::vector<FileLayout>& files, size_t array) {
  Moments all;
  for (const FileLayout& file : files) all.merge(file.arrays[array].moments);
  return all;
}

std::string attribute(const FileLayout& file, const std::string& name) {
  const auto found = file.attributes.find(name);
  return found == file.attributes.end() ? "" : found->second;
}

/// How many rows are sinks, and what they hold; unknown where it is unknown of a file.
SinkInfo join_sinks(const std::vector<FileLayout>& files) {
  SinkInfo info;
  int64_t rows = 0;
  std::vector<HookSinks> all(files.front().arrays.size());
  for (const FileLayout& file : files) {
    if (!file.sinks.rows) return {};
    rows += *file.sinks.rows;
    for (size_t h = 0; h < all.size(); ++h) {
      all[h].square += file.arrays[h].sinks.square;
      all[h].total += file.arrays[h].sinks.total;
      all[h].bound = std::max(all[h].bound, file.arrays[h].sinks.bound);
    }
  }
  info.rows = rows;
  for (const HookSinks& hook : all) {
    info.share.push_back(hook.total > 0 ? hook.square / hook.total : 0);
    info.bound.push_back(hook.bound);
  }
  return info;
}

}  // namespace

Index combine(const fs::path& path, std::vector<FileLayout> files) {
  if (files.empty()) throw Error(path.string() + ": no files");
  Index index;
  const FileLayout& first = files.front();
  DatasetInfo& info = index.info;
  info.path = path;
  for (const FileLayout& file : files) {
    require_same(file, first);
    info.rows += file.rows;
  }
  for (size_t i = 0; i < first.arrays.size(); ++i) {
    const Moments moments = join_moments(files, i);
    const ArrayLayout& array = first.arrays[i];
    HookInfo hook;
    hook.name = array.name;
    hook.d = array.d;
    hook.dtype = array.dtype;
    hook.mean.assign(moments.mean.begin(), moments.mean.end());
    hook.variance = moments.variance;
    hook.scale = moments.scale();
    info.hooks.push_back(std::move(hook));
    index.moments.push_back(moments);
  }
  info.labels = first.labels;
  info.model = attribute(first, "model");
  info.revision = attribute(first, "revision");
  info.hook = attribute(first, "hook");
  info.tokenizer_hash = attribute(first, "tokenizer_hash");
  info.source_hash = attribute(first, "source_hash");
  info.has_tokens = first.has_column("tokens");
  info.has_document = first.has_column("document");
  info.has_position = first.has_column("position");
  info.has_special = first.has_column("special");
  info.has_text = first.has_column("text");
  index.sinks = join_sinks(files);
  info.content_hash = content_hash(files);
  index.files = std::move(files);
  return index;
}

}  // namespace assay::data
