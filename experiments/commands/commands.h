// One file a subcommand. Each registers its options and a callback that does the work; main turns
// exceptions into one line on stderr and an exit status.
#pragma once

namespace CLI {
class App;
}

/// Every command in the order of `assay --help`. Adding one: its file, which defines register_NAME,
/// and its line here.
#define ASSAY_COMMANDS(COMMAND) \
  COMMAND(harvest)              \
  COMMAND(index)                \
  COMMAND(plan)                 \
  COMMAND(train)                \
  COMMAND(sweep)                \
  COMMAND(finetune)             \
  COMMAND(bottleneck)           \
  COMMAND(eval)                 \
  COMMAND(encode)               \
  COMMAND(decode)               \
  COMMAND(import)               \
  COMMAND(export)               \
  COMMAND(inspect)              \
  COMMAND(report)               \
  COMMAND(bench)                \
  COMMAND(config)               \
  COMMAND(synthesize)           \
  COMMAND(recover)              \
  COMMAND(decoder_shard)

namespace assay::commands {

#define ASSAY_DECLARE(name) void register_##name(CLI::App& app);
ASSAY_COMMANDS(ASSAY_DECLARE)
#undef ASSAY_DECLARE

}  // namespace assay::commands
