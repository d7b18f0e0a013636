#include <fmt/core.h>
#include <fmt/ranges.h>

#include <string_view>

#include "data/strided.h"
#include "data/torch_file.h"
#include "data/torch_values.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

/// A pickle of protocol 2. Nothing is memoized: it is a little longer, and simple.
class PickleText {
 public:
  PickleText& raw(std::string_view bytes) {
    bytes_ += bytes;
    return *this;
  }
  PickleText& name(std::string_view module, std::string_view name) {
    return raw("c").raw(module).raw("\n").raw(name).raw("\n");
  }
  PickleText& text(std::string_view text) {
    return raw("X").little(static_cast<uint32_t>(text.size()), 4).raw(text);
  }
  PickleText& integer(int64_t value) {
    return raw("\x8a\x08").little(static_cast<uint64_t>(value), 8);  // LONG1
  }
  PickleText& tuple(const std::vector<int64_t>& values) {
    raw("(");
    for (const int64_t value : values) integer(value);
    return raw("t");
  }
  PickleText& empty_ordered_dict() { return name("collections", "OrderedDict").raw(")R"); }
  const std::string& bytes() const { return bytes_; }

 private:
  PickleText& little(uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xff);
    return *this;
  }
  std::string bytes_;
};

void check(const std::string& name, const TensorView& tensor, const std::filesystem::path& file) {
  const int64_t elements = shape_product(tensor.shape), width = element_bytes(tensor.dtype);
  if (storage_of_dtype(tensor.dtype).empty()) {
    throw Error(fmt::format("{}: torch has no storage for tensor '{}' of {}; write safetensors",
                            file.string(), name, tensor.dtype));
  }
  if (elements < 0 || static_cast<uint64_t>(elements * width) != tensor.bytes) {
    throw Error(fmt::format("{}: tensor '{}' of shape [{}] and dtype {} is given {} bytes",
                            file.string(), name, fmt::join(tensor.shape, ", "), tensor.dtype,
                            tensor.bytes));
  }
}

/// A call of torch._utils._rebuild_tensor_v2 on all of storage `key`.
void put_tensor(PickleText& out, const TensorView& tensor, const std::string& key) {
  const std::string storage = storage_of_dtype(tensor.dtype);
  const size_t dot = storage.find('.');
  out.name("torch._utils", "_rebuild_tensor_v2").raw("((").text("storage");
  out.name(storage.substr(0, dot), storage.substr(dot + 1)).text(key).text("cpu");
  out.integer(shape_product(tensor.shape)).raw("tQ").integer(0);
  out.tuple(tensor.shape).tuple(row_strides(tensor.shape));
  out.raw("\x89").empty_ordered_dict().raw("tR");  // needs no gradient, has no hooks
}

}  // namespace

std::string write_torch(const std::map<std::string, TensorView>& tensors,
                        const std::map<std::string, int64_t>& integers,
                        const std::filesystem::path& file) {
  PickleText pickle;
  pickle.raw("\x80\x02").empty_ordered_dict().raw("(");
  int64_t key = 0;
  for (const auto& [name, tensor] : tensors) {
    check(name, tensor, file);
    if (integers.count(name) > 0)
      throw Error(fmt::format("{}: '{}' is a tensor and an integer", file.string(), name));
    put_tensor(pickle.text(name), tensor, std::to_string(key++));
  }
  for (const auto& [name, value] : integers) pickle.text(name).integer(value);
  pickle.raw("u.");
  ZipWriter zip(file);
  zip.add("archive/data.pkl", {pickle.bytes()});
  zip.add("archive/byteorder", {"little"});
  key = 0;
  for (const auto& [name, tensor] : tensors) {
    zip.add(fmt::format("archive/data/{}", key++),
            {{static_cast<const char*>(tensor.data), tensor.bytes}});
  }
  zip.add("archive/version", {"3\n"});
  return zip.finish();
}

}  // namespace assay::data
