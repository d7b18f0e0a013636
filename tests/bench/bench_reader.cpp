// Reader speed: verified chunks of a data set against plain read() of the same bytes, alternately
// in one run: from the system's page cache, and from the disk (the cache dropped before each pass).
// Prints GB/s and the ratio of medians (aim: 0.9), and the conversion to fp32 by itself.
//
//   bench_reader [--folder DIR] [--mib 512] [--repeats 15] [--json]
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/shard_writer.h"
#include "kernels/base/error.h"

namespace {

namespace fs = std::filesystem;
using assay::Error;
using assay::data::Dataset;

constexpr int64_t kDims = 384;

struct Options {
  fs::path folder = fs::temp_directory_path();
  int64_t mib = 512;
  int repeats = 15;
  bool json = false;
};

Options parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string name = arguments[i];
    if (name == "--json") {
      options.json = true;
      continue;
    }
    if (i + 1 == count) throw assay::UsageError("bench_reader: " + name + " needs a value");
    const std::string value = arguments[++i];
    if (name == "--folder") {
      options.folder = value;
    } else if (name == "--mib") {
      options.mib = std::max(16l, std::atol(value.c_str()));
    } else if (name == "--repeats") {
      options.repeats = std::max(1, std::atoi(value.c_str()));
    } else {
      throw assay::UsageError("bench_reader: unknown option " + name +
                              "; known: --folder --mib --repeats --json");
    }
  }
  return options;
}

void write_data(const fs::path& folder, int64_t mib) {
  assay::data::ShardWriterOptions options;
  options.folder = folder;
  options.d = kDims;
  options.tokens = options.document = options.position = options.special = options.text = false;
  assay::data::ShardWriter writer(options);
  std::vector<float> rows(1024 * kDims);
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<float>(i % 977) * 0.01f - 4.0f;
  for (int64_t done = 0; done < mib << 20; done += 1024 * kDims * 2) {
    assay::data::RowBlock block;
    block.x = assay::ConstMatrix(rows.data(), 1024, kDims);
    writer.append(block);
  }
  writer.finish();
}

double seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The shard files from end to end, in reads as long as a chunk.
void read_plainly(const std::vector<fs::path>& files, std::vector<char>& buffer) {
  for (const fs::path& file : files) {
    const int fd = ::open(file.c_str(), O_RDONLY);
    if (fd < 0) throw Error(file.string() + ": cannot open");
    ssize_t got = 0;
    while ((got = ::read(fd, buffer.data(), buffer.size())) > 0) {
    }
    ::close(fd);
    if (got < 0) throw Error(file.string() + ": cannot read");
  }
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void drop_cache(const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const int fd = ::open(file.c_str(), O_RDONLY);
    if (fd < 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
      throw Error(file.string() + ": cannot drop its cache");
    ::close(fd);
  }
}

struct Speeds {
  std::vector<double> plain, verified;  ///< GB/s of each pass
};

void report(const char* source, const Speeds& speeds, bool json) {
  const double plain = median(speeds.plain), verified = median(speeds.verified);
  fmt::print(fmt::runtime(json ? "{{\"source\": \"{}\", \"read_gb_s\": {:.3f}, \"verified_gb_s\": "
                                 "{:.3f}, \"ratio\": {:.3f}}}\n"
                               : "{:<10}  read() {:6.2f} GB/s   chunks with CRC32C verified "
                                 "{:6.2f} GB/s   ratio {:.3f}\n"),
             source, plain, verified, verified / plain);
}

std::vector<fs::path> shard_files(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".h5") files.push_back(entry.path());
  }
  return files;
}

void measure(const Options& options, const fs::path& folder) {
  write_data(folder, options.mib);
  const Dataset dataset = Dataset::open(folder);
  const std::vector<fs::path> files = shard_files(folder);
  const auto chunks = static_cast<int64_t>(dataset.chunks().size());
  const int64_t chunk_rows = dataset.chunks()[0].rows;
  std::vector<char> stored(static_cast<size_t>(chunk_rows * kDims * 2));
  std::vector<float> floats(static_cast<size_t>(chunk_rows * kDims));
  double file_bytes = 0;
  for (const fs::path& file : files) file_bytes += static_cast<double>(fs::file_size(file));
  const auto row_bytes = static_cast<double>(dataset.info().rows * kDims * 2);

  const auto plain = [&] { read_plainly(files, stored); };
  const auto verified = [&] {
    for (int64_t c = 0; c < chunks; ++c) dataset.read_chunk_raw("activations", c, stored.data());
  };
  const auto convert = [&] {
    for (int64_t c = 0; c < chunks; ++c) {
      assay::to_float(assay::DType::f16, stored.data(), floats.data(), chunk_rows * kDims);
    }
  };
  Speeds cached, disk;
  std::vector<double> converted;
  for (int i = 0; i < options.repeats; ++i) {
    cached.plain.push_back(file_bytes / seconds(plain) / 1e9);
    cached.verified.push_back(row_bytes / seconds(verified) / 1e9);
    converted.push_back(row_bytes / seconds(convert) / 1e9);
  }
  for (int i = 0; i < std::min(options.repeats, 5); ++i) {
    drop_cache(files);
    disk.plain.push_back(file_bytes / seconds(plain) / 1e9);
    drop_cache(files);
    disk.verified.push_back(row_bytes / seconds(verified) / 1e9);
  }
  report("page cache", cached, options.json);
  report("disk", disk, options.json);
  fmt::print(fmt::runtime(options.json ? "{{\"f16_to_f32_gb_s\": {:.3f}}}\n"
                                       : "f16 to f32 in memory: {:.2f} GB/s of f16\n"),
             median(converted));
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const Options options = parse(count, arguments);
    struct Temporary {
      fs::path folder;
      ~Temporary() {
        std::error_code ignored;
        fs::remove_all(folder, ignored);
      }
    };
    const Temporary made{options.folder / fmt::format("assay-bench-reader-{}", ::getpid())};
    measure(options, made.folder);
    return 0;
  } catch (const assay::UsageError& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
