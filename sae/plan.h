// What a run will need, before anything starts: memory, disk, steps, and on a GPU a stated model of
// the time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "sae/train_config.h"
#include "sae/variant.h"

namespace assay::sae {

struct PlanInput {
  DataConfig data;
  VariantOptions variant;
  int64_t rows = 0;            ///< of the whole data set; 0 = unknown, as are the next three
  int64_t rows_per_epoch = 0;  ///< that are trained on
  int64_t window_chunks = 4;   ///< that a lane shuffles together
  int64_t chunk_bytes = 0;     ///< of the largest chunk of all hooks read, as stored
  int64_t stored_bytes = 0;    ///< of all chunks
  int64_t ranks = 1;           ///< processes that share the latents
};

struct PlanItem {
  std::string what;
  int64_t bytes = 0;
};

struct Plan {
  int64_t steps = 0, rows_a_step = 0, tokens = 0, parameters = 0;
  double epochs = 0;                ///< 0 = unknown
  std::vector<PlanItem> resident;   ///< a rank's, all the time
  std::vector<PlanItem> transient;  ///< a rank's, one at a time
  PlanItem aux_at_most;             ///< on top, were every latent dead
  PlanItem checkpoint_copy;         ///< while one is written, if there is room
  std::vector<PlanItem> disk;
  int64_t received = 0;  ///< bytes a rank and step receives from the others

  /// Bytes a rank needs at its worst moment, without AuxK's, a checkpoint's copy, the program
  /// itself and its libraries.
  int64_t peak() const;
  int64_t disk_bytes() const;
};

/// Parameters, moments and checkpoints are counted, pairs and scratch memory estimated. Latents are
/// divided among the ranks, rows and parameters that do not belong to latents are not
/// (docs/training.md). Throws as make_variant does.
Plan plan_run(const PlanInput& input);

/// What the plan must know of a data set's chunks, with the rows of all `hooks`.
void add_chunks(const data::Dataset& dataset, const std::vector<data::HookInfo>& hooks,
                PlanInput& input);

/// Throws UsageError, before anything is made, where the runs, which train together on one stream
/// (one, or those of a sweep), need more memory than there is room for (data/base/memory_room.h);
/// says which smaller setting would fit.
void require_memory(std::vector<PlanInput> runs);

/// A device's data sheet: dense bf16 FLOP/s, memory bytes/s, memory bytes.
struct Gpu {
  const char* name;
  double flops, bandwidth, memory;
};
const std::vector<Gpu>& known_gpus();

/// Seconds a step by a stated model: TopK's encoder product (2·B·d·n FLOP) at half the peak, and at
/// 80 % of the bandwidth 24 bytes a parameter of both matrices for Adam (fewer where its moments
/// are narrow) and 16·B·k·d bytes for the active pairs. Communication and reading are left out. Not
/// a measurement.
double modelled_seconds(const PlanInput& input, const Gpu& gpu);

}  // namespace assay::sae
