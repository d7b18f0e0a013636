#include "sae/tensorboard.h"

#include <fmt/core.h>

#include <bit>
#include <chrono>
#include <cstring>
#include <fstream>

#include "data/base/atomic_file.h"
#include "data/base/crc32c.h"
#include "data/base/say.h"
#include "kernels/base/error.h"

namespace assay::sae {

namespace {

namespace fs = std::filesystem;

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// The format's mask: a checksum of bytes that hold checksums is weak, so the stored one is rotated
/// and shifted.
std::string masked_crc(const std::string& bytes) {
  const uint32_t crc = data::crc32c(0, bytes.data(), bytes.size());
  return raw<uint32_t>(std::rotr(crc, 15) + 0xa282ead8u);
}

// Protocol buffers: a key is (field number << 3 | wire type), then a varint (0), 8 bytes (1),
// length and bytes (2) or 4 bytes (5).
enum Wire : uint64_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

std::string varint(uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes += static_cast<char>(value | 0x80);
  return bytes + static_cast<char>(value);
}

std::string key(uint64_t field, Wire wire) { return varint(field << 3 | wire); }
std::string text(uint64_t field, const std::string& bytes) {
  return key(field, kBytes) + varint(bytes.size()) + bytes;
}

std::string wall_time_field(double seconds) { return key(1, kFixed64) + raw(seconds); }

constexpr const char* kName = "events.out.tfevents.0.assay";

/// The length of the whole records that a file begins with, of its first `bytes`.
int64_t whole_records(const fs::path& file, int64_t bytes) {
  std::ifstream in(file, std::ios::binary);
  std::string record;
  int64_t at = 0;
  for (uint64_t length = 0; in.read(reinterpret_cast<char*>(&length), sizeof length);) {
    if (length > static_cast<uint64_t>(bytes - at)) break;
    record.resize(length + 8);  // between the checksums of the length and of the record
    if (!in.read(record.data(), std::ssize(record))) break;
    const std::string whole = tf_record(record.substr(4, length));
    if (at + std::ssize(whole) > bytes || whole.substr(8) != record) break;
    at += std::ssize(whole);
  }
  return at;
}

/// How much of the file goes on: `bytes`, or the whole records of a damaged one. Makes the folder.
int64_t whole_bytes(const fs::path& folder, int64_t bytes) {
  data::make_folder(folder);
  const fs::path file = folder / kName;
  const int64_t left = whole_records(file, bytes);
  if (left < bytes)
    data::note(fmt::format(
        "{}: {} of the {} bytes that the checkpoint saw are lost or damaged; it goes on "
        "with the events that are whole",
        file.string(), bytes - left, bytes));
  return left;
}

double now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

}  // namespace

std::string tf_record(const std::string& bytes) {
  const std::string length = raw<uint64_t>(bytes.size());
  return length + masked_crc(length) + bytes + masked_crc(bytes);
}

std::string version_event(double wall_time) {
  return wall_time_field(wall_time) + text(3, "brain.Event:2");
}

std::string scalar_event(double wall_time, int64_t step,
                         const std::vector<std::pair<std::string, float>>& scalars) {
  std::string summary;
  for (const auto& [tag, value] : scalars) {
    summary += text(1, text(1, tag) + key(2, kFixed32) + raw(value));
  }
  return wall_time_field(wall_time) + key(2, kVarint) + varint(static_cast<uint64_t>(step)) +
         text(5, summary);
}

EventFile::EventFile(const fs::path& folder, int64_t bytes)
    : file_(folder / kName, whole_bytes(folder, bytes)) {
  if (file_.bytes() == 0) file_.write(tf_record(version_event(now())));
}

void EventFile::add(int64_t step, const std::vector<std::pair<std::string, float>>& scalars) {
  file_.write(tf_record(scalar_event(now(), step, scalars)));
}

}  // namespace assay::sae
