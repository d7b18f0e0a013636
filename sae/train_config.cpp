#include "sae/train_config.h"

#include <algorithm>
#include <cmath>

#include "sae/frozen.h"
#include "sae/variants/variants.h"

namespace assay::sae {

void describe(config::Fields& f, DataConfig& c) {
  f.text("path", c.path,
         "Folder of shards with an index.yaml, or one HDF5 file with /activations.");
  f.texts("mixture", c.mixture,
          "Several data sets instead of path, each \"WEIGHT PATH\": rows are drawn in the weights' "
          "shares.");
  f.text("hook", c.hook, "Which array to train on: activations, or the NAME of /hooks/NAME.");
  f.text("target_hook", c.target_hook,
         "Transcoders: the array that is reconstructed from hook, written as hook is; empty for "
         "other variants.");
  f.texts("more_hooks", c.more_hooks,
          "Crosscoders: the arrays that one code reads and reconstructs beside hook; empty for "
          "other variants.");
  f.real("validation", c.validation, {0, 0.5}, "share of documents",
         "Held out for choices and for reported FVU.");
  f.real("test", c.test, {0, 0.5}, "share of documents", "Held out for final evaluation only.");
  f.integer("split_seed", c.split_seed, {0, INT64_MAX}, "", "Seed of the split by document hash.");
  f.integer("order_seed", c.order_seed, {-1, INT64_MAX}, "",
            "Seed of the order of the data; -1 takes train.seed. A sweep sets it, so that all "
            "seeds share batches.");
  f.integer("lanes", c.lanes, {1, 4096}, "lanes",
            "Fixed lanes the global stream interleaves; the batch is a multiple of it.");
  f.integer("window_chunks", c.window_chunks, {1, 1 << 16}, "chunks",
            "Chunks a lane shuffles together (memory: lanes × window_chunks × chunk).");
  f.integer(
      "mix_documents", c.mix_documents, {0, 1 << 30}, "documents",
      "All lanes together shuffle the rows of at least so many documents: windows grow beyond "
      "window_chunks where they hold fewer; 0 = never.");
  f.integer("readers", c.readers, {1, 64}, "threads",
            "Reader threads; they never change the rows delivered.");
  f.boolean("include_special", c.include_special,
            "Train on special tokens (BOS, EOS, padding) too.");
  f.boolean("include_sinks", c.include_sinks,
            "Keep the rows marked as sinks (norm over 10 times the median), in training and in "
            "evaluation; the scale is "
            "that of the other rows either way.");
  f.boolean("skip_corrupt", c.skip_corrupt,
            "Read all data once before training, name chunks with a wrong checksum and leave them "
            "out; else the first is "
            "an error.");
  f.boolean("rolling", c.rolling,
            "path is a rolling cache that a harvester fills meanwhile: wait for its shards, and "
            "delete each when a "
            "checkpoint has passed it.");
  f.integer("rolling_wait", c.rolling_wait, {1, 1 << 30}, "s",
            "Longest wait for a shard of a rolling cache.");
}

void describe(config::Fields& f, ModelConfig& c) {
  std::vector<std::string> names;
  for (const VariantEntry* entry : variants()) names.push_back(entry->name);
  f.choice("variant", c.variant, names, "The sparse autoencoder's variant.");
  f.integer("n", c.n, {1, INT32_MAX}, "latents", "Size of the dictionary.");
  f.real("k", c.k, {1, INT32_MAX}, "latents a token",
         "Latents kept for each token (TopK family), or the L0 that JumpReLU aims at; at most n. "
         "BatchTopK, which keeps that many on average, and JumpReLU take fractions.");
  f.integers("prefixes", c.prefixes, {1, INT32_MAX}, "latents",
             "Matryoshka: ends of the nested dictionaries, rising to n; empty takes n/32, 3n/32, "
             "7n/32, 15n/32, n.");
  f.choice("threshold", c.threshold, {"average", "calibrated"},
           "BatchTopK family: the published threshold is the running average of the smallest "
           "chosen value, or gives "
           "mean L0 = k on the validation split.");
  f.integer("experts", c.experts, {1, 1 << 20}, "experts",
            "Switch: blocks the latents are cut in; divides n.");
  f.real("balance", c.balance, {0, 1e6}, "",
         "Switch: weight of the load-balancing loss, in shares of the stored variance.");
  f.real("sparsity", c.sparsity, {0, 1e6}, "",
         "Weight of the sparsity penalty (relu, p_anneal, gated, jumprelu, crosscoder) at E|x|^2 = "
         "1; 0 takes the "
         "variant's "
         "default.");
  f.real("sparsity_warmup", c.sparsity_warmup, {-1, 1}, "share of steps",
         "The sparsity penalty rises linearly over this first share of the run; -1 takes the "
         "variant's default.");
  f.choice("sparsity_loss", c.sparsity_loss, {"target", "l0"},
           "JumpReLU: (L0 / k - 1)^2, which aims at k, or L0 itself.");
  std::vector<std::string> frozen{"none"};
  for (const FrozenPart& part : frozen_parts()) frozen.emplace_back(part.frozen);
  f.choice("frozen", c.frozen, frozen,
           "What stays at its random start, for a control: the decoder, the decoder but for a cone "
           "of cosine 0.8 about every row, or the encoder.");
}

void describe(config::Fields& f, TrainConfig& c) {
  f.integer("steps", c.steps, {1, int64_t{1} << 40}, "steps", "Optimiser steps.");
  f.integer("batch", c.batch, {1, 1 << 24}, "tokens", "Activations a batch.");
  f.integer("seed", c.seed, {0, INT64_MAX}, "",
            "Seed of the initial weights, and of the order of the data unless data.order_seed says "
            "otherwise.");
  f.integer("threads", c.threads, {0, 1024}, "threads",
            "Compute threads; 0 takes every processor. Never changes the result.");
  f.choice("device", c.device, {"cpu", "cuda"},
           "Where the optimiser step runs; cuda: one device, variant topk. Losses are then checked "
           "when the log is due.");
  f.real("lr", c.lr, {0, 10}, "", "Learning rate; 0 takes the variant's default.");
  f.real("beta1", c.beta1, {-1, 0.99999}, "",
         "Adam's decay of the first moment; -1 takes the variant's default.");
  f.real("beta2", c.beta2, {-1, 0.9999999}, "",
         "Adam's decay of the second moment; -1 takes the variant's default.");
  f.real("eps", c.eps, {0, 1}, "", "Adam's epsilon; 0 takes the variant's default.");
  f.choice("optimizer_state", c.optimizer_state, {"fp32", "bf16", "8bit"},
           "What Adam's moments of W_enc and W_dec are stored as; bf16 and 8bit (blocks of 256) "
           "are rounded at random.");
  f.integer("warmup_steps", c.warmup_steps, {0, int64_t{1} << 40}, "steps",
            "Linear warm-up of the learning rate.");
  f.real("decay_fraction", c.decay_fraction, {0, 1}, "share of steps",
         "Decay to zero over this last share of the run.");
  f.choice("decay_shape", c.decay_shape, {"linear", "cosine", "sqrt"},
           "How it decays: linear, half a cosine, or 1 - sqrt of the share passed.");
  f.integer(
      "accumulate", c.accumulate, {1, 1 << 20}, "batches",
      "Batches laid one after another for one step: the bits of one batch of batch * accumulate.");
  f.real("divergence", c.divergence, {0, 1e30}, "",
         "Stop where a step's loss without its sparsity penalty exceeds this many times max(1, the "
         "first step's); 0 "
         "stops only at a loss that is not "
         "finite.");
  f.real(
      "clip_norm", c.clip_norm, {0, 1e30}, "",
      "Scale the gradients of W_enc, W_dec, b_enc and b_dec down to this joint norm; 0 = never.");
  f.real("ema", c.ema, {0, 0.999999}, "",
         "Decay of a running average of the weights, which is published in their place; 0 = none.");
  f.real("aux_coefficient", c.aux_coefficient, {-1, 1e3}, "",
         "Weight of the AuxK loss that revives dead latents; 0 turns it off, -1 takes the "
         "variant's default.");
  f.integer("aux_k", c.aux_k, {0, INT32_MAX}, "latents a token",
            "Dead latents the AuxK loss uses; 0 takes d / 2.");
  f.integer("dead_after_tokens", c.dead_after_tokens, {0, int64_t{1} << 50}, "tokens",
            "Silence after which a latent is dead; 0 takes min(10M, 10 % of the run).");
  f.integer("resample_every", c.resample_every, {0, int64_t{1} << 40}, "steps",
            "Move dead latents to badly reconstructed inputs this often, until the decay; 0 = "
            "never. Instead of AuxK.");
  f.integer("log_every", c.log_every, {1, 1 << 30}, "steps",
            "Steps between lines of metrics.jsonl.");
  f.boolean("tensorboard", c.tensorboard,
            "Write the metrics for TensorBoard too, into RUN/tensorboard.");
  f.integer("checkpoint_every", c.checkpoint_every, {0, int64_t{1} << 40}, "steps",
            "A checkpoint is also due every so many steps; 0 = never by steps.");
  f.real("checkpoint_minutes", c.checkpoint_minutes, {0, 1e6}, "minutes",
         "A checkpoint is due when this long has passed since the last; 0 = never by time.");
  f.integer("keep_checkpoints", c.keep_checkpoints, {1, 1 << 20}, "checkpoints",
            "Newest checkpoints kept.");
  f.integer("keep_every", c.keep_every, {0, int64_t{1} << 40}, "steps",
            "Checkpoints at multiples of this many steps are written and kept for good; 0 = none.");
}

TrainConfig with_defaults(TrainConfig train, const ModelConfig& model, int64_t d) {
  const VariantEntry& variant = variant_entry(model.variant);
  if (!(train.lr > 0)) train.lr = variant.learning_rate(model.n);
  if (train.beta1 < 0) train.beta1 = variant.beta1;
  if (train.beta2 < 0) train.beta2 = variant.beta2;
  if (!(train.eps > 0)) train.eps = variant.eps;
  if (train.aux_coefficient < 0) train.aux_coefficient = variant.aux_coefficient;
  if (train.aux_k == 0) train.aux_k = std::max<int64_t>(1, d / 2);
  if (train.dead_after_tokens == 0) {
    train.dead_after_tokens =
        std::max<int64_t>(1, std::min<int64_t>(10'000'000, train.steps * train.step_rows() / 10));
  }
  return train;
}

}  // namespace assay::sae
