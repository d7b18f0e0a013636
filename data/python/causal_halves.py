"""The two halves of a causal language model as modules: ids to the residual stream at a layer, and from there to the
loss of each token; and two ways from the stream to the vocabulary: the next token, and the logit lens."""

from dataclasses import dataclass
from pathlib import Path

import model_source
import torch
from halves import ragged_ids
from model_source import load_pretrained
from tool import SourceError, read_json
from torch import nn

LONGEST = 1024  # tokens a text may have: beyond, the attention mask and the logits of one text fill the memory

# By the model inside: where its blocks, its last norm and its table of positions stand (None: rotary, in the blocks).
PLACES = [
    ("transformer", "h", "ln_f", "wpe"),  # GPT-2
    ("gpt_neox", "layers", "final_layer_norm", None),  # Pythia
    ("model", "layers", "norm", None),
]  # Llama, Mistral, Qwen and their kin


class NoPositions(nn.Module):
    """Stands for the table of positions above the cut: the residual stream has them already."""

    def forward(self, position_ids):
        return torch.zeros(())


def causal_mask(mask):
    """[B, T] of 0/1 -> additive [B, 1, T, T]: each token sees itself and the tokens before it."""
    place = torch.arange(mask.shape[1])
    seen = (place[None, :] <= place[:, None])[None, None] & mask.bool()[:, None, None, :]
    return (1.0 - seen.to(torch.float32)) * torch.finfo(torch.float32).min


def token_losses(logits, ids, mask):
    """[B, T]: -log p(token | those before it) in nats; 0 for a text's first token and where none stands."""
    following = ids.roll(-1, 1)
    loss = logits.logsumexp(-1) - logits.gather(-1, following[:, :, None])[:, :, 0]
    first = torch.arange(mask.shape[1]) == 0
    return loss.roll(1, 1) * mask.to(loss.dtype) * (~first).to(loss.dtype)


class Lower(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, ids, mask):
        return self.model(
            input_ids=ids, attention_mask=causal_mask(mask), use_cache=False, return_dict=True
        ).last_hidden_state


class Upper(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, residual, ids, mask):
        out = self.model(
            inputs_embeds=residual,
            attention_mask=causal_mask(mask),
            use_cache=False,
            return_dict=True,
        )
        return token_losses(out.logits, ids, mask)


class Next(nn.Module):
    """Logits [B, vocabulary] of the token behind each text's last."""

    def __init__(self, base, head):
        super().__init__()
        self.base, self.head = base, head

    def forward(self, residual, mask):
        out = self.base(
            inputs_embeds=residual,
            attention_mask=causal_mask(mask),
            use_cache=False,
            return_dict=True,
        )
        last = (mask.sum(1) - 1)[:, None, None].expand(-1, 1, residual.shape[2])
        return self.head(out.last_hidden_state.gather(1, last)[:, 0])


class Lens(nn.Module):
    """Logits [N, vocabulary] of x [N, d], taken for the residual stream behind the last layer."""

    def __init__(self, norm, head):
        super().__init__()
        self.norm, self.head = norm, head

    def forward(self, x):
        return self.head(self.norm(x))


@dataclass
class CausalHalves:
    full: nn.Module
    lower: nn.Module
    upper: nn.Module
    layer: int
    layers: int
    d: int
    max_length: int
    vocabulary: int
    output: str = "token_loss"
    d_out: int = 1  # a token
    pooling: None = None
    normalise: None = None

    def example(self, batch=5, length=17):
        return ragged_ids(0, self.vocabulary, batch, length)

    def upper_inputs(self, residual, ids, mask):
        return residual, ids, mask

    def to_vocabulary(self):
        """Modules by name, and example inputs; written as TorchScript alone."""
        inside, _, norm, _ = places(self.upper.model)
        base, head = getattr(self.upper.model, inside), self.upper.model.get_output_embeddings()
        residual = torch.randn(5, 17, self.d, generator=torch.Generator().manual_seed(0))
        return {
            "next": (Next(base, head), (residual, self.example()[1])),
            "lens": (Lens(getattr(base, norm), head), (residual[0],)),
        }

    def eager_to_vocabulary(self, ids, mask):
        """By name, inputs and what the whole, uncut model computes from them."""
        inside, _, norm, _ = places(self.full)
        seen = []
        handle = getattr(getattr(self.full, inside), norm).register_forward_pre_hook(
            lambda _, x: seen.append(x[0])
        )
        out = self.full(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        )
        handle.remove()
        rows, last = torch.arange(len(ids)), mask.sum(1) - 1
        return {
            "next": ((out.hidden_states[self.layer], mask), out.logits[rows, last]),
            "lens": ((seen[0][rows, last],), out.logits[rows, last]),
        }

    def eager(self, ids, mask):
        """What the whole, uncut model computes: the residual stream at the layer, and each token's loss."""
        out = self.full(
            input_ids=ids, attention_mask=mask, output_hidden_states=True, use_cache=False
        )
        log_p = out.logits.log_softmax(-1)
        loss = torch.zeros(ids.shape)
        loss[:, 1:] = -log_p[:, :-1].gather(-1, ids[:, 1:, None])[:, :, 0] * mask[:, 1:]
        return out.hidden_states[self.layer], loss


def is_causal(folder):
    names = read_json(Path(folder) / "config.json", default={}).get("architectures") or []
    return any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names)


def load_causal_halves(folder, layer):
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    full, low, high = (
        load_pretrained(AutoModelForCausalLM, folder, dtype=torch.float32).eval() for _ in range(3)
    )
    inside, blocks, norm, positions = places(full)
    layers = len(getattr(getattr(full, inside), blocks))
    if not 1 <= layer < layers:
        raise SourceError(
            f"--layer {layer}: the model has {layers} layers, choose 1 to {layers - 1}"
        )
    for model, first, last in ((low, 0, layer), (high, layer, layers)):
        model.requires_grad_(False)
        base = getattr(model, inside)
        setattr(base, blocks, getattr(base, blocks)[first:last])
        base.config.num_hidden_layers = last - first
    setattr(getattr(low, inside), norm, nn.Identity())
    if positions:
        setattr(getattr(high, inside), positions, NoPositions())
    limit = min(model_source.max_length(folder), LONGEST)
    return CausalHalves(
        full,
        Lower(getattr(low, inside)),
        Upper(high),
        layer,
        layers,
        full.config.hidden_size,
        limit,
        full.config.vocab_size,
    )


def places(model):
    for place in PLACES:
        inside, blocks, norm, positions = place
        base = getattr(model, inside, None)
        if all(hasattr(base, name) for name in (blocks, norm, positions or blocks)):
            return place
    raise SourceError(
        f"{type(model).__name__}: only causal models built like GPT-2, GPT-NeoX or Llama can be cut"
    )
