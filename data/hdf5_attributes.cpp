#include "data/hdf5_attributes.h"

#include <fmt/core.h>

#include <cstring>
#include <set>

#include "data/base/json_file.h"
#include "data/hdf5_values.h"
#include "kernels/base/error.h"

namespace assay::data::hdf5 {
namespace {

Handle scalar_space() { return Handle(H5Screate(H5S_SCALAR)); }

Handle text_type() {
  Handle type(H5Tcopy(H5T_C_S1));
  H5Tset_size(type, H5T_VARIABLE);
  H5Tset_cset(type, H5T_CSET_UTF8);
  return type;
}

/// Opens the attribute and its space and counts its elements; an invalid handle where it is
/// missing.
Handle open_attribute(hid_t object, const std::string& name, const std::string& where, int64_t most,
                      int64_t& count) {
  if (H5Aexists(object, name.c_str()) <= 0) return {};
  Handle attribute = own(H5Aopen(object, name.c_str(), H5P_DEFAULT), where, "attribute " + name);
  const Handle space = own(H5Aget_space(attribute), where, "attribute " + name);
  count = H5Sget_simple_extent_npoints(space);
  if (count < 0 || count > most) {
    throw Error(fmt::format("{}: attribute {} has {} elements; at most {} are allowed", where, name,
                            count, most));
  }
  return attribute;
}

std::vector<std::string> read_texts(hid_t attribute, int64_t count, const std::string& name,
                                    const std::string& where) {
  constexpr size_t most = 1 << 20;
  const Handle type = own(H5Aget_type(attribute), where, "attribute " + name);
  if (H5Tget_class(type) != H5T_STRING)
    throw Error(fmt::format("{}: attribute {} is no text", where, name));
  std::vector<std::string> texts(static_cast<size_t>(count));
  if (count == 0) return texts;
  if (H5Tis_variable_str(type) > 0) {
    const Handle space = own(H5Aget_space(attribute), where, "attribute " + name);
    std::vector<char*> pointers(texts.size(), nullptr);
    Handle memory = text_type();
    H5Tset_cset(memory, H5Tget_cset(type));
    check(H5Aread(attribute, memory, pointers.data()), where, "attribute " + name);
    for (size_t i = 0; i < texts.size(); ++i) {
      if (pointers[i] != nullptr) texts[i].assign(pointers[i], strnlen(pointers[i], most + 1));
    }
    H5Dvlen_reclaim(memory, space, H5P_DEFAULT, pointers.data());
  } else {
    const size_t size = H5Tget_size(type);
    if (size > most || size * texts.size() > (64u << 20))
      throw Error(fmt::format("{}: attribute {} is too long", where, name));
    std::vector<char> bytes(size * texts.size());
    check(H5Aread(attribute, type, bytes.data()), where, "attribute " + name);
    for (size_t i = 0; i < texts.size(); ++i) {  // padded by NULs; one within is the text's own
      texts[i].assign(bytes.data() + i * size, size);
      texts[i].erase(texts[i].find_last_not_of('\0') + 1);
    }
  }
  for (const std::string& text : texts) {
    if (text.size() > most)
      throw Error(fmt::format("{}: attribute {} is longer than 1 MiB", where, name));
  }
  return texts;
}

Handle create_attribute(hid_t object, const std::string& name, hid_t type, hid_t space,
                        const std::string& where) {
  return own(H5Acreate2(object, name.c_str(), type, space, H5P_DEFAULT, H5P_DEFAULT), where,
             "attribute " + name);
}

}  // namespace

std::string read_text_attribute(hid_t object, const std::string& name, const std::string& where) {
  int64_t count = 0;
  const Handle attribute = open_attribute(object, name, where, 1, count);
  if (!attribute.valid() || count == 0) return {};
  return as_utf8(read_texts(attribute, count, name, where).front());
}

std::vector<std::string> read_names_attribute(hid_t object, const std::string& name,
                                              const std::string& where) {
  int64_t count = 0;
  const Handle attribute = open_attribute(object, name, where, 1 << 20, count);
  if (!attribute.valid()) return {};
  std::vector<std::string> names = read_texts(attribute, count, name, where);
  std::set<std::string> seen;
  for (size_t i = 0; i < names.size(); ++i) {
    const char* fault = nullptr;
    if (as_utf8(names[i]) != names[i]) fault = "is not UTF-8";
    if (names[i].find('\0') != std::string::npos) fault = "holds a NUL";
    if (!seen.insert(names[i]).second) fault = "stands there twice";
    if (fault != nullptr)
      throw Error(fmt::format("{}: attribute {}: name {} {}; rename it", where, name, i, fault));
  }
  return names;
}

std::vector<double> read_numbers_attribute(hid_t object, const std::string& name,
                                           const std::string& where) {
  int64_t count = 0;
  const Handle attribute = open_attribute(object, name, where, 1 << 24, count);
  if (!attribute.valid()) return {};
  std::vector<double> values(static_cast<size_t>(count));
  if (count > 0)
    check(H5Aread(attribute, H5T_NATIVE_DOUBLE, values.data()), where, "attribute " + name);
  return values;
}

void write_text_attribute(hid_t object, const std::string& name, const std::string& value,
                          const std::string& where) {
  const char* text = value.c_str();
  const Handle type = text_type();
  const Handle attribute = create_attribute(object, name, type, scalar_space(), where);
  check(H5Awrite(attribute, type, &text), where, "attribute " + name);
}

void write_texts_attribute(hid_t object, const std::string& name,
                           const std::vector<std::string>& values, const std::string& where) {
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  const Handle type = text_type();
  const Handle attribute = create_attribute(object, name, type, vector_space(texts.size()), where);
  if (!texts.empty()) check(H5Awrite(attribute, type, texts.data()), where, "attribute " + name);
}

void write_integer_attribute(hid_t object, const std::string& name, int64_t value,
                             const std::string& where) {
  const Handle attribute = create_attribute(object, name, H5T_STD_I64LE, scalar_space(), where);
  check(H5Awrite(attribute, H5T_NATIVE_INT64, &value), where, "attribute " + name);
}

void write_numbers_attribute(hid_t object, const std::string& name,
                             const std::vector<double>& values, const std::string& where) {
  const Handle attribute =
      create_attribute(object, name, H5T_IEEE_F64LE, vector_space(values.size()), where);
  if (!values.empty())
    check(H5Awrite(attribute, H5T_NATIVE_DOUBLE, values.data()), where, "attribute " + name);
}

}  // namespace assay::data::hdf5
