// One file a subcommand. Each registers its options and a callback that does the work; main turns
// exceptions into one line on stderr and an exit status.
#pragma once

namespace CLI {
class App;
}

namespace assay::commands {

void register_harvest(CLI::App& app);
void register_index(CLI::App& app);
void register_train(CLI::App& app);
void register_sweep(CLI::App& app);
void register_eval(CLI::App& app);
void register_encode(CLI::App& app);
void register_decode(CLI::App& app);
void register_inspect(CLI::App& app);
void register_report(CLI::App& app);
void register_bench(CLI::App& app);
void register_config(CLI::App& app);
void register_plant(CLI::App& app);
void register_recover(CLI::App& app);
void register_plan(CLI::App& app);
void register_decoder_shard(CLI::App& app);
void register_finetune(CLI::App& app);
void register_bottleneck(CLI::App& app);

}  // namespace assay::commands
