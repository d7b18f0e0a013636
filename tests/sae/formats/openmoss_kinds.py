"""OpenMOSS: Llama Scope, its R1 distillation and Llamascopium, after the code that its authors published with each.

Rows are trained on at x·s, s = √d/(their mean length); b_dec is not subtracted. What passes is decided on
pre·‖d_j‖ where `sparsity_include_decoder_norm` says so, as it does unless it is set.
"""

import json
from pathlib import Path

import numpy as np
from plain_kinds import linear
from tiny_kind import (
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

HOOK, MLP_IN, MLP_OUT = "blocks.5.hook_resid_post", "blocks.5.ln2", "blocks.5.hook_mlp_out"
LENGTH, LENGTH_OUT = 29.0, 9.0  # mean lengths of what is read and, in a transcoder, reconstructed


def save(path: Path, tensors: dict, dtype: str = "float32") -> None:
    import torch
    from safetensors.torch import save_file

    path.parent.mkdir(exist_ok=True)
    save_file(
        {
            name: torch.from_numpy(np.array(values, np.float32, order="C")).to(
                getattr(torch, dtype)
            )
            for name, values in tensors.items()
        },
        path,
    )


def read(path: Path) -> dict:
    from safetensors.torch import load_file

    return {name: values.double().numpy() for name, values in load_file(path).items()}


def unit(length: float) -> float:
    return np.sqrt(D) / length


def scaled(model: Model, s: float, s_out: float) -> Model:
    """What works on x·s and reconstructs y·s_out, on raw rows."""

    def raw(x):
        codes, found = model(x.astype(np.float64) * s)
        return codes, (found / s_out).astype(np.float32)

    return raw


# --- Llama Scope: one threshold, which its authors' loader compares with pre·‖d_j‖ of raw rows


def make_llama_scope(free: bool = False, across: bool = False, dtype: str = "float32"):
    """`free`: decoder rows of any length. `across`: a transcoder, whose output has a scale of its own."""

    def write(folder, rng, x):
        length_out = LENGTH_OUT if across else LENGTH
        w_enc, w_dec, threshold = encoder(rng), decoder(rng, unit=not free), 0.5
        passing = threshold * unit(length_out) / np.linalg.norm(w_dec, axis=1)
        tensors = {
            "encoder.weight": w_enc,
            "encoder.bias": encoder_bias(rng, unit(LENGTH) * x @ w_enc.T, passing),
            "decoder.weight": w_dec.T,
            "decoder.bias": rng.standard_normal(D),
        }
        save(folder / "checkpoints" / "final.safetensors", tensors, dtype)
        config = {
            "hook_point_in": MLP_IN if across else HOOK,
            "hook_point_out": MLP_OUT if across else HOOK,
            "use_decoder_bias": True,
            "apply_decoder_bias_to_pre_encoder": False,
            "expansion_factor": N // D,
            "d_model": D,
            "d_sae": N,
            "act_fn": "jumprelu",
            "jump_relu_threshold": threshold,
            "norm_activation": "dataset-wise",
            "dataset_average_activation_norm": {"in": LENGTH, "out": length_out},
            "decoder_exactly_fixed_norm": False,
            "sparsity_include_decoder_norm": True,
            "use_glu_encoder": False,
            "top_k": K,
        }
        (folder / "hyperparams.json").write_text(json.dumps(config))

    return write


def load_llama_scope(folder, k: int = 0) -> Model:
    config = json.loads((folder / "hyperparams.json").read_text())
    lengths = config["dataset_average_activation_norm"]
    s, s_out = unit(lengths["in"]), unit(lengths["out"])
    t = read(folder / "checkpoints" / "final.safetensors")
    norms = np.linalg.norm(t["decoder.weight"], axis=0)
    # The authors fold first: W_dec·s/s_out and pre/s; so pre·‖W_dec‖/s_out is what the threshold meets.
    passing = config["jump_relu_threshold"] * s_out / norms
    inner = linear(
        t["encoder.weight"].T,
        t["encoder.bias"],
        t["decoder.weight"].T,
        t["decoder.bias"],
        lambda pre: relu(pre) * (pre > passing),
    )
    return scaled(inner, s, s_out)


# --- its R1 distillation: a threshold per latent, met by pre of the scaled rows


def make_llama_scope_r1(by_norm: bool = False):
    def write(folder, rng, x):
        w_enc, w_dec, threshold = encoder(rng), decoder(rng, unit=not by_norm), thresholds(rng)
        passing = threshold / np.linalg.norm(w_dec, axis=1)
        tensors = {
            "encoder.weight": w_enc,
            "encoder.bias": encoder_bias(rng, unit(LENGTH) * x @ w_enc.T, passing),
            "decoder.weight": w_dec.T,
            "decoder.bias": rng.standard_normal(D),
            "log_jumprelu_threshold": np.log(threshold),
            f"dataset_average_activation_norm.{HOOK}": LENGTH,
        }
        save(folder / "sae_weights.safetensors", tensors)
        config = {
            "sae_type": "sae",
            "hook_point_in": HOOK,
            "hook_point_out": HOOK,
            "d_model": D,
            "expansion_factor": N // D,
            "use_decoder_bias": True,
            "use_glu_encoder": False,
            "act_fn": "jumprelu",
            "jump_relu_threshold": 0.0,
            "apply_decoder_bias_to_pre_encoder": False,
            "norm_activation": "dataset-wise",
            "sparsity_include_decoder_norm": by_norm,
            "force_unit_decoder_norm": False,
            "top_k": K,
        }
        (folder / "config.json").write_text(json.dumps(config))

    return write


def load_llama_scope_r1(folder, k: int = 0) -> Model:
    config = json.loads((folder / "config.json").read_text())
    t = read(folder / "sae_weights.safetensors")
    passing = np.exp(t["log_jumprelu_threshold"])
    if config["sparsity_include_decoder_norm"]:
        passing = passing / np.linalg.norm(t["decoder.weight"], axis=0)
    inner = linear(
        t["encoder.weight"].T,
        t["encoder.bias"],
        t["decoder.weight"].T,
        t["decoder.bias"],
        lambda pre: relu(pre) * (pre > passing),
    )
    s = unit(float(t[f"dataset_average_activation_norm.{config['hook_point_in']}"]))
    return scaled(inner, s, s)


# --- Llamascopium


def make_llamascopium(act: str, norm: str = "inference", across: bool = False, **changed):
    def write(folder, rng, x):
        config = {
            "sae_type": "sae",
            "d_model": D,
            "expansion_factor": N / D,
            "use_decoder_bias": True,
            "act_fn": act,
            "norm_activation": norm,
            "sparsity_include_decoder_norm": True,
            "top_k": K,
            "use_triton_kernel": False,
            "jumprelu_threshold_window": 2.0,
            "hook_point_in": MLP_IN if across else HOOK,
            "hook_point_out": MLP_OUT if across else HOOK,
            "use_glu_encoder": False,
            **changed,
        }
        s = scale_of(norm, x, LENGTH)
        w_enc, w_dec, threshold = encoder(rng), decoder(rng), thresholds(rng)
        norms = np.linalg.norm(w_dec, axis=1) if config["sparsity_include_decoder_norm"] else 1.0
        passing = threshold / norms if act == "jumprelu" else 0.0
        tensors = {
            "W_E": w_enc.T,
            "W_D": w_dec,
            "b_E": encoder_bias(rng, (s * x) @ w_enc.T, passing),
        }
        if config["use_decoder_bias"]:
            tensors["b_D"] = rng.standard_normal(D)
        if config["use_glu_encoder"]:
            tensors |= {"W_E_glu": encoder(rng).T, "b_E_glu": rng.standard_normal(N)}
        if act == "jumprelu":
            tensors["activation_function.log_jumprelu_threshold"] = np.log(threshold)
        # Where it is not dataset-wise, they are written all the same, never initialised.
        lengths = (
            (LENGTH, LENGTH_OUT if across else LENGTH) if norm == "dataset-wise" else (np.nan,) * 2
        )
        for hook, length in zip(
            (config["hook_point_in"], config["hook_point_out"]), lengths, strict=True
        ):
            tensors[f"dataset_average_activation_norm.{hook}"] = length
        save(folder / "sae_weights.safetensors", tensors)
        (folder / "config.json").write_text(json.dumps(config, indent=4))

    return write


def scale_of(norm: str, x, length: float):
    if norm == "token-wise":
        return np.sqrt(D) / np.linalg.norm(x, axis=1, keepdims=True)
    return unit(length) if norm == "dataset-wise" else 1.0


def load_llamascopium(folder, k: int = 0) -> Model:
    config = json.loads((folder / "config.json").read_text())
    t = read(only_file(folder, "sae_weights.safetensors"))
    threshold = np.exp(t.get("activation_function.log_jumprelu_threshold", -np.inf))
    by_norm = config["sparsity_include_decoder_norm"]
    norms = np.linalg.norm(t["W_D"], axis=1) if by_norm else np.ones(len(t["W_D"]))
    activation = {
        "relu": relu,
        "jumprelu": lambda pre: relu(pre) * (pre > threshold),
        "topk": lambda pre: top_k(pre, config["top_k"]),
        "batchtopk": lambda pre: batch_top_k(pre, config["top_k"]),
    }[config["act_fn"]]
    inner = linear(
        t["W_E"], t["b_E"], t["W_D"], t.get("b_D", 0.0), lambda pre: activation(pre * norms) / norms
    )
    norm, hooks = config["norm_activation"], (config["hook_point_in"], config["hook_point_out"])
    lengths = [float(t.get(f"dataset_average_activation_norm.{hook}", 1.0)) for hook in hooks]

    def model(x):
        s, s_out = (scale_of(norm, x, length) for length in lengths)
        codes, found = scaled(inner, s, s_out)(x)
        # The authors' loader folds a scale of the data set so that latents are in the units of raw rows.
        return codes / s if norm == "dataset-wise" else codes, found

    return model


LOADERS = {
    "llama_scope": load_llama_scope,
    "llama_scope_r1": load_llama_scope_r1,
    "llamascopium": load_llamascopium,
}


def pium(act: str, *arguments, refused: str = "", **changed) -> Kind:
    make = make_llamascopium(act, *arguments, **changed)
    return Kind("llamascopium", make, refused=refused)


UNRANKED = {"sparsity_include_decoder_norm": False}

KINDS = {
    "llama_scope": Kind("llama_scope", make_llama_scope(), second="saelens"),
    "llama_scope_bf16": Kind("llama_scope", make_llama_scope(dtype="bfloat16")),
    "llama_scope_free_norms": Kind("llama_scope", make_llama_scope(free=True)),
    "llama_scope_transcoder": Kind("llama_scope", make_llama_scope(free=True, across=True)),
    "llama_scope_r1": Kind("llama_scope_r1", make_llama_scope_r1(), second="saelens"),
    "llama_scope_r1_by_norm": Kind("llama_scope_r1", make_llama_scope_r1(by_norm=True)),
    "llamascopium_relu": pium("relu"),
    "llamascopium_topk": pium("topk"),
    "llamascopium_topk_unranked": pium("topk", **UNRANKED),
    "llamascopium_jumprelu": pium("jumprelu"),
    "llamascopium_jumprelu_unranked": pium("jumprelu", **UNRANKED),
    "llamascopium_batchtopk": pium("batchtopk"),
    "llamascopium_no_b_dec": pium("relu", use_decoder_bias=False),
    "llamascopium_dataset_wise": pium("jumprelu", "dataset-wise"),
    "llamascopium_dataset_wise_topk": pium("topk", "dataset-wise"),
    "llamascopium_transcoder": pium("jumprelu", "dataset-wise", True),
    "llamascopium_token_wise": pium("topk", "token-wise"),
    "llamascopium_glu": pium("relu", use_glu_encoder=True, refused="gated linear unit"),
    "llamascopium_crosscoder": pium("relu", sae_type="crosscoder", refused="crosscoder"),
}
