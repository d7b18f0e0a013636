// The pickles inside torch's files, read by a machine that cannot run anything: it knows the
// opcodes that plain data needs (protocols 2 to 5) and a short list of names, and makes a tree of
// values. A call of such a name is a value too; what it means is the reader's business.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace assay::data {

struct PickleValue {
  enum class Kind : uint8_t {
    none,
    boolean,
    integer,
    real,
    text,
    tuple,
    list,
    dict,      ///< also collections.OrderedDict: then number is 1
    name,      ///< one of the names on the list, such as "torch.FloatStorage"
    call,      ///< items: the name, its arguments (a tuple)
    reference  ///< to a storage; items: what identifies it
  };
  Kind kind = Kind::none;
  int64_t number = 0;  ///< of boolean and integer
  double real = 0;
  std::string_view text;        ///< of text (any bytes) and name
  std::vector<uint32_t> items;  ///< of a dict: key, value, key, value, …
};

/// Values refer to each other by index. Cycles and values with many owners are possible: who walks
/// through them counts steps and depth.
struct Pickle {
  std::shared_ptr<const std::string> bytes;  ///< which the texts point into
  std::vector<PickleValue> values;
  uint32_t root = 0;

  const PickleValue& operator[](uint32_t index) const { return values[index]; }
};

constexpr uint64_t kLongestPickle = 64u << 20;

/// Throws Error "WHERE: ..." with the opcode and its byte. Names: collections.OrderedDict,
/// torch._utils._rebuild_tensor_v2 and _rebuild_parameter, torch.Size, torch.device (these may be
/// called), torch.FloatStorage and its like for Double, Half, BFloat16, Long, Int, Short, Char,
/// Byte and Bool. Any other name, calls and states of anything else, and all opcodes that make
/// objects are refused: so no pickle can ask for code. At most kLongestPickle bytes, two million
/// values, a million of them at work, and a thousand open marks.
Pickle read_pickle(std::string bytes, const std::string& where);

}  // namespace assay::data
