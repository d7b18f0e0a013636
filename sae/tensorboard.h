// TensorBoard's event files, written natively: TFRecords (length, masked CRC32C, bytes, masked
// CRC32C) of Event protocol buffers that hold scalars. Format: tensorflow/core/lib/io/record_writer
// and tensorflow/core/util/event.proto.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "sae/append_file.h"

namespace assay::sae {

/// One record framed as TFRecord.
std::string tf_record(const std::string& bytes);
/// An Event with the format's version, which every file starts with, and one with scalars by tag.
std::string version_event(double wall_time);
std::string scalar_event(double wall_time, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars);

/// One event file a run. Records of the same scalars have the same length whatever the hour, so a
/// file that was cut back and written again has its records where they were, and a TensorBoard that
/// is watching goes on reading.
class EventFile {
 public:
  /// Opens FOLDER/events.out.tfevents.0.assay cut to `bytes` (0 = a new one). Of a file that is
  /// shorter or damaged the whole records go on, and the log says so. Throws Error naming the file
  /// where it cannot be written.
  EventFile(const std::filesystem::path& folder, int64_t bytes);

  void add(int64_t step, const std::vector<std::pair<std::string, float>>& scalars);
  /// The file's length after flushing to disk.
  int64_t sync() { return file_.sync(); }

 private:
  AppendFile file_;
};

}  // namespace assay::sae
