"""SAELens: its classes write every dictionary and load it again, some with a configuration from before version 6."""

import json
from functools import partial

import numpy as np
from tiny_kind import OUT, D, K, Kind, Model, N, decoder, encoder, encoder_bias, thresholds

HOOK, HEADS = "blocks.1.hook_resid_post", 4


def load(folder, k: int = 0) -> Model:
    """Half-precision weights are computed with in single precision, as ours are."""
    from sae_lens import SAE

    return as_model(SAE.load_from_disk(folder, dtype="float32"))


def as_model(sae) -> Model:
    import torch

    by_head = sae.cfg.reshape_activations == "hook_z"

    @torch.no_grad()
    def model(x):
        rows = torch.from_numpy(x)
        rows = rows.reshape(len(x), HEADS, -1) if by_head else rows
        return sae.encode(rows).numpy(), sae(rows).flatten(1).numpy()

    return model


def settings(**changed) -> dict:
    from sae_lens.saes.sae import SAEMetadata

    facts = {"model_name": "tiny", "hook_name": HOOK, **changed.pop("metadata", {})}
    return {"d_in": D, "d_sae": N, "metadata": SAEMetadata(**facts), **changed}


def fill(sae, rng, x) -> None:
    """Random weights; biases such that some 12 latents pass where there is no top-k."""
    import torch

    def put(name, values):
        getattr(sae, name).data.copy_(torch.from_numpy(np.asarray(values, np.float32)))

    with torch.no_grad():
        put("W_enc", encoder(rng).T)
        put("W_dec", decoder(rng, sae.W_dec.shape[1]))
        put("b_dec", rng.standard_normal(sae.b_dec.shape[0]))
        rows = torch.from_numpy(x)
        rows = rows.reshape(len(x), HEADS, -1) if sae.hook_z_reshaping_mode else rows
        pre = (sae.process_sae_in(rows) @ sae.W_enc).numpy().astype(np.float64)
        names = {name for name, _ in sae.named_parameters()}
        if "W_skip" in names:
            put("W_skip", 0.2 * rng.standard_normal((OUT, D)))
        if "b_gate" in names:
            fill_gates(put, rng, pre)
            return
        threshold = thresholds(rng) if "threshold" in names else 0.0
        if hasattr(sae, "topk_threshold"):
            sae.topk_threshold.fill_(0.8)
            threshold = 0.8 / sae.W_dec.norm(dim=1).numpy()
        if "threshold" in names:
            put("threshold", threshold)
        put("b_enc", encoder_bias(rng, pre, threshold))


def fill_gates(put, rng, pre) -> None:
    """Open gates mostly have a positive magnitude, but not always."""
    r_mag, b_gate = 0.3 * rng.standard_normal(N), encoder_bias(rng, pre)
    put("r_mag", r_mag)
    put("b_gate", b_gate)
    put("b_mag", b_gate * np.exp(r_mag) + rng.uniform(-0.3, 0.7, N))


def made(architecture: str, folder, rng, x, dtype: str = "float32", **changed):
    import torch
    from sae_lens.registry import get_sae_class

    sae_class, config_class = get_sae_class(architecture)
    sae = sae_class(config_class(**settings(**changed)))
    fill(sae, rng, x)
    sae.to(dtype=getattr(torch, dtype))
    sae.save_model(folder)
    return sae


def make(architecture: str, **changed):
    return lambda folder, rng, x: made(architecture, folder, rng, x, **changed)


def make_trained(architecture: str, **changed):
    """A training class, saved for inference: as JumpReLU, decoder norms folded in."""

    def write(folder, rng, x):
        from sae_lens.registry import get_sae_training_class

        sae_class, config_class = get_sae_training_class(architecture)
        sae = sae_class(config_class(**settings(k=float(K), **changed)))
        fill(sae, rng, x)
        sae.save_inference_model(folder)

    return write


def make_unread(architecture: str, **changed):
    """What cannot be represented keeps the weights that its class begins with."""

    def write(folder, rng, x):
        from sae_lens.registry import get_sae_class

        sae_class, config_class = get_sae_class(architecture)
        sae_class(config_class(**settings(**changed))).save_model(folder)

    return write


# As cfg.json was before version 6; a None leaves its field out.
LEGACY = {
    "model_name": "tiny",
    "hook_name": HOOK,
    "hook_layer": 1,
    "hook_head_index": None,
    "d_in": D,
    "d_sae": N,
    "dtype": "float32",
    "device": "cpu",
    "architecture": "standard",
    "activation_fn_str": "relu",
    "activation_fn_kwargs": {},
    "apply_b_dec_to_input": True,
    "finetuning_scaling_factor": False,
    "normalize_activations": "none",
    "context_size": 128,
    "prepend_bos": True,
    "dataset_path": "none",
    "dataset_trust_remote_code": True,
    "model_from_pretrained_kwargs": {},
    "sae_lens_training_version": "4.3.5",
}


def make_legacy(now: str, config: dict, absent: tuple = (), **changed):
    """Weights of the present class beside a configuration of the past."""

    def write(folder, rng, x):
        made(now, folder, rng, x, **changed)
        facts = {key: value for key, value in {**LEGACY, **config}.items() if key not in absent}
        (folder / "cfg.json").write_text(json.dumps(facts))

    return write


def make_with_extras(folder, rng, x):
    """A scaling factor of ones among the weights, and the sparsities of the latents beside them."""
    import torch
    from safetensors.torch import load_file, save_file

    make_legacy("standard", {})(folder, rng, x)
    weights = load_file(folder / "sae_weights.safetensors")
    save_file({**weights, "scaling_factor": torch.ones(N)}, folder / "sae_weights.safetensors")
    save_file({"sparsity": torch.full((N,), -1.0)}, folder / "sparsity.safetensors")


