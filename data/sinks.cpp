#include "data/sinks.h"

#include <algorithm>
#include <cmath>

#include "data/base/atomic_file.h"
#include "data/base/crc32c.h"
#include "data/hdf5.h"
#include "data/hdf5_values.h"

namespace assay::data {
namespace {

/// kSinkFactor² × the median of the squares of ordinary rows; 0 where there are none.
double squared_bound(const std::vector<double>& squares, std::span<const uint8_t> special) {
  std::vector<double> ordinary;
  for (size_t i = 0; i < squares.size(); ++i)
    if (squares[i] > 0 && (special.empty() || special[i] == 0)) ordinary.push_back(squares[i]);
  if (ordinary.empty()) return 0;
  const auto middle = ordinary.begin() + static_cast<int64_t>((ordinary.size() - 1) / 2);
  std::nth_element(ordinary.begin(), middle, ordinary.end());
  return kSinkFactor * kSinkFactor * *middle;
}

}  // namespace

void SinkFinder::add(size_t hook, const float* row, int64_t d) {
  double square = 0;
  for (int64_t j = 0; j < d; ++j) square += static_cast<double>(row[j]) * row[j];
  squares_[hook].push_back(square);
}

Sinks SinkFinder::find(std::span<const uint8_t> special, std::span<const uint8_t> given) const {
  Sinks sinks;
  sinks.marks.assign(squares_.front().size(), 0);
  std::copy(given.begin(), given.end(), sinks.marks.begin());
  for (const std::vector<double>& squares : squares_) {
    const double bound = squared_bound(squares, special);
    sinks.hooks.push_back({std::sqrt(bound), 0, 0});
    for (size_t i = 0; given.empty() && bound > 0 && i < squares.size(); ++i)
      sinks.marks[i] |= squares[i] > bound;
  }
  for (size_t h = 0; h < squares_.size(); ++h) {
    for (size_t i = 0; i < sinks.marks.size(); ++i) {
      sinks.hooks[h].total += squares_[h][i];
      if (sinks.marks[i] != 0) sinks.hooks[h].square += squares_[h][i];
    }
  }
  sinks.facts.rows = static_cast<int64_t>(sinks.marks.size()) -
                     std::count(sinks.marks.begin(), sinks.marks.end(), 0);
  sinks.facts.crc32c = crc32c(0, sinks.marks.data(), sinks.marks.size());
  return sinks;
}

std::filesystem::path sinks_path(const std::filesystem::path& folder) {
  return folder / "sinks.hdf5";  // not .h5: "assay index FOLDER/*.h5" is for activations
}

void write_sinks(const std::filesystem::path& folder, const std::vector<uint8_t>& marks) {
  std::filesystem::path part = sinks_path(folder);
  part += ".part";
  {
    const auto held = hdf5::lock();
    hdf5::Handle file = hdf5::create_file(part);
    hdf5::write_vector(file, "/sink", marks, part.string());
    if (!file.close()) hdf5::fail(part.string(), "cannot write the marks of the sinks");
  }
  publish(part, sinks_path(folder));
}

}  // namespace assay::data
