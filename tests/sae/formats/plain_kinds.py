"""Formats that no installed package writes: files laid out as published, and their arithmetic written out in numpy.

Gemma Scope 1 and 2, OpenAI, Qwen-Scope, Goodfire's two and qresearch's. What each subtracts, normalises or
selects is what its authors' published code does.
"""

import json
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
from tiny_kind import (
    OUT,
    D,
    K,
    Kind,
    Model,
    N,
    batch_top_k,
    decoder,
    encoder,
    encoder_bias,
    only_file,
    relu,
    thresholds,
    top_k,
)


def tensor(values, dtype: str = "float32"):
    import torch

    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(getattr(torch, dtype))


def read_torch(path: Path) -> dict:
    """Tensors as arrays of doubles; other values as they are."""
    import torch

    state = torch.load(path, weights_only=True)
    return {
        key: value.double().numpy() if torch.is_tensor(value) else value
        for key, value in state.items()
    }


def linear(w_enc, b_enc, w_dec, b_dec, activation, b_pre=0.0, skip=0.0) -> Model:
    """w_enc [d, n], w_dec [n, d_out], skip [d, d_out]."""

    def model(x):
        codes = activation((x - b_pre) @ w_enc + b_enc)
        found = codes @ w_dec + b_dec + (x @ skip if np.ndim(skip) else skip)
        return codes.astype(np.float32), found.astype(np.float32)

    return model


def jump(threshold):
    return lambda pre: relu(pre) * (pre > threshold)


# --- Gemma Scope: no b_dec is subtracted


def gemma(rng, x, d_out: int = D) -> dict:
    w_enc, passing = encoder(rng), thresholds(rng)
    passing[:3] = 0  # as some published ones are
    return {
        "W_enc": w_enc.T,
        "W_dec": decoder(rng, d_out),
        "b_enc": encoder_bias(rng, x @ w_enc.T, passing),
        "b_dec": rng.standard_normal(d_out),
        "threshold": passing,
    }


def make_gemma_scope(save=np.savez, d_out: int = D):
    def write(folder, rng, x):
        params = gemma(rng, x, d_out)
        save(folder / "params.npz", **{k: v.astype(np.float32) for k, v in params.items()})

    return write


def load_gemma_scope(path, k: int = 0) -> Model:
    p = dict(np.load(only_file(path, "params.npz")))
    return linear(p["W_enc"], p["b_enc"], p["W_dec"], p["b_dec"], jump(p["threshold"]))


def make_gemma_scope_2(into: str = "output", skip: bool = False, d_out: int = D):
    def write(folder, rng, x):
        from safetensors.numpy import save_file

        params = {name.lower(): values for name, values in gemma(rng, x, d_out).items()}
        if skip:
            params["affine_skip_connection"] = 0.2 * rng.standard_normal((D, d_out))
        save_file(
            {k: np.ascontiguousarray(v, np.float32) for k, v in params.items()},
            folder / "params.safetensors",
        )
        config = {
            "architecture": "jump_relu",
            "model_name": "gemma-v3-270m-pt",
            "hf_hook_point_in": "model.layers.5.output",
            "width": N,
            "l0": 10,
        }
        if into != "output":
            config["hf_hook_point_out"] = f"model.layers.5.{into}"
            config["affine_connection"] = skip
        (folder / "config.json").write_text(json.dumps(config))

    return write


def load_gemma_scope_2(path, k: int = 0) -> Model:
    """The skip is a row vector times a matrix [d, d_out], as w_enc is: so does the published tutorial."""
    from safetensors.numpy import load_file

    p = load_file(only_file(path, "params.safetensors"))
    skip = p.get("affine_skip_connection", 0.0)
    activation = jump(p["threshold"])
    return linear(p["w_enc"], p["b_enc"], p["w_dec"], p["b_dec"], activation, skip=skip)


# --- OpenAI: pre_bias is subtracted; TopK works on rows of mean 0 and standard deviation 1


def make_openai(activation: str = "", dtype: str = "float32", old: bool = False):
    """`activation`: "" leaves it out, as a plain state dict does. `old`: torch's format before it was a zip."""

    def write(folder, rng, x):
        import torch

        w_enc, pre_bias = encoder(rng), rng.standard_normal(D)
        rows = normalised(x)[0] if activation == "TopK" else x
        state = OrderedDict(
            pre_bias=tensor(pre_bias, dtype),
            latent_bias=tensor(encoder_bias(rng, (rows - pre_bias) @ w_enc.T), dtype),
            stats_last_nonzero=torch.zeros(N, dtype=torch.long),
            latents_activation_frequency=torch.ones(N),
            latents_mean_square=torch.zeros(N),
        )
        state["encoder.weight"] = tensor(w_enc, dtype)
        state["decoder.weight"] = tensor(decoder(rng).T, dtype)
        if activation:
            state["activation"] = activation
            kept = {"k": K, "postact_fn": "ReLU"} if activation == "TopK" else {}
            state["activation_state_dict"] = OrderedDict(kept)
        torch.save(state, folder / "5.pt", _use_new_zipfile_serialization=not old)

    return write


def normalised(x):
    mean = x.mean(axis=1, keepdims=True)
    spread = (x - mean).std(axis=1, ddof=1, keepdims=True)
    return (x - mean) / (spread + 1e-5), mean, spread


