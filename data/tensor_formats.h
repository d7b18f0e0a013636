// Files of named tensors, whatever container they are in.
#pragma once

#include <filesystem>

#include "data/tensor_file.h"

namespace assay::data {

/// Reads safetensors, a file of torch.save, or a .npz file; its first bytes tell which, not its
/// name. Throws Error in one line for anything else, and as read_safetensors, read_torch and
/// read_npz do.
TensorFile read_tensors(const std::filesystem::path& file);

}  // namespace assay::data
