#include "data/shard_writer.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "data/base/lease.h"
#include "data/index_file.h"
#include "data/rolling.h"
#include "data/shard_file.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

fs::path shard_path(const ShardWriterOptions& options, size_t number) {
  return options.folder / fmt::format("shard-{:05}.h5", number);
}

void check_name(const std::string& name, const char* what) {
  if (!name.empty() && name != "." && name.find('/') == std::string::npos) return;
  throw UsageError(fmt::format("{} name '{}': use a name without '/'", what, name));
}

void check_options(const ShardWriterOptions& options) {
  if (options.d < 1)
    throw UsageError(fmt::format("d = {}: activations have at least one dimension", options.d));
  if (options.rows_per_shard < 1)
    throw UsageError(fmt::format("rows_per_shard = {}: at least 1", options.rows_per_shard));
  if (options.chunk_bytes < 1)
    throw UsageError(fmt::format("chunk_bytes = {}: at least 1", options.chunk_bytes));
  for (const LabelInfo& label : options.labels) check_name(label.name, "label");
  for (const HookInfo& hook : options.extra_hooks) {
    check_name(hook.name, "hook");
    if (hook.name == "activations")
      throw UsageError("a hook cannot be named activations: that is the main data set");
    if (hook.d < 1) throw UsageError(fmt::format("hook {}: d = {}: at least 1", hook.name, hook.d));
  }
}

/// The whole shards from number `first` that an earlier writer left, checked against the options.
std::vector<FileLayout> find_shards(const ShardWriterOptions& options, size_t first) {
  std::vector<fs::path> paths;
  while (fs::exists(shard_path(options, first + paths.size()))) {
    paths.push_back(shard_path(options, first + paths.size()));
  }
  std::vector<FileLayout> shards = read_layouts(paths);
  const nlohmann::json ours = nlohmann::json::parse(options_text(options));
  for (const FileLayout& shard : shards) {
    const auto found = shard.attributes.find("writer_options");
    const std::string text = found == shard.attributes.end() ? "{}" : found->second;
    const nlohmann::json theirs = nlohmann::json::parse(text, nullptr, false);
    for (const auto& [key, value] : ours.items()) {
      const nlohmann::json other =
          theirs.is_object() && theirs.contains(key) ? theirs[key] : nlohmann::json();
      if (other == value) continue;
      throw Error(fmt::format(
          "{}: cannot resume: {} was {} there and is {} now; use another folder or delete this one",
          shard.path.string(), key, other.dump(), value.dump()));
    }
  }
  return shards;
}

void require_size(size_t size, int64_t rows, const std::string& what) {
  if (static_cast<int64_t>(size) == rows) return;
  throw Error(fmt::format("column {} has {} entries for {} rows", what, size, rows));
}

void check_block(const ShardWriterOptions& options, const RowBlock& block) {
  const int64_t rows = block.x.rows;
  if (block.x.cols != options.d)
    throw Error(fmt::format("rows have {} columns, the data set d = {}", block.x.cols, options.d));
  if (options.tokens) require_size(block.tokens.size(), rows, "tokens");
  if (options.document) require_size(block.document.size(), rows, "document");
  if (options.position) require_size(block.position.size(), rows, "position");
  if (options.special) require_size(block.special.size(), rows, "special");
  if (options.text) require_size(block.text.size(), rows, "text");
  require_size(block.labels.size(), static_cast<int64_t>(options.labels.size()), "labels");
  require_size(block.hooks.size(), static_cast<int64_t>(options.extra_hooks.size()), "hooks");
  for (size_t l = 0; l < block.labels.size(); ++l)
    require_size(block.labels[l].size(), rows, options.labels[l].name);
  for (size_t h = 0; h < block.hooks.size(); ++h) {
    const HookInfo& hook = options.extra_hooks[h];
    if (block.hooks[h].rows == rows && block.hooks[h].cols == hook.d) continue;
    throw Error(fmt::format("hook {} has shape [{}, {}], expected [{}, {}]", hook.name,
                            block.hooks[h].rows, block.hooks[h].cols, rows, hook.d));
  }
}