def load_openai(path, k: int = 0) -> Model:
    state = read_torch(only_file(path, "*.pt"))
    topk = state.get("activation", "ReLU") == "TopK"
    kept = state["activation_state_dict"]["k"] if topk else 0
    inner = linear(
        state["encoder.weight"].T,
        state["latent_bias"],
        state["decoder.weight"].T,
        state["pre_bias"],
        (lambda pre: top_k(pre, kept)) if topk else relu,
        b_pre=state["pre_bias"],
    )

    def model(x):
        if not topk:
            return inner(x.astype(np.float64))
        rows, mean, spread = normalised(x.astype(np.float64))
        codes, found = inner(rows)
        return codes, (found * spread + mean).astype(np.float32)

    return model


# --- Qwen-Scope, Goodfire, qresearch: no b_dec is subtracted


def make_qwen_scope(folder, rng, x):
    """Its own code keeps the sign of the k largest; here they are positive."""
    import torch

    w_enc = encoder(rng)
    pre = x @ w_enc.T
    state = {
        "W_enc": tensor(w_enc),
        "W_dec": tensor(decoder(rng).T),
        "b_enc": tensor(rng.standard_normal(N) - pre.mean(axis=0)),
        "b_dec": tensor(rng.standard_normal(D)),
    }
    torch.save(state, folder / "layer3.sae.pt")


def load_qwen_scope(path, k: int = 0) -> Model:
    s = read_torch(only_file(path, "*.sae.pt"))
    return linear(s["W_enc"].T, s["b_enc"], s["W_dec"].T, s["b_dec"], lambda pre: top_k(pre, k))


def make_two_linears(encode: str, decode: str, name: str, dtype: str = "float32"):
    def write(folder, rng, x):
        import torch

        w_enc = encoder(rng)
        state = {
            f"{encode}.weight": tensor(w_enc, dtype),
            f"{encode}.bias": tensor(encoder_bias(rng, x @ w_enc.T), dtype),
            f"{decode}.weight": tensor(decoder(rng).T, dtype),
            f"{decode}.bias": tensor(rng.standard_normal(D), dtype),
        }
        torch.save(state, folder / name)

    return write


def load_two_linears(encode: str, decode: str, path, k: int = 0) -> Model:
    s = read_torch(only_file(path, "*.pt*"))
    return linear(
        s[f"{encode}.weight"].T,
        s[f"{encode}.bias"],
        s[f"{decode}.weight"].T,
        s[f"{decode}.bias"],
        relu,
    )


def make_goodfire_r1(folder, rng, x):
    import torch

    w = encoder(rng).T
    state = {
        "W": tensor(w),
        "b_enc": tensor(rng.standard_normal(N) - (x @ w).mean(axis=0)),
        "b_dec": tensor(rng.standard_normal(D)),
    }
    torch.save(state, folder / "DeepSeek-R1-SAE-l37.pt")


def load_goodfire_r1(path, k: int = 0) -> Model:
    s = read_torch(only_file(path, "*.pt"))
    return linear(s["W"], s["b_enc"], s["W"].T, s["b_dec"], lambda pre: batch_top_k(pre, k))


LOADERS = {
    "gemma_scope": load_gemma_scope,
    "gemma_scope_2": load_gemma_scope_2,
    "openai": load_openai,
    "qwen_scope": load_qwen_scope,
    "goodfire": partial(load_two_linears, "encoder_linear", "decoder_linear"),
    "goodfire_r1": load_goodfire_r1,
    "qresearch": partial(load_two_linears, "encoder", "decoder"),
}

LINEARS = ("encoder_linear", "decoder_linear")
GOODFIRE = "Llama-3.1-8B-Instruct-SAE-l19.pth"
QRESEARCH = "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt"
MLP = "post_feedforward_layernorm.output"

KINDS = {
    "gemma_scope": Kind("gemma_scope", make_gemma_scope(), second="saelens"),
    "gemma_scope_file": Kind(
        "gemma_scope",
        make_gemma_scope(np.savez_compressed),
        source="params.npz",
        second="circuit_tracer",
    ),
    "gemma_scope_across": Kind("gemma_scope", make_gemma_scope(d_out=OUT)),
    "gemma_scope_2": Kind("gemma_scope_2", make_gemma_scope_2(), second="saelens"),
    "gemma_scope_2_transcoder": Kind(
        "gemma_scope_2", make_gemma_scope_2(MLP), second="circuit_tracer"
    ),
    # circuit-tracer turns the skip round, as the published tutorial wants it; SAELens 6.54 does not.
    "gemma_scope_2_affine": Kind(
        "gemma_scope_2", make_gemma_scope_2(MLP, skip=True), second="circuit_tracer"
    ),
    "gemma_scope_2_affine_across": Kind(
        "gemma_scope_2", make_gemma_scope_2(MLP, skip=True, d_out=OUT)
    ),
    "openai_plain": Kind("openai", make_openai()),
    "openai_relu": Kind("openai", make_openai("ReLU")),
    "openai_topk": Kind("openai", make_openai("TopK")),
    "openai_topk_file": Kind("openai", make_openai("TopK", "bfloat16"), source="5.pt"),
    "openai_identity": Kind("openai", make_openai("Identity"), refused="Identity"),
    "openai_before_zip": Kind("openai", make_openai(old=True), refused="zip"),
    "qwen_scope": Kind("qwen_scope", make_qwen_scope, k=K, second="saelens"),
    "goodfire": Kind("goodfire", make_two_linears(*LINEARS, GOODFIRE), second="saelens"),
    "goodfire_bf16": Kind("goodfire", make_two_linears(*LINEARS, GOODFIRE, "bfloat16")),
    "goodfire_r1": Kind("goodfire_r1", make_goodfire_r1, k=K),
    "qresearch": Kind(
        "qresearch", make_two_linears("encoder", "decoder", QRESEARCH), second="saelens"
    ),
}
