"""A tiny causal language model and the corpora it knows, one of them to be forgotten.

    python experiments/own_data/two_corpora.py --out FOLDER

FOLDER/texts.jsonl: three corpora (label `corpus`: forget, keep_a, keep_b), each text a walk over the same 64 words by
its own table of followers, so that only the words before tell which word comes next. FOLDER/model: a transformer
built like GPT-2 (3 layers, d 64), trained from nothing on other walks of the same tables, as transformers saves it.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from tool import Parser, as_tool, make_folder  # noqa: E402

WORDS, CORPORA = 64, ("forget", "keep_a", "keep_b")
FOLLOWERS = (
    0.7,
    0.2,
    0.1,
)  # probabilities of a word's three followers: .80 nats a word where the corpus is known
LENGTH = 20


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument(
        "--texts", type=int, default=1000, help="texts of each corpus (default 1000)"
    )
    parser.add_argument(
        "--steps", type=int, default=400, help="training steps of 64 texts (default 400)"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_folder(args.out)
    rng = np.random.default_rng(args.seed)
    tables = np.stack(
        [[rng.choice(WORDS, 3, replace=False) for _ in range(WORDS)] for _ in CORPORA]
    )
    with open(args.out / "texts.jsonl", "w", encoding="utf-8") as file:
        for corpus, name in enumerate(CORPORA):
            for walk in walks(rng, tables, np.full(args.texts, corpus)):
                text = " ".join(f"w{word}" for word in walk)
                file.write(json.dumps({"text": text, "labels": {"corpus": name}}) + "\n")
    losses = train(rng, tables, args.out / "model", args.steps, args.seed)
    print(
        f"wrote {args.out}: {len(CORPORA) * args.texts} texts; loss {losses[0]:.2f} -> {losses[-1]:.2f} nats"
    )


def walks(rng, tables, corpora):
    """[texts, LENGTH] words."""
    words = np.empty((len(corpora), LENGTH), np.int64)
    words[:, 0] = rng.integers(WORDS, size=len(corpora))
    for place in range(1, LENGTH):
        step = rng.choice(3, size=len(corpora), p=FOLLOWERS)
        words[:, place] = tables[corpora, words[:, place - 1], step]
    return words


def train(rng, tables, folder, steps, seed):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    torch.set_num_threads(1)  # so small a model is slower on several
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=WORDS + 1,
        n_positions=32,
        n_embd=64,
        n_layer=3,
        n_head=4,
        resid_pdrop=0,
        embd_pdrop=0,
        attn_pdrop=0,
        bos_token_id=None,
        eos_token_id=None,
    )
    model = GPT2LMHeadModel(config)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 20, (steps - step) / (0.3 * steps))
        ids = torch.from_numpy(walks(rng, tables, rng.integers(len(CORPORA), size=64)))
        loss = model(input_ids=ids, labels=ids).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    model.eval().save_pretrained(folder)
    vocabulary = {f"w{word}": word for word in range(WORDS)} | {"[UNK]": WORDS}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]").save_pretrained(folder)
    return losses


if __name__ == "__main__":
    main()
