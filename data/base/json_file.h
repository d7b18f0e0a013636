// JSON from strangers, read strictly: one line that names the file, and the key where there is one.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace assay::data {

/// The value of a JSON text. Throws Error "WHERE: ..." where it is not JSON in UTF-8, is nested
/// deeper than 32 levels, or has a key twice in one object.
nlohmann::ordered_json parse_json(const std::string& text, const std::string& where);

/// The object that a file of at most `most_bytes` holds. Throws Error naming the file where it
/// cannot be read, is larger, or holds anything else.
nlohmann::ordered_json read_json_object(const std::filesystem::path& file, int64_t most_bytes);

/// A name for people and for JSON: bytes that are not UTF-8 become U+FFFD.
std::string as_utf8(const std::string& text);

/// What nlohmann's library says, without its name and numbers.
std::string plain_text(const nlohmann::json::exception& error);

}  // namespace assay::data
