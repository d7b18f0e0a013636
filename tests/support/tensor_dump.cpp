// Reads a file of tensors, whatever its container, for the Python tests.
// Usage: tensor_dump FILE            prints {"tensors": {name: {dtype, shape, values}}, "metadata"}
//        tensor_dump FILE OUT        writes it again as OUT says: .safetensors, .pt or .npz
// Floats are read as fp32, signed integers as int64; of other types only dtype and shape are shown.
#include <filesystem>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/npz.h"
#include "data/safetensors.h"
#include "data/tensor_formats.h"
#include "data/torch_file.h"

namespace {

using namespace assay::data;

bool is_integer(const Tensor& tensor) { return tensor.dtype.front() == 'I'; }

nlohmann::json dump(const TensorFile& file) {
  nlohmann::json out{{"tensors", nlohmann::json::object()}, {"metadata", file.metadata}};
  for (const auto& [name, tensor] : file.tensors) {
    nlohmann::json& shown = out["tensors"][name];
    shown = {{"dtype", tensor.dtype}, {"shape", tensor.shape}, {"values", nullptr}};
    if (tensor.is_float()) shown["values"] = file.floats(name, tensor.shape);
    if (is_integer(tensor)) shown["values"] = file.integers(name, tensor.shape);
    if (tensor.is_float() && tensor.shape.size() == 2)
      shown["transposed"] = file.transposed(name, tensor.shape);
  }
  return out;
}

void rewrite(const TensorFile& file, const std::filesystem::path& out) {
  std::map<std::string, std::vector<float>> floats;
  std::map<std::string, std::vector<int64_t>> integers;
  std::map<std::string, TensorView> views;
  for (const auto& [name, tensor] : file.tensors) {
    if (tensor.is_float()) {
      floats[name] = file.floats(name, tensor.shape);
      views[name] = view_of(floats[name], tensor.shape);
    } else if (is_integer(tensor)) {
      integers[name] = file.integers(name, tensor.shape);
      views[name] = view_of(integers[name]);
      views[name].shape = tensor.shape;
    }
  }
  if (out.extension() == ".pt") {
    write_torch(views, {{"rewritten", 1}}, out);
  } else if (out.extension() == ".npz") {
    write_npz(views, out);
  } else {
    write_safetensors(views, out);
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    if (argc < 2) return 2;
    const TensorFile file = read_tensors(argv[1]);
    if (argc > 2) {
      rewrite(file, argv[2]);
    } else {
      std::cout << dump(file) << "\n";
    }
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
