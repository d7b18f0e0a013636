#include "sae/train_config.h"

#include <algorithm>
#include <cmath>

#include "sae/variants/variants.h"

namespace assay::sae {

void describe(config::Fields& f, DataConfig& c) {
  f.text("path", c.path, "Folder of shards with an index.yaml, or one HDF5 file with /activations.");
  f.text("hook", c.hook, "Which array to train on: activations, or the NAME of /hooks/NAME.");
  f.real("validation", c.validation, {0, 0.5}, "share of documents", "Held out for choices and for reported FVU.");
  f.real("test", c.test, {0, 0.5}, "share of documents", "Held out for final evaluation only.");
  f.integer("split_seed", c.split_seed, {0, INT64_MAX}, "", "Seed of the split by document hash.");
  f.integer("lanes", c.lanes, {1, 4096}, "lanes",
            "Fixed lanes the global stream interleaves; the batch is a multiple of it.");
  f.integer("window_chunks", c.window_chunks, {1, 1 << 16}, "chunks",
            "Chunks a lane shuffles together (memory: lanes × window_chunks × chunk).");
  f.integer("readers", c.readers, {1, 64}, "threads", "Reader threads; they never change the rows delivered.");
  f.boolean("include_special", c.include_special, "Train on special tokens (BOS, EOS, padding) too.");
}

void describe(config::Fields& f, ModelConfig& c) {
  std::vector<std::string> names;
  for (const VariantEntry* entry : variants()) names.push_back(entry->name);
  f.choice("variant", c.variant, names, "The sparse autoencoder's variant.");
  f.integer("n", c.n, {1, INT32_MAX}, "latents", "Size of the dictionary.");
  f.integer("k", c.k, {1, INT32_MAX}, "latents a token", "Latents kept for each token; at most n.");
}

void describe(config::Fields& f, TrainConfig& c) {
  f.integer("steps", c.steps, {1, int64_t{1} << 40}, "steps", "Optimiser steps.");
  f.integer("batch", c.batch, {1, 1 << 24}, "tokens", "Activations a step.");
  f.integer("seed", c.seed, {0, INT64_MAX}, "", "Seed of the initial weights and of the order of the data.");
  f.integer("threads", c.threads, {0, 1024}, "threads",
            "Compute threads; 0 takes every processor. Never changes the result.");
  f.real("lr", c.lr, {0, 10}, "", "Learning rate; 0 takes the variant's default.");
  f.real("beta1", c.beta1, {-1, 0.99999}, "", "Adam's decay of the first moment; -1 takes the variant's default.");
  f.real("beta2", c.beta2, {-1, 0.9999999}, "", "Adam's decay of the second moment; -1 takes the variant's default.");
  f.real("eps", c.eps, {0, 1}, "", "Adam's epsilon; 0 takes the variant's default.");
  f.integer("warmup_steps", c.warmup_steps, {0, int64_t{1} << 40}, "steps", "Linear warm-up of the learning rate.");
  f.real("decay_fraction", c.decay_fraction, {0, 1}, "share of steps",
         "Linear decay to zero over this last share of the run.");
  f.real("aux_coefficient", c.aux_coefficient, {0, 1e3}, "",
         "Weight of the AuxK loss that revives dead latents; 0 turns it off.");
  f.integer("aux_k", c.aux_k, {0, INT32_MAX}, "latents a token", "Dead latents the AuxK loss uses; 0 takes d / 2.");
  f.integer("dead_after_tokens", c.dead_after_tokens, {0, int64_t{1} << 50}, "tokens",
            "Silence after which a latent is dead; 0 takes min(10M, 10 % of the run).");
  f.integer("log_every", c.log_every, {1, 1 << 30}, "steps", "Steps between lines of metrics.jsonl.");
  f.integer("checkpoint_every", c.checkpoint_every, {1, int64_t{1} << 40}, "steps", "Steps between checkpoints.");
  f.integer("keep_checkpoints", c.keep_checkpoints, {1, 1 << 20}, "checkpoints", "Newest checkpoints kept.");
}

TrainConfig with_defaults(TrainConfig train, const ModelConfig& model, int64_t d) {
  const VariantEntry& variant = variant_entry(model.variant);
  if (!(train.lr > 0)) train.lr = variant.learning_rate(model.n);
  if (train.beta1 < 0) train.beta1 = variant.beta1;
  if (train.beta2 < 0) train.beta2 = variant.beta2;
  if (!(train.eps > 0)) train.eps = variant.eps;
  if (train.aux_k == 0) train.aux_k = std::max<int64_t>(1, d / 2);
  if (train.dead_after_tokens == 0) {
    train.dead_after_tokens = std::max<int64_t>(1, std::min<int64_t>(10'000'000, train.steps * train.batch / 10));
  }
  return train;
}

double schedule_factor(const TrainConfig& train, int64_t step) {
  const auto total = static_cast<double>(train.steps);
  double factor = 1;
  if (step < train.warmup_steps) factor = static_cast<double>(step + 1) / static_cast<double>(train.warmup_steps);
  const double decay_steps = train.decay_fraction * total, left = total - static_cast<double>(step);
  if (left < decay_steps) factor = std::min(factor, left / decay_steps);
  return factor;
}

}  // namespace assay::sae
