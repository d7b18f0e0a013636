"""dictionary_learning: its classes write every dictionary, and its load_dictionary reads them."""

import importlib
import json
import sys
import types
from collections.abc import Callable
from functools import partial

import numpy as np
from tiny_kind import D, K, Kind, Model, N, decoder, encoder, encoder_bias, thresholds

GROUPS = [24, 24, 48]
# AutoEncoderTopK stores a threshold too, which its encode does not use.
BY_THRESHOLD = ("JumpReluAutoEncoder", "BatchTopKSAE", "MatryoshkaBatchTopKSAE")


def peer(module: str):
    """dictionary_learning.MODULE. nnsight, which traces language models, is an empty module: none is traced."""
    if "nnsight" not in sys.modules:
        sys.modules["nnsight"] = types.SimpleNamespace(LanguageModel=object)
    return importlib.import_module(f"dictionary_learning.{module}")


def load(folder, k: int = 0) -> Model:
    import torch

    dictionary, _ = peer("utils").load_dictionary(str(folder), "cpu")
    dictionary = dictionary.float()

    @torch.no_grad()
    def model(x):
        codes = dictionary.encode(torch.from_numpy(x))
        return codes.numpy(), dictionary.decode(codes).numpy()

    return model


CLASSES = {
    "AutoEncoder": ("dictionary", ()),
    "AutoEncoderNew": ("dictionary", ()),
    "GatedAutoEncoder": ("dictionary", ()),
    "JumpReluAutoEncoder": ("dictionary", ()),
    "AutoEncoderTopK": ("trainers.top_k", (K,)),
    "BatchTopKSAE": ("trainers.batch_top_k", (K,)),
    "MatryoshkaBatchTopKSAE": ("trainers.matryoshka_batch_top_k", (K, GROUPS)),
}


def tensors(dictionary, rng, x, threshold: float) -> dict:
    """Random values under the class's own names for its tensors."""
    state, name = dictionary.state_dict(), type(dictionary).__name__
    own = next(key for key in ("b_dec", "bias", "decoder.bias", "decoder_bias") if key in state)
    w_enc, w_dec, b_dec = encoder(rng), decoder(rng), rng.standard_normal(D)
    subtracts = name not in ("AutoEncoderNew", "JumpReluAutoEncoder")
    pre = (x - b_dec * subtracts) @ w_enc.T
    stored = thresholds(rng) if name == "JumpReluAutoEncoder" else threshold
    passing = np.maximum(stored, 0) if name in BY_THRESHOLD else 0.0
    bias, r_mag = encoder_bias(rng, pre, passing), 0.3 * rng.standard_normal(N)
    values = {
        "W_enc": w_enc.T,
        "W_dec": w_dec,
        "encoder.weight": w_enc,
        "decoder.weight": w_dec.T,
        "b_enc": bias,
        "encoder.bias": bias,
        "gate_bias": bias,
        "r_mag": r_mag,
        "mag_bias": bias * np.exp(r_mag) + rng.uniform(-0.3, 0.7, N),
        "threshold": stored,
        own: b_dec,
    }
    return {key: values[key] for key in state if key in values}


def make(name: str, threshold: float = 0.9, repack: Callable = lambda state: state):
    """`repack` changes how its state is pickled: the values that torch loads from it stay."""

    def write(folder, rng, x):
        import torch

        module, arguments = CLASSES[name]
        dictionary = getattr(peer(module), name)(D, N, *arguments)
        found = tensors(dictionary, rng, x, threshold)
        dictionary.load_state_dict(
            {
                **dictionary.state_dict(),
                **{key: torch.from_numpy(np.asarray(v, np.float32)) for key, v in found.items()},
            }
        )
        torch.save(repack(dictionary.state_dict()), folder / "ae.pt")
        (folder / "config.json").write_text(json.dumps(configuration(name)))

    return write


def configuration(name: str) -> dict:
    """What its trainers write."""
    trainer = {
        "dict_class": name,
        "trainer_class": "Trainer",
        "activation_dim": D,
        "dict_size": N,
        "lr": 1e-3,
        "steps": 100,
        "seed": 0,
        "device": "cuda:0",
        "layer": 3,
        "lm_name": "EleutherAI/tiny",
        "wandb_name": name,
        "submodule_name": "resid_post_layer_3",
    }
    if "TopK" in name:
        trainer["k"] = K
    return {"trainer": trainer, "buffer": {"d_submodule": D, "io": "out", "ctx_len": 128}}


# --- ways of pickling one state


def narrowed(state):
    import torch

    return {key: value.to(torch.bfloat16) if value.dim() else value for key, value in state.items()}


def transposed(state):
    """Matrices as views of storages that hold their transposes."""
    return {key: v.t().contiguous().t() if v.dim() == 2 else v for key, v in state.items()}


def in_one_storage(state):
    """All matrices and vectors as views into one storage, at their offsets."""
    import torch

    floats = {key: value for key, value in state.items() if value.dim()}
    whole, at, views = torch.cat([v.flatten() for v in floats.values()]), 0, dict(state)
    for key, value in floats.items():
        views[key] = whole[at : at + value.numel()].view(value.shape)
        at += value.numel()
    return views


def tied(state):
    """Encoder and decoder as two views of one storage."""
    return {**state, "encoder.weight": state["decoder.weight"].t()}


kind = partial(Kind, "dictionary_learning")

KINDS = {
    "dictionary_learning_relu": kind(make("AutoEncoder")),
    "dictionary_learning_relu_new": kind(make("AutoEncoderNew")),
    "dictionary_learning_gated": kind(make("GatedAutoEncoder")),
    "dictionary_learning_jumprelu": kind(make("JumpReluAutoEncoder")),
    "dictionary_learning_topk": kind(make("AutoEncoderTopK")),
    "dictionary_learning_batch_topk": kind(make("BatchTopKSAE")),
    "dictionary_learning_matryoshka": kind(make("MatryoshkaBatchTopKSAE")),
    "dictionary_learning_plain_dict": kind(make("AutoEncoderTopK", repack=dict)),
    "dictionary_learning_bf16": kind(make("AutoEncoderTopK", repack=narrowed)),
    "dictionary_learning_transposed": kind(make("AutoEncoderTopK", repack=transposed)),
    "dictionary_learning_one_storage": kind(make("AutoEncoderTopK", repack=in_one_storage)),
    "dictionary_learning_tied": kind(make("AutoEncoderTopK", repack=tied)),
    # Where training never set the threshold, theirs passes every positive latent.
    "dictionary_learning_unset": kind(make("BatchTopKSAE", threshold=-1.0), refused="threshold"),
    "dictionary_learning_unset_matryoshka": kind(
        make("MatryoshkaBatchTopKSAE", threshold=-1.0), refused="threshold"
    ),
}