def make_below_zero(folder, rng, x):
    """JumpReLU with thresholds of which some are negative: of those latents every positive value passes."""
    import torch
    from safetensors.torch import load_file, save_file

    make("jumprelu", apply_b_dec_to_input=False)(folder, rng, x)
    weights = load_file(folder / "sae_weights.safetensors")
    weights["b_enc"][:5] -= weights["threshold"][:5]
    weights["threshold"][:5] = torch.tensor([-0.5, -3.0, -1e-3, -0.0, 0.0])
    save_file(weights, folder / "sae_weights.safetensors")


kind = partial(Kind, "saelens")
CENTRED, PLAIN = {"apply_b_dec_to_input": True}, {"apply_b_dec_to_input": False}
LAYER_NORM = {"normalize_activations": "layer_norm"}
CONSTANT_NORM = {"normalize_activations": "constant_norm_rescale"}
SCALED = {"normalize_activations": "expected_average_only_in"}
TOPK, ACROSS = {"k": K}, {"d_out": OUT, "metadata": {"hook_name_out": "blocks.1.hook_mlp_out"}}
RESCALED = {"rescale_acts_by_decoder_norm": True}
PREFIXES = {"matryoshka_widths": [24, 48, N]}

KINDS = {
    "saelens_standard": kind(make("standard", **CENTRED)),
    "saelens_standard_plain": kind(make("standard", **PLAIN)),
    "saelens_standard_layer_norm": kind(make("standard", **CENTRED, **LAYER_NORM)),
    "saelens_standard_plain_layer_norm": kind(make("standard", **PLAIN, **LAYER_NORM)),
    "saelens_standard_constant_norm": kind(make("standard", **CENTRED, **CONSTANT_NORM)),
    "saelens_standard_scaled": kind(make("standard", **CENTRED, **SCALED)),
    "saelens_standard_bf16": kind(make("standard", dtype="bfloat16")),
    "saelens_standard_by_head": kind(
        make(
            "standard",
            reshape_activations="hook_z",
            metadata={"hook_name": "blocks.1.attn.hook_z"},
        )
    ),
    "saelens_topk": kind(make("topk", **CENTRED, **TOPK)),
    "saelens_topk_plain": kind(make("topk", **PLAIN, **TOPK)),
    "saelens_topk_rescaled": kind(make("topk", **PLAIN, **TOPK, **RESCALED)),
    "saelens_topk_rescaled_layer_norm": kind(make("topk", **TOPK, **RESCALED, **LAYER_NORM)),
    "saelens_topk_constant_norm": kind(make("topk", **TOPK, **CONSTANT_NORM)),
    "saelens_topk_bf16": kind(make("topk", **TOPK, dtype="bfloat16")),
    "saelens_jumprelu": kind(make("jumprelu", **PLAIN)),
    "saelens_jumprelu_centred": kind(make("jumprelu", **CENTRED)),
    "saelens_jumprelu_layer_norm": kind(make("jumprelu", **PLAIN, **LAYER_NORM)),
    "saelens_jumprelu_constant_norm": kind(make("jumprelu", **CENTRED, **CONSTANT_NORM)),
    "saelens_jumprelu_fp16": kind(make("jumprelu", **PLAIN, dtype="float16")),
    "saelens_jumprelu_below_zero": kind(make_below_zero),
    "saelens_gated": kind(make("gated", **CENTRED)),
    "saelens_gated_plain": kind(make("gated", **PLAIN)),
    "saelens_gated_layer_norm": kind(make("gated", **CENTRED, **LAYER_NORM)),
    "saelens_transcoder": kind(make("transcoder", **PLAIN, **ACROSS)),
    "saelens_transcoder_layer_norm": kind(make("transcoder", **PLAIN, **ACROSS, **LAYER_NORM)),
    "saelens_skip_transcoder": kind(make("skip_transcoder", **PLAIN, **ACROSS)),
    "saelens_skip_transcoder_constant_norm": kind(
        make("skip_transcoder", **PLAIN, **ACROSS, **CONSTANT_NORM)
    ),
    "saelens_jumprelu_transcoder": kind(make("jumprelu_transcoder", **PLAIN, **ACROSS)),
    "saelens_jumprelu_skip_transcoder": kind(make("jumprelu_skip_transcoder", **PLAIN, **ACROSS)),
    "saelens_batchtopk": kind(make_trained("batchtopk")),
    "saelens_batchtopk_drifting": kind(
        make_trained("batchtopk", rescale_acts_by_decoder_norm=False)
    ),
    "saelens_matryoshka": kind(make_trained("matryoshka_batchtopk", **PREFIXES)),
    "saelens_legacy_standard": kind(make_legacy("standard", {})),
    "saelens_legacy_defaults": kind(
        make_legacy(
            "standard",
            {"hook_point": HOOK, "normalize_activations": True},
            absent=("architecture", "apply_b_dec_to_input", "hook_name", "activation_fn_str"),
        )
    ),
    "saelens_legacy_topk": kind(
        make_legacy("topk", {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}, **TOPK)
    ),
    "saelens_legacy_jumprelu": kind(
        make_legacy("jumprelu", {"architecture": "jumprelu", **PLAIN}, **PLAIN)
    ),
    "saelens_legacy_extras": kind(make_with_extras),
    "saelens_matching_pursuit": kind(
        make_unread("matching_pursuit", max_iterations=K), refused="matching_pursuit"
    ),
    "saelens_abstopk": kind(make_unread("abstopk", **TOPK), refused="abstopk"),
    "saelens_temporal": kind(
        make_unread("temporal", n_heads=2, bottleneck_factor=2, kval_topk=K), refused="emporal"
    ),
}
