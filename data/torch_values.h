// What a pickle of torch.save means: tensors in storages, and plain values.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "data/pickle.h"
#include "data/tensor_file.h"

namespace assay::data {

/// The bytes of the storage of that key; null where there is none. Asked once for each key.
using StorageOf = std::function<std::shared_ptr<const ByteSource>(const std::string& key)>;

/// Fills tensors and metadata of `content`, whose path is set, as read_torch says.
void collect_values(const Pickle& pickle, const StorageOf& storage_of, TensorFile& content);

/// "F32" of "torch.FloatStorage", and back; "" where torch has none.
std::string dtype_of_storage(const std::string& storage);
std::string storage_of_dtype(const std::string& dtype);

}  // namespace assay::data
