#include "sae/append_file.h"

#include <fmt/core.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "data/base/atomic_file.h"
#include "data/base/say.h"
#include "kernels/base/error.h"

namespace assay::sae {

int64_t whole_lines(const std::filesystem::path& file, int64_t bytes) {
  std::ifstream in(file, std::ios::binary);
  std::string line, whole;
  int64_t seen = 0;
  while (seen < bytes && std::getline(in, line) && !in.eof()) {
    seen += std::ssize(line) + 1;
    if (seen <= bytes && line.rfind('{', 0) == 0 && nlohmann::json::accept(line))
      whole += line + "\n";
  }
  in.close();
  const int64_t left = std::ssize(whole);
  if (left == bytes) return bytes;
  data::note(fmt::format("{}: {} of the {} bytes that the checkpoint saw are lost or damaged; {}",
                         file.string(), bytes - left, bytes,
                         left > 0 ? "it goes on with the lines that are whole" : "it begins anew"));
  data::write_file_atomically(file, whole);
  return left;
}

AppendFile::AppendFile(std::filesystem::path file, int64_t bytes)
    : path_(std::move(file)), file_(std::fopen(path_.c_str(), "ab")), bytes_(bytes) {
  if (!file_)
    throw Error(
        fmt::format("{}: cannot open for writing: {}", path_.string(), std::strerror(errno)));
  std::filesystem::resize_file(path_, static_cast<uintmax_t>(bytes));
}

AppendFile::~AppendFile() { std::fclose(file_); }

void AppendFile::write(const std::string& record) {
  if (std::fwrite(record.data(), 1, record.size(), file_) != record.size() ||
      std::fflush(file_) != 0) {
    throw Error(fmt::format("{}: cannot write {} bytes: {}", path_.string(), record.size(),
                            std::strerror(errno)));
  }
  bytes_ += static_cast<int64_t>(record.size());
}

int64_t AppendFile::sync() {
  if (std::fflush(file_) != 0 || fsync(fileno(file_)) != 0) {
    throw Error(fmt::format("{}: cannot write: {}", path_.string(), std::strerror(errno)));
  }
  return bytes_;
}

}  // namespace assay::sae