/// What a full shard takes on disk, with some room for the file's own metadata.
int64_t shard_bytes(const ShardWriterOptions& options) {
  constexpr int64_t kColumns = 32, kMetadata = 256 << 10;  // a row's columns; the file's own
  int64_t row = options.d * size_of(options.dtype) + kColumns +
                4 * static_cast<int64_t>(options.labels.size());
  for (const HookInfo& hook : options.extra_hooks) row += hook.d * size_of(hook.dtype);
  return options.rows_per_shard * row + kMetadata;
}

}  // namespace

struct ShardWriter::State {
  ShardWriterOptions options;
  std::optional<Lease> lease;  // of an ordinary data set; a rolling cache has its own
  std::optional<RollingProducer> rolling;
  int64_t resumed = 0, rows = 0;
  size_t shards = 0;
  std::unique_ptr<ShardFile> open;
  bool finished = false;

  /// Goes on behind what an earlier writer left.
  void resume() {
    int64_t first = 0;
    const auto released = [&] { return rolling ? rolling->released() : 0; };
    std::vector<FileLayout> whole;
    // What the trainer releases meanwhile is deleted under our eyes: then look again.
    do {
      first = released();
      try {
        whole = find_shards(options, static_cast<size_t>(first));
      } catch (const Error&) {
        if (released() == first) throw;
      }
    } while (released() != first);
    shards = static_cast<size_t>(first) + whole.size();
    rows = first * options.rows_per_shard;
    for (const FileLayout& shard : whole) rows += shard.rows;
    resumed = rows;
  }
  void open_shard() {
    if (rolling) rolling->wait_for_room();
    open = std::make_unique<ShardFile>(options, shard_path(options, shards));
  }
  void close_shard() {
    open->finish();
    open.reset();
    if (rolling && shards == 0) rolling->write_header(shard_path(options, 0));
    ++shards;
  }
};

ShardWriter::ShardWriter(ShardWriterOptions options) : state_(std::make_unique<State>()) {
  check_options(options);
  if (fs::exists(options.folder / "index.yaml")) {
    throw Error(fmt::format("{}: already holds a finished data set; choose another folder",
                            options.folder.string()));
  }
  if (options.disk_limit == 0) state_->lease.emplace(options.folder);
  state_->options = std::move(options);
  if (state_->options.disk_limit > 0) {
    const ShardWriterOptions& o = state_->options;
    state_->rolling.emplace(o.folder, o.disk_limit, shard_bytes(o));
  }
  state_->resume();
  if (state_->rolling && state_->shards > 0 &&
      !fs::exists(state_->options.folder / "rolling.json")) {
    state_->rolling->write_header(shard_path(state_->options, 0));
  }
}

ShardWriter::~ShardWriter() = default;

int64_t ShardWriter::resume_rows() const { return state_->resumed; }

void ShardWriter::append(const RowBlock& block) {
  State& s = *state_;
  if (s.finished)
    throw Error(s.options.folder.string() + ": the data set is finished; nothing can be appended");
  check_block(s.options, block);
  try {
    for (int64_t i = 0; i < block.x.rows; ++i) {
      if (!s.open) s.open_shard();
      s.open->append(block, i, s.rows);
      ++s.rows;
      if (s.open->rows() == s.options.rows_per_shard) s.close_shard();
    }
  } catch (...) {
    s.finished = true;  // a shard with a gap must never be closed
    s.open.reset();
    throw;
  }
}

void ShardWriter::finish() {
  State& s = *state_;
  if (s.finished)
    throw Error(s.options.folder.string() + ": the data set is finished already or a write failed");
  if (!s.open && s.shards == 0) s.open_shard();
  s.finished = true;
  if (s.open) s.close_shard();
  if (s.rolling) return s.rolling->finish({static_cast<int64_t>(s.shards), s.rows});
  std::vector<fs::path> paths;
  for (size_t i = 0; i < s.shards; ++i) paths.push_back(shard_path(s.options, i));
  write_index(s.options.folder, combine(s.options.folder, read_layouts(paths)));
}

}  // namespace assay::data
