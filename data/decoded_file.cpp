#include "data/decoded_file.h"

#include <unistd.h>

#include <algorithm>

#include "data/layout.h"
#include "data/shard_file.h"
#include "kernels/base/error.h"

namespace assay::data {
namespace {

namespace fs = std::filesystem;

constexpr const char* kDecode = "assay decode";

}  // namespace

struct ActivationsWriter::State {
  State(const fs::path& path, ShardWriterOptions chosen)
      : options(std::move(chosen)), file(options, path) {}
  ShardWriterOptions options;
  ShardFile file;
};

ActivationsWriter::ActivationsWriter(const fs::path& file, int64_t rows, int64_t d,
                                     const std::string& hook, const std::string& source_hash) {
  ShardWriterOptions options;
  options.d = d;
  options.dtype = DType::f32;
  options.rows_per_shard = std::max<int64_t>(rows, 1);
  options.tokens = options.document = options.position = options.special = options.text = false;
  options.sinks = false;
  options.hook = hook;
  options.source_hash = source_hash;
  options.made_by = kDecode;
  try {
    state_ = std::make_unique<State>(file, std::move(options));
  } catch (...) {
    fs::path part = file;
    part += ".part";
    ::unlink(part.c_str());  // the library leaves the file it could not begin
    throw;
  }
}

ActivationsWriter::~ActivationsWriter() = default;

void ActivationsWriter::append(ConstMatrix x) {
  RowBlock block;
  block.x = x;
  for (int64_t i = 0; i < x.rows; ++i) state_->file.append(block, i, state_->file.rows());
}

void ActivationsWriter::finish() { state_->file.finish(); }

bool is_decoded(const fs::path& file) {
  if (fs::file_size(file) == 0) return true;
  try {
    const FileLayout layout = read_layouts({file}).front();
    const auto made_by = layout.attributes.find("made_by");
    return made_by != layout.attributes.end() && made_by->second == kDecode;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace assay::data
