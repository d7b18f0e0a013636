#include "experiments/commands/print_json.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

namespace assay::commands {

void print_json(const nlohmann::ordered_json& value) {
  using Handler = nlohmann::ordered_json::error_handler_t;
  fmt::print("{}\n", value.dump(-1, ' ', false, Handler::replace));
}

}  // namespace assay::commands
