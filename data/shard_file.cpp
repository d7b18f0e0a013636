#include "data/shard_file.h"

#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/base/crc32c.h"
#include "data/hdf5_attributes.h"
#include "data/hdf5_values.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

std::string dataset_of(const HookInfo& hook) {
  return hook.name == "activations" ? "/activations" : "/hooks/" + hook.name;
}

hdf5::Handle create_array(hid_t file, const std::string& name, DType dtype, int64_t chunk_rows,
                          int64_t d, const std::string& where) {
  const hsize_t start[2] = {0, static_cast<hsize_t>(d)},
                most[2] = {H5S_UNLIMITED, static_cast<hsize_t>(d)};
  const hsize_t chunk[2] = {static_cast<hsize_t>(chunk_rows), static_cast<hsize_t>(d)};
  const hdf5::Handle space(H5Screate_simple(2, start, most));
  const hdf5::Handle properties(H5Pcreate(H5P_DATASET_CREATE));
  hdf5::check(H5Pset_chunk(properties, 2, chunk), where, name);
  return hdf5::create_dataset(file, name, hdf5::file_type(dtype), space, properties, where);
}

}  // namespace

ArrayWriter::ArrayWriter(HookInfo hook, int64_t chunk_rows, std::string where)
    : hook_(std::move(hook)),
      dataset_(dataset_of(hook_)),
      where_(std::move(where)),
      chunk_rows_(chunk_rows),
      buffer_(static_cast<size_t>(chunk_rows * hook_.d * size_of(hook_.dtype))),
      as_stored_(static_cast<size_t>(hook_.d)),
      sums_(hook_.d) {}

const float* ArrayWriter::append(hid_t file, const float* row, bool counted, int64_t row_number) {
  char* to = buffer_.data() + filled_ * hook_.d * size_of(hook_.dtype);
  from_float(hook_.dtype, row, to, hook_.d);
  to_float(hook_.dtype, to, as_stored_.data(), hook_.d);
  for (int64_t j = 0; j < hook_.d; ++j) {
    if (std::isfinite(as_stored_[static_cast<size_t>(j)])) continue;
    throw Error(fmt::format(
        "{}: row {} of {}: value {} at column {} is not finite as {}; {}", where_, row_number,
        dataset_, row[j], j, name_of(hook_.dtype),
        std::isfinite(row[j]) ? "use bf16 or f32" : "the model's output is broken there"));
  }
  if (counted) sums_.add(as_stored_.data());
  if (++filled_ == chunk_rows_) flush(file);
  return as_stored_.data();
}

void ArrayWriter::count_again(hid_t file, const std::vector<uint8_t>& counted) {
  flush(file);
  sums_ = MomentSums(hook_.d);
  const int64_t row_bytes = hook_.d * size_of(hook_.dtype);
  const hdf5::Handle space = hdf5::own(H5Dget_space(handle_), where_, dataset_);
  for (int64_t first = 0; first < written_; first += chunk_rows_) {
    const int64_t rows = std::min(chunk_rows_, written_ - first);
    const hsize_t start[2] = {static_cast<hsize_t>(first), 0};
    const hsize_t count[2] = {static_cast<hsize_t>(rows), static_cast<hsize_t>(hook_.d)};
    const hdf5::Handle memory(H5Screate_simple(2, count, nullptr));
    hdf5::check(H5Sselect_hyperslab(space, H5S_SELECT_SET, start, nullptr, count, nullptr), where_,
                dataset_);
    hdf5::check(
        H5Dread(handle_, hdf5::file_type(hook_.dtype), memory, space, H5P_DEFAULT, buffer_.data()),
        where_, "cannot read back " + dataset_);
    for (int64_t i = 0; i < rows; ++i) {
      if (counted[static_cast<size_t>(first + i)] == 0) continue;
      to_float(hook_.dtype, buffer_.data() + i * row_bytes, as_stored_.data(), hook_.d);
      sums_.add(as_stored_.data());
    }
  }
}

