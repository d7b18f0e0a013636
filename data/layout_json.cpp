#include "data/layout_json.h"

#include <array>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"

namespace assay::data {
namespace {

using nlohmann::json;

json to_json(const ArrayLayout& array) {
  json extents = json::array();
  for (const Extent& extent : array.extents)
    extents.push_back({extent.first, extent.rows, extent.address});
  return {{"name", array.name},
          {"dtype", static_cast<int>(array.dtype)},
          {"d", array.d},
          {"extents", extents},
          {"crc32c", array.crc32c},
          {"count", array.moments.count},
          {"mean", array.moments.mean},
          {"variance", array.moments.variance},
          {"sinks", {array.sinks.bound, array.sinks.square, array.sinks.total}}};
}

ArrayLayout array_from(const json& from) {
  ArrayLayout array;
  array.name = from.at("name").get<std::string>();
  const int dtype = from.at("dtype").get<int>();
  array.dtype = dtype == 0 ? DType::f32 : dtype == 1 ? DType::f16 : DType::bf16;
  array.d = from.at("d").get<int64_t>();
  if (array.d < 1) throw Error("d");
  for (const json& extent : from.at("extents")) {
    array.extents.push_back(
        {extent.at(0).get<int64_t>(), extent.at(1).get<int64_t>(), extent.at(2).get<int64_t>()});
  }
  array.crc32c = from.at("crc32c").get<std::vector<uint32_t>>();
  array.moments.count = from.at("count").get<int64_t>();
  if (array.moments.count > 0) {
    array.moments.mean = from.at("mean").get<std::vector<double>>();
    array.moments.variance = from.at("variance").get<double>();
  }
  const auto sinks = from.at("sinks").get<std::array<double, 3>>();
  array.sinks = {sinks[0], sinks[1], sinks[2]};
  return array;
}

}  // namespace

std::string layout_to_json(const FileLayout& file) {
  json out{{"bytes", file.bytes},
           {"rows", file.rows},
           {"chunk_rows", file.chunk_rows},
           {"columns", file.columns},
           {"sinks", {file.sinks.rows ? json(*file.sinks.rows) : json(), file.sinks.crc32c}},
           {"attributes", file.attributes}};
  out["arrays"] = json::array();
  for (const ArrayLayout& array : file.arrays) out["arrays"].push_back(to_json(array));
  out["labels"] = json::array();
  for (const LabelInfo& label : file.labels)
    out["labels"].push_back({{"name", label.name}, {"classes", label.classes}});
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

FileLayout layout_from_json(const std::string& text, const std::filesystem::path& path) {
  try {
    const json from = json::parse(text);
    FileLayout file;
    file.path = path;
    file.bytes = from.at("bytes").get<int64_t>();
    file.rows = from.at("rows").get<int64_t>();
    file.chunk_rows = from.at("chunk_rows").get<int64_t>();
    if (file.rows < 0 || file.bytes < 0 || file.chunk_rows < 1) throw Error("sizes");
    for (const json& array : from.at("arrays")) file.arrays.push_back(array_from(array));
    if (file.arrays.empty()) throw Error("arrays");
    file.columns = from.at("columns").get<std::vector<std::string>>();
    const json& sinks = from.at("sinks");
    if (!sinks.at(0).is_null()) file.sinks.rows = sinks.at(0).get<int64_t>();
    file.sinks.crc32c = sinks.at(1).get<uint32_t>();
    if (file.sinks.rows > file.rows) throw Error("sinks");
    file.attributes = from.at("attributes").get<std::map<std::string, std::string>>();
    for (const json& label : from.at("labels")) {
      file.labels.push_back({label.at("name").get<std::string>(),
                             label.at("classes").get<std::vector<std::string>>()});
    }
    return file;
  } catch (const std::exception&) {
    throw Error(path.string() + ": damaged: its description makes no sense");
  }
}

}  // namespace assay::data
