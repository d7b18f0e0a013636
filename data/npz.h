// NumPy's .npz files (a zip archive of .npy arrays), read as hostile input, and written.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "data/safetensors.h"
#include "data/tensor_file.h"
#include "data/zip_archive.h"

namespace assay::data {

/// The arrays of numpy.savez or savez_compressed by their names without ".npy". They are read when
/// asked for; a compressed one is then inflated into memory, for as long as its tensor lives.
/// Fortran order becomes strides. Throws Error naming the file, the array and the fault: a damaged
/// archive or header; an element type other than little-endian floats, integers and bool (objects
/// are pickles, which could run code); a size that does not match the shape.
TensorFile read_npz(const std::filesystem::path& file);
/// The same of an archive that is open already; `file` is its name.
TensorFile read_npz(const ZipArchive& archive, const std::filesystem::path& file);

/// As numpy.savez, uncompressed, for tensors of any dtype that NumPy has (BF16 is none). Written
/// beside, fsynced, renamed; streamed in name order: equal content gives equal bytes. Returns the
/// SHA-256 of the file. Throws Error for another dtype, and for bytes that do not fit the shape.
std::string write_npz(const std::map<std::string, TensorView>& tensors,
                      const std::filesystem::path& file);

}  // namespace assay::data