void ArrayWriter::flush(hid_t file) {
  const int64_t row_bytes = hook_.d * size_of(hook_.dtype);
  // The first chunk decides the stored chunk's size, so that a small shard is not padded to a whole
  // chunk.
  if (!handle_.valid()) {
    handle_ =
        create_array(file, dataset_, hook_.dtype, std::max<int64_t>(filled_, 1), hook_.d, where_);
  }
  if (filled_ == 0) return;
  checksums_.push_back(crc32c(0, buffer_.data(), static_cast<size_t>(filled_ * row_bytes)));
  const int64_t stored_rows = written_ == 0 ? filled_ : chunk_rows_;
  std::fill(buffer_.begin() + filled_ * row_bytes, buffer_.end(), '\0');
  const hsize_t extent[2] = {static_cast<hsize_t>(written_ + filled_),
                             static_cast<hsize_t>(hook_.d)};
  const hsize_t offset[2] = {static_cast<hsize_t>(written_), 0};
  const std::string what = fmt::format("cannot write {} bytes", stored_rows * row_bytes);
  hdf5::check(H5Dset_extent(handle_, extent), where_, what);
  hdf5::check(H5Dwrite_chunk(handle_, H5P_DEFAULT, 0, offset,
                             static_cast<size_t>(stored_rows * row_bytes), buffer_.data()),
              where_, what);
  written_ += filled_;
  filled_ = 0;
}

void ArrayWriter::finish(hid_t file) {
  flush(file);
  const Moments moments = sums_.moments();
  hdf5::write_text_attribute(handle_, "dtype", std::string(name_of(hook_.dtype)), where_);
  hdf5::write_integer_attribute(handle_, "chunk_rows", chunk_rows_, where_);
  hdf5::write_integer_attribute(handle_, "rows_counted", moments.count, where_);
  hdf5::write_numbers_attribute(handle_, "mean", moments.mean, where_);
  hdf5::write_numbers_attribute(handle_, "variance", {moments.variance}, where_);
  hdf5::write_numbers_attribute(handle_, "scale", {moments.scale()}, where_);
  hdf5::write_numbers_attribute(handle_, "crc32c", {checksums_.begin(), checksums_.end()}, where_);
  if (sinks_) {
    hdf5::write_numbers_attribute(handle_, "sink_bound", {sinks_->bound}, where_);
    hdf5::write_numbers_attribute(handle_, "sink_square", {sinks_->square}, where_);
    hdf5::write_numbers_attribute(handle_, "square", {sinks_->total}, where_);
  }
  handle_.close();
}

ShardFile::ShardFile(const ShardWriterOptions& options, fs::path path)
    : options_(options),
      path_(std::move(path)),
      sinks_(options.extra_hooks.size() + 1),
      labels_(options.labels.size()) {
  part_ = path_;
  part_ += ".part";
  const auto held = hdf5::lock();
  file_ = hdf5::create_file(part_);
  HookInfo main;
  main.name = "activations";
  main.d = options.d;
  main.dtype = options.dtype;
  arrays_.emplace_back(main, chunk_rows_of(options), path_.string());
  for (const HookInfo& hook : options.extra_hooks)
    arrays_.emplace_back(hook, chunk_rows_of(options), path_.string());
}

ShardFile::~ShardFile() {
  if (finished_) return;
  // Closing would write once more, and the library does not survive that on a full disk: the file
  // is emptied and left.
  const auto held = hdf5::lock();
  if (::truncate(part_.c_str(), 0) == 0) ::unlink(part_.c_str());
  file_.release();
}

void ShardFile::append(const RowBlock& block, int64_t i, int64_t row_number) {
  const auto held = hdf5::lock();
  const auto at = static_cast<size_t>(i);
  const bool counted = !options_.special || block.special[at] == 0;
  for (size_t h = 0; h < arrays_.size(); ++h) {
    const float* row = h == 0 ? block.x.row(i) : block.hooks[h - 1].row(i);
    const float* stored = arrays_[h].append(file_, row, counted, row_number);
    if (options_.sinks) sinks_.add(h, stored, arrays_[h].hook().d);
  }
  if (options_.tokens) tokens_.push_back(block.tokens[at]);
  if (options_.document) document_.push_back(block.document[at]);
  if (options_.position) position_.push_back(block.position[at]);
  if (options_.special) special_.push_back(block.special[at]);
  if (options_.text) text_.push_back(block.text[at]);
  for (size_t l = 0; l < labels_.size(); ++l) labels_[l].push_back(block.labels[l][at]);
  ++rows_;
}

/// Marks them, and takes them out of the statistics.
void ShardFile::mark_sinks() {
  const std::string where = path_.string();
  const Sinks found = sinks_.find(special_);
  const hdf5::Handle column = hdf5::write_vector(file_, "/sink", found.marks, where);
  hdf5::write_integer_attribute(column, "rows", *found.facts.rows, where);
  hdf5::write_integer_attribute(column, "crc32c", found.facts.crc32c, where);
  std::vector<uint8_t> counted(found.marks.size());
  for (size_t i = 0; i < counted.size(); ++i)
    counted[i] = found.marks[i] == 0 && (special_.empty() || special_[i] == 0);
  for (size_t h = 0; h < arrays_.size(); ++h) {
    arrays_[h].set_sinks(found.hooks[h]);
    if (found.facts.rows > 0) arrays_[h].count_again(file_, counted);
  }
}

