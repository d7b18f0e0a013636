// Attributes of HDF5 objects, read and written; the rules are those of data/hdf5.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/hdf5.h"

namespace assay::data::hdf5 {

/// A text attribute, what is not UTF-8 in it replaced by U+FFFD; "" where it is missing. Error
/// where it is no text or longer than 1 MiB.
std::string read_text_attribute(hid_t object, const std::string& name, const std::string& where);
/// A one-dimensional array of names; empty where it is missing. Error where two are the same, or
/// one is no UTF-8 or holds a NUL: what later reads or writes them would merge or cut them.
std::vector<std::string> read_names_attribute(hid_t object, const std::string& name,
                                              const std::string& where);
/// Numbers converted to double; empty where it is missing. At most 2^24 elements.
std::vector<double> read_numbers_attribute(hid_t object, const std::string& name,
                                           const std::string& where);

void write_text_attribute(hid_t object, const std::string& name, const std::string& value,
                          const std::string& where);
void write_texts_attribute(hid_t object, const std::string& name,
                           const std::vector<std::string>& values, const std::string& where);
void write_integer_attribute(hid_t object, const std::string& name, int64_t value,
                             const std::string& where);
void write_numbers_attribute(hid_t object, const std::string& name,
                             const std::vector<double>& values, const std::string& where);

}  // namespace assay::data::hdf5
