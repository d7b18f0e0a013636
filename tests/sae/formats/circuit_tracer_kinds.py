"""circuit-tracer: SingleLayerTranscoder writes every dictionary, and load_transcoders reads the folder."""

from functools import partial

import numpy as np
import yaml
from tiny_kind import D, Kind, Model, N, decoder, encoder, encoder_bias, thresholds

CONFIG = {
    "model_name": "tiny",
    "model_kind": "transcoder_set",
    "feature_input_hook": "mlp.hook_in",
    "feature_output_hook": "hook_mlp_out",
    "scan": "tiny-transcoders",
}


def load(folder, k: int = 0) -> Model:
    """The first layer of the set that its config.yaml describes, or the layer of one file."""
    import huggingface_hub.constants
    import torch

    # It asks huggingface_hub for a constant that newer ones lack, which only says how to download.
    huggingface_hub.constants.HF_HUB_ENABLE_HF_TRANSFER = False
    from circuit_tracer.utils.hf_utils import load_transcoders

    at = folder.parent if folder.is_file() else folder
    config = yaml.safe_load((at / "config.yaml").read_text())
    files = [folder] if folder.is_file() else sorted(at.glob("layer_*.safetensors"))
    transcoders = load_transcoders(
        {"scan": "", **config, "transcoders": [str(file) for file in files]},
        device=torch.device("cpu"),
        lazy_decoder=False,
    )
    return as_model(transcoders[0])


def as_model(transcoder) -> Model:
    import torch

    @torch.no_grad()
    def model(x):
        rows = torch.from_numpy(x)
        return transcoder.encode(rows).numpy(), transcoder(rows).numpy()

    return model


def transcoder(rng, x, threshold=None, skip: bool = False, dtype: str = "float32"):
    import torch
    from circuit_tracer.transcoder.activation_functions import JumpReLU
    from circuit_tracer.transcoder.single_layer_transcoder import SingleLayerTranscoder

    def tensor(values):
        return torch.from_numpy(np.asarray(values, np.float32)).to(getattr(torch, dtype))

    weights, passing = encoder(rng), 0.0 if threshold is None else threshold(rng)
    activation = torch.relu if threshold is None else JumpReLU(tensor(passing), 0.1)
    made = SingleLayerTranscoder(D, N, activation, 0, skip, dtype=getattr(torch, dtype))
    made.W_enc.data = tensor(weights)
    made.W_dec.data = tensor(decoder(rng))
    made.b_enc.data = tensor(encoder_bias(rng, x @ weights.T, passing))
    made.b_dec.data = tensor(rng.standard_normal(D))
    if skip:
        made.W_skip.data = tensor(0.2 * rng.standard_normal((D, D)))
    return made


def make(layer: int = 0, **settings):
    """`layer`: the last one of the set; those below it are there too."""

    def write(folder, rng, x):
        for number in range(layer + 1):
            made = transcoder(rng, x, **settings)
            made.to_safetensors(str(folder / f"layer_{number}.safetensors"))
        (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG))

    return write


def below_zero(rng) -> np.ndarray:
    return np.where(np.arange(N) < 5, -0.5, thresholds(rng))


kind = partial(Kind, "circuit_tracer")

KINDS = {
    "circuit_tracer_relu": kind(make()),
    "circuit_tracer_jumprelu": kind(make(threshold=thresholds)),
    "circuit_tracer_skip": kind(make(skip=True)),
    "circuit_tracer_jumprelu_skip": kind(make(threshold=thresholds, skip=True)),
    "circuit_tracer_bf16": kind(make(threshold=thresholds, dtype="bfloat16")),
    "circuit_tracer_of_two": kind(make(layer=1), source="layer_1.safetensors"),
    # Its JumpReLU has no ReLU: below a negative threshold negative values pass.
    "circuit_tracer_below_zero": kind(make(threshold=below_zero), refused="threshold"),
}