void ShardFile::write_columns() {
  const std::string where = path_.string();
  if (options_.tokens) hdf5::write_vector(file_, "/tokens", tokens_, where);
  if (options_.document) hdf5::write_vector(file_, "/document", document_, where);
  if (options_.position) hdf5::write_vector(file_, "/position", position_, where);
  if (options_.special) hdf5::write_vector(file_, "/special", special_, where);
  if (options_.text) hdf5::write_vector(file_, "/text", text_, where);
  for (size_t l = 0; l < labels_.size(); ++l) {
    const hdf5::Handle dataset =
        hdf5::write_vector(file_, "/labels/" + options_.labels[l].name, labels_[l], where);
    hdf5::write_texts_attribute(dataset, "classes", options_.labels[l].classes, where);
  }
}

void ShardFile::write_attributes() {
  const std::string where = path_.string();
  hdf5::write_integer_attribute(file_, "assay_format", 1, where);
  hdf5::write_integer_attribute(file_, "d", options_.d, where);
  hdf5::write_text_attribute(file_, "dtype", std::string(name_of(options_.dtype)), where);
  hdf5::write_text_attribute(file_, "model", options_.model, where);
  hdf5::write_text_attribute(file_, "revision", options_.revision, where);
  hdf5::write_text_attribute(file_, "hook", options_.hook, where);
  hdf5::write_text_attribute(file_, "tokenizer_hash", options_.tokenizer_hash, where);
  hdf5::write_text_attribute(file_, "source_hash", options_.source_hash, where);
  hdf5::write_text_attribute(file_, "chat_template", options_.chat_template, where);
  hdf5::write_integer_attribute(file_, "context_length", options_.context_length, where);
  hdf5::write_integer_attribute(file_, "prepend_bos", options_.prepend_bos ? 1 : 0, where);
  if (!options_.made_by.empty())
    hdf5::write_text_attribute(file_, "made_by", options_.made_by, where);
  hdf5::write_text_attribute(file_, "writer_options", options_text(options_), where);
}

void ShardFile::finish() {
  const auto held = hdf5::lock();
  const std::string where = path_.string();
  if (options_.sinks) mark_sinks();
  for (ArrayWriter& array : arrays_) array.finish(file_);
  write_columns();
  write_attributes();
  hdf5::check(H5Fflush(file_, H5F_SCOPE_GLOBAL), where, fmt::format("cannot write {} rows", rows_));
  if (!file_.close()) hdf5::fail(where, fmt::format("cannot write {} rows", rows_));
  publish(part_, path_);
  finished_ = true;
}

int64_t chunk_rows_of(const ShardWriterOptions& options) {
  constexpr int64_t kWideRow = 2 << 10, kWideChunk = 1 << 20;
  const int64_t row = options.d * size_of(options.dtype),
                bytes = row > kWideRow ? std::min(options.chunk_bytes, kWideChunk)
                                       : options.chunk_bytes;
  return std::clamp<int64_t>(bytes / row, 1, options.rows_per_shard);
}

std::string options_text(const ShardWriterOptions& options) {
  nlohmann::ordered_json text{{"d", options.d},
                              {"dtype", std::string(name_of(options.dtype))},
                              {"rows_per_shard", options.rows_per_shard},
                              {"chunk_bytes", options.chunk_bytes},
                              {"tokens", options.tokens},
                              {"document", options.document},
                              {"position", options.position},
                              {"special", options.special},
                              {"text", options.text},
                              {"sinks", options.sinks},
                              {"model", options.model},
                              {"revision", options.revision},
                              {"hook", options.hook},
                              {"tokenizer_hash", options.tokenizer_hash},
                              {"source_hash", options.source_hash},
                              {"chat_template", options.chat_template},
                              {"context_length", options.context_length},
                              {"prepend_bos", options.prepend_bos}};
  text["labels"] = nlohmann::ordered_json::array();
  for (const LabelInfo& label : options.labels) text["labels"].push_back(label.name);
  text["extra_hooks"] = nlohmann::ordered_json::array();
  for (const HookInfo& hook : options.extra_hooks) {
    text["extra_hooks"].push_back(fmt::format("{} {} {}", hook.name, hook.d, name_of(hook.dtype)));
  }
  return text.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace assay::data
