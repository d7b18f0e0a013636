"""EleutherAI's sparsify: SparseCoder writes every dictionary and loads it again."""

import os
from functools import partial

import numpy as np
from tiny_kind import D, K, Kind, Model, N, decoder, encoder, encoder_bias


def sparse_coder():
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernel decodes on a GPU alone
    from sparsify import SparseCoder, SparseCoderConfig

    return SparseCoder, SparseCoderConfig


def load(folder, k: int = 0) -> Model:
    """With multi_topk its forward returns the 4k latents of that loss; its encode keeps k, and so do we."""
    import torch

    coder = sparse_coder()[0].load_from_disk(folder).float()
    coder.cfg.multi_topk = False

    @torch.no_grad()
    def model(x):
        found = coder(torch.from_numpy(x))
        codes = torch.zeros(len(x), coder.num_latents)
        return codes.scatter(1, found.latent_indices, found.latent_acts).numpy(), (
            found.sae_out.numpy()
        )

    return model


def fill(coder, rng, x) -> None:
    import torch

    def put(parameter, values):
        parameter.data.copy_(torch.from_numpy(np.asarray(values, np.float32)))

    weights, b_dec = encoder(rng), rng.standard_normal(D)
    put(coder.encoder.weight, weights)
    put(coder.W_dec, decoder(rng))
    put(coder.b_dec, b_dec)
    if coder.W_skip is not None:
        put(coder.W_skip, 0.2 * rng.standard_normal((D, D)))
    pre = (x - b_dec * (not coder.cfg.transcode)) @ weights.T
    put(coder.encoder.bias, encoder_bias(rng, pre))


def make(dtype: str = "float32", **settings):
    def write(folder, rng, x):
        import torch

        coder_class, config_class = sparse_coder()
        coder = coder_class(D, config_class(**{"num_latents": N, "k": K, **settings}))
        fill(coder, rng, x)
        coder.to(getattr(torch, dtype)).save_to_disk(folder)

    return write


kind = partial(Kind, "sparsify")

KINDS = {
    "sparsify_topk": kind(make()),
    "sparsify_multi_topk": kind(make(multi_topk=True)),
    "sparsify_by_expansion": kind(make(num_latents=0, expansion_factor=N // D)),
    "sparsify_bf16": kind(make(dtype="bfloat16")),
    "sparsify_groupmax": kind(make(activation="groupmax")),
    "sparsify_transcoder": kind(make(transcode=True)),
    "sparsify_skip": kind(make(skip_connection=True)),
    "sparsify_skip_transcoder": kind(make(transcode=True, skip_connection=True)),
    "sparsify_groupmax_transcoder": kind(make(transcode=True, activation="groupmax")),
}
