#include "data/npz.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "data/base/within_memory.h"
#include "data/npy.h"
#include "data/strided.h"
#include "kernels/base/error.h"

namespace assay::data {

namespace {

constexpr std::pair<const char*, const char*> kTypes[] = {
    {"<f8", "F64"}, {"<f4", "F32"}, {"<f2", "F16"}, {"<i8", "I64"}, {"<i4", "I32"}, {"<i2", "I16"},
    {"|i1", "I8"},  {"<u8", "U64"}, {"<u4", "U32"}, {"<u2", "U16"}, {"|u1", "U8"},  {"|b1", "BOOL"},
};
constexpr const char* kSuffix = ".npy";
constexpr uint64_t kLongestHeader = 65536 + 12;

std::string dtype_of(const std::string& where, const std::string& descr) {
  const size_t end = descr.find('\'', 1);
  const bool quoted = descr.starts_with('\'') && end != std::string::npos;
  const std::string type = quoted ? descr.substr(1, end - 1) : descr.substr(0, 20);
  for (const auto& [numpy, dtype] : kTypes) {
    if (quoted && type == numpy) return dtype;
  }
  if (type == "|O" || type == "O") {
    throw Error(where +
                ": holds objects, which are pickles and could run code; save numbers, with "
                "allow_pickle=False");
  }
  throw Error(
      fmt::format("{}: element type '{}', expected little-endian numbers such as '<f4' or "
                  "'<i8'; convert it",
                  where, type));
}

Tensor read_array(const ZipArchive& archive, const ZipEntry& entry, const std::string& where) {
  const std::string start = archive.head(entry, kLongestHeader);
  size_t at = 0;
  const NpyHeader header = read_npy_header(where, [&](char* into, size_t bytes) {
    if (bytes > start.size() - at) return false;
    std::memcpy(into, start.data() + at, bytes);
    at += bytes;
    return true;
  });
  Tensor tensor;
  tensor.dtype = dtype_of(where, header.descr);
  if (!header.shape) throw Error(where + ": its shape is no tuple of sizes; write it anew");
  tensor.shape = *header.shape;
  tensor.offset = static_cast<uint64_t>(header.bytes);
  const int64_t width = element_bytes(tensor.dtype), elements = tensor.elements();
  const auto held = static_cast<int64_t>(entry.size) - header.bytes;
  if (elements < 0 || held % width != 0 || held / width != elements) {
    throw Error(fmt::format("{}: {} bytes do not hold [{}] elements of {} bytes; write it anew",
                            where, held, fmt::join(tensor.shape, ", "), width));
  }
  const bool fortran = header.fortran_order.starts_with("True");
  if (!fortran && !header.fortran_order.starts_with("False"))
    throw Error(where + ": its order is neither C nor Fortran; write it anew");
  tensor.source = archive.open(entry);
  place(tensor, fortran ? column_strides(tensor.shape) : row_strides(tensor.shape), 0, elements,
        where);
  return tensor;
}

TensorFile read_open(const ZipArchive& archive, const std::filesystem::path& file) {
  TensorFile content;
  content.path = file;
  for (const ZipEntry& entry : archive.entries()) {
    const std::string where = fmt::format("{}: entry '{}'", file.string(), entry.name);
    if (!entry.name.ends_with(kSuffix))
      throw Error(where + ": not a .npy array, which numpy.savez would write; write it anew");
    const std::string name = entry.name.substr(0, entry.name.size() - std::strlen(kSuffix));
    content.tensors.emplace(name, read_array(archive, entry, where));
  }
  return content;
}

/// A header of version 1, padded so that the elements begin at a multiple of 64.
std::string header_of(const std::string& name, const TensorView& tensor,
                      const std::filesystem::path& file) {
  const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                   [&](const auto& type) { return type.second == tensor.dtype; });
  if (known == std::end(kTypes)) {
    throw Error(fmt::format("{}: NumPy has no type for tensor '{}' of {}; write it as F32",
                            file.string(), name, tensor.dtype));
  }
  const int64_t elements = shape_product(tensor.shape), width = element_bytes(tensor.dtype);
  if (elements < 0 || static_cast<uint64_t>(elements * width) != tensor.bytes) {
    throw Error(fmt::format("{}: tensor '{}' of shape [{}] and dtype {} is given {} bytes",
                            file.string(), name, fmt::join(tensor.shape, ", "), tensor.dtype,
                            tensor.bytes));
  }
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", known->first,
                  fmt::join(tensor.shape, ", "), tensor.shape.size() == 1 ? "," : "");
  constexpr size_t kBefore = 10;
  text.resize((kBefore + text.size() + 1 + 63) / 64 * 64 - kBefore - 1, ' ');
  text += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(text.size() & 0xff);
  header += static_cast<char>(text.size() >> 8);
  return header + text;
}

}  // namespace

TensorFile read_npz(const ZipArchive& archive, const std::filesystem::path& file) {
  return within_memory(file.string(), [&] { return read_open(archive, file); });
}

TensorFile read_npz(const std::filesystem::path& file) {
  return within_memory(file.string(), [&] { return read_open(ZipArchive(file), file); });
}

std::string write_npz(const std::map<std::string, TensorView>& tensors,
                      const std::filesystem::path& file) {
  ZipWriter zip(file);
  for (const auto& [name, tensor] : tensors) {
    const std::string header = header_of(name, tensor, file);
    zip.add(name + kSuffix, {header, {static_cast<const char*>(tensor.data), tensor.bytes}});
  }
  return zip.finish();
}

}  // namespace assay::data
