"""The two halves of a sentence encoder as modules, for the exporter and the tests."""

import copy
from dataclasses import dataclass
from pathlib import Path

import model_source
import torch
from model_source import load_pretrained
from tool import SourceError, read_json
from torch import nn


class Passthrough(nn.Module):
    """Stands for the embeddings: the residual stream goes in as it is."""

    def forward(self, input_ids=None, inputs_embeds=None, **_):
        return inputs_embeds


def additive_mask(mask):
    """[B, T] of 0/1 -> [B, 1, 1, T]: 0 where a token stands, the most negative number where none does. Made here,
    because transformers' own choice between masks depends on the data and would be frozen into a trace."""
    return (1.0 - mask.to(torch.float32))[:, None, None, :] * torch.finfo(torch.float32).min


class Lower(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        return self.model(
            input_ids=ids, attention_mask=additive_mask(mask), return_dict=True
        ).last_hidden_state


class Upper(nn.Module):
    def __init__(self, model, pooling, normalise):
        super().__init__()
        self.model, self.pooling, self.normalise = model, pooling, normalise

    def forward(self, residual, mask):
        out = self.model(
            inputs_embeds=residual, attention_mask=additive_mask(mask), return_dict=True
        ).last_hidden_state
        if self.pooling == "cls":
            pooled = out[:, 0]
        else:
            weights = mask.to(out.dtype)[:, :, None]
            pooled = (out * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
        return nn.functional.normalize(pooled, dim=-1) if self.normalise else pooled


class OneDnnLinear(nn.Module):
    """A linear layer by oneDNN, forward only: twice as fast as torch's default product on CPUs where that one leaves
    AVX-512 unused (measured: 235 against 100 GFLOP/s a core at 1024 x 384 x 1536)."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x):
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def forward_only(module):
    """A copy whose linear layers run on oneDNN; the module itself where torch was built without it."""
    module = copy.deepcopy(module)
    if torch.backends.mkldnn.is_available():
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if type(child) is nn.Linear:
                    setattr(parent, name, OneDnnLinear(child))
    return module


def ragged_ids(first, vocabulary, batch, length):
    """Random ids in [first, vocabulary) and their mask, [batch, length] each; one text has the whole length."""
    generator = torch.Generator().manual_seed(batch * 1000 + length)
    ids = torch.randint(first, vocabulary, (batch, length), generator=generator)
    lengths = torch.randint(1, length + 1, (batch,), generator=generator)
    lengths[0] = length
    return ids, (torch.arange(length)[None] < lengths[:, None]).long()


@dataclass
class Halves:
    full: nn.Module
    lower: nn.Module
    upper: nn.Module
    layer: int
    layers: int
    d: int
    d_out: int
    max_length: int
    vocabulary: int
    pooling: str
    normalise: bool
    output: str = "embedding"

    def example(self, batch=5, length=17):
        return ragged_ids(5, self.vocabulary, batch, length)

    def upper_inputs(self, residual, ids, mask):
        return residual, mask

    def to_vocabulary(self):
        return {}  # an encoder has no way from its residual stream to words

    def eager_to_vocabulary(self, ids, mask):
        return {}

    def eager(self, ids, mask):
        """What the whole, uncut model computes: the residual stream at the layer, and the embedding."""
        out = self.full(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        last = out.last_hidden_state
        if self.pooling == "cls":
            pooled = last[:, 0]
        else:
            pooled = torch.stack([row[keep.bool()].mean(0) for row, keep in zip(last, mask)])
        return out.hidden_states[self.layer], (
            pooled / pooled.norm(dim=-1, keepdim=True) if self.normalise else pooled
        )


def load_halves(folder, layer, pooling=None, normalise=None):
    from transformers import AutoModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    folder = Path(folder)
    full, low, high = (
        load_pretrained(AutoModel, folder, dtype=torch.float32).eval() for _ in range(3)
    )
    blocks = encoder_blocks(full)
    if not 1 <= layer < len(blocks):
        raise SourceError(
            f"--layer {layer}: the model has {len(blocks)} layers, choose 1 to {len(blocks) - 1}"
        )
    replace_blocks(low, encoder_blocks(low)[:layer])
    replace_blocks(high, encoder_blocks(high)[layer:])
    high.embeddings = Passthrough()
    for half in (low, high):
        half.requires_grad_(False)
        if hasattr(half, "pooler"):
            half.pooler = None
    pooling = pooling or own_pooling(folder)
    normalise = own_normalise(folder) if normalise is None else normalise == "yes"
    d = full.config.hidden_size
    limit = min(model_source.max_length(folder), full.config.max_position_embeddings)
    return Halves(
        full,
        Lower(low),
        Upper(high, pooling, normalise),
        layer,
        len(blocks),
        d,
        d,
        limit,
        full.config.vocab_size,
        pooling,
        normalise,
    )


def encoder_blocks(model):
    encoder = getattr(model, "encoder", None)
    if encoder is None or not hasattr(encoder, "layer") or not hasattr(model, "embeddings"):
        raise SourceError(
            f"{type(model).__name__}: only encoders built as embeddings + encoder.layer can be cut "
            "(BERT, RoBERTa, XLM-R, MPNet and their kin)"
        )
    return encoder.layer


def replace_blocks(model, blocks):
    model.encoder.layer = nn.ModuleList(blocks)
    model.config.num_hidden_layers = len(blocks)


def own_pooling(folder):
    config = read_json(folder / "1_Pooling" / "config.json", default={})
    if not config:
        raise SourceError(
            f"{folder.name}: no 1_Pooling/config.json says how the embedding is pooled: pass --pooling"
        )
    prefix = "pooling_mode_"
    chosen = [
        key.removeprefix(prefix)
        for key, on in config.items()
        if key.startswith(prefix) and on is True
    ]
    names = {"mean_tokens": "mean", "cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in names:
        raise SourceError(
            f"{folder.name}: pooling {chosen} is not supported: pass --pooling mean or cls"
        )
    return names[chosen[0]]


def own_normalise(folder):
    modules = read_json(folder / "modules.json", list, default=[])
    if not modules:
        raise SourceError(
            f"{folder.name}: no modules.json says whether the embedding is normalised: pass --normalise"
        )
    kinds = [module["type"].rsplit(".", 1)[-1] for module in modules]
    unknown = set(kinds) - {"Transformer", "Pooling", "Normalize"}
    if unknown:
        raise SourceError(
            f"{folder.name}: modules {sorted(unknown)} behind the encoder are not supported"
        )
    return "Normalize" in kinds
