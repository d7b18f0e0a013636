"""Second opinions: SAELens and circuit-tracer read some files that the arithmetic of this folder reads too."""

from pathlib import Path

from circuit_tracer_kinds import as_model as as_transcoder
from saelens_kinds import as_model
from tiny_kind import D, K, Model, N, only_file

# What SAELens's readers take from the name of a repository and of a folder in it, instead of from the files.
NAMES = {
    "gemma_scope": (
        "gemma_2_sae_huggingface_loader",
        "google/gemma-scope-2b-pt-res",
        "layer_5/width_16k",
    ),
    "gemma_scope_2": (
        "gemma_3_sae_huggingface_loader",
        "google/gemma-scope-2-270m-pt",
        "resid_post/layer_5",
    ),
    "qwen_scope": (
        "qwen_scope_sae_huggingface_loader",
        f"Qwen/SAE-Res-Qwen3-1.7B-Base-W1K-L0_{K}",
        "layer3.sae.pt",
    ),
    "goodfire": (
        "get_goodfire_huggingface_loader",
        "Goodfire/Llama-3.1-8B-Instruct-SAE-l19",
        "Llama-3.1-8B-Instruct-SAE-l19.pth",
    ),
    "qresearch": (
        "deepseek_r1_sae_huggingface_loader",
        "qresearch/DeepSeek-R1-Distill-Llama-8B-SAE-l19",
        "DeepSeek-R1-Distill-Llama-8B-SAE-l19.pt",
    ),
    "llama_scope": ("llama_scope_sae_huggingface_loader", "fnlp/tiny", "tiny"),
    "llama_scope_r1": ("llama_scope_r1_distill_sae_huggingface_loader", "fnlp/tiny", "tiny"),
}


def saelens(format_name: str, folder: Path, scale: float) -> Model:
    """Its reader of published files, which finds them in `folder` instead of downloading them."""
    from sae_lens import SAE
    from sae_lens.loading import pretrained_sae_loaders as readers

    def local(*arguments, filename: str = "", **others):
        return str(only_file(folder, Path(filename or arguments[1]).name))

    def shapes(_, filename: str):
        from safetensors.numpy import load_file

        tensors = load_file(folder / Path(filename).name)
        return {name: list(values.shape) for name, values in tensors.items()}

    readers.hf_hub_download, readers.get_safetensors_tensor_shapes = local, shapes
    reader, repository, inside = NAMES[format_name]

    def convert(path, device, cfg_overrides):
        sizes = {"d_in": D, "d_sae": N}
        return getattr(readers, reader)(
            repository, inside, "cpu", False, {**cfg_overrides, **sizes}
        )[:2]

    sae = SAE.load_from_disk(folder, dtype="float32", converter=convert)
    if sae.cfg.normalize_activations == "expected_average_only_in":
        sae.fold_activation_norm_scaling_factor(scale)  # as from_pretrained does, by its own table
    return as_model(sae)


def circuit_tracer(format_name: str, folder: Path) -> Model:
    import torch
    from circuit_tracer.transcoder import single_layer_transcoder as readers

    reader, file = {
        "gemma_scope": (readers.load_gemma_scope_transcoder, "params.npz"),
        "gemma_scope_2": (readers.load_gemma_scope_2_transcoder, "params.safetensors"),
    }[format_name]
    return as_transcoder(reader(str(folder / file), 0, device=torch.device("cpu")))


def read(peer: str, format_name: str, folder: Path, scale: float) -> Model:
    if peer == "circuit_tracer":
        return circuit_tracer(format_name, folder)
    return saelens(format_name, folder, scale)
