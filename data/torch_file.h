// Files of torch.save (since torch 1.6: a zip archive of a pickle and the bytes of its storages)
// that hold tensors, read as hostile input, and written. No code of a file is ever run.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>

#include "data/safetensors.h"
#include "data/tensor_file.h"
#include "data/zip_archive.h"

namespace assay::data {

/// The tensors of a dict, also of dicts and lists in it: {"state_dict": {"b": …}, "l": [{"w": …}]}
/// has "state_dict.b" and "l.0.w". Numbers, texts, None and lists of such are metadata, as JSON
/// writes them (texts without quotes). Parameters are tensors; a state of the dict is passed over.
/// The tensors are read when asked for.
///
/// Throws Error naming the file and the fault: a pickle that asks for anything but tensors (see
/// data/pickle.h), a pickle in no archive (torch before 1.6 wrote such), a TorchScript archive,
/// bytes in big-endian order, a tensor that does not fit its storage or is an expanded view, two
/// values of one name, and more than 100,000 tensors, 64 levels, or 64 MiB of names and texts.
TensorFile read_torch(const std::filesystem::path& file);
/// The same of an archive that is open already; `file` is its name.
TensorFile read_torch(const ZipArchive& archive, const std::filesystem::path& file);

/// An OrderedDict of these tensors (of any dtype that torch has a storage for: F64, F32, F16, BF16,
/// I64 … I8, U8, BOOL) and integers that torch.load reads, with weights_only or without. Written
/// beside, fsynced, renamed; tensors are streamed, in name order: equal content gives equal bytes.
/// Returns the SHA-256 of the file. Throws Error for another dtype, and for bytes that do not fit
/// the shape.
std::string write_torch(const std::map<std::string, TensorView>& tensors,
                        const std::map<std::string, int64_t>& integers,
                        const std::filesystem::path& file);

}  // namespace assay::data
