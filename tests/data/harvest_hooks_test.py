"""The hook writer on a tiny randomly initialised causal model, against the model's own hidden states."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from tests.experiments.tiny_data import assay, assay_json

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
import harvest_hooks  # noqa: E402

WORDS = [f"w{i}" for i in range(40)]
HOOKS = ["model.layers.0", "model.layers.1.mlp", "model.layers.1"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny") / "tiny-llama"
    tokenizer = Tokenizer(
        models.WordLevel({w: i for i, w in enumerate(["<s>", "</s>", "<unk>", *WORDS])}, "<unk>")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=43,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    records = [
        {"text": " ".join(rng.choice(WORDS, rng.integers(1, 12))), "document": f"d{i // 2}"}
        for i in range(21)
    ]
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return path


def run(monkeypatch, *arguments):
    """The tool's main, in this process: torch takes seconds to load. Returns its message where it fails."""
    monkeypatch.setattr(sys, "argv", ["harvest_hooks.py", *map(str, arguments)])
    try:
        harvest_hooks.main()
    except SystemExit as stopped:
        return str(stopped.code)
    return ""


@pytest.fixture
def harvest(monkeypatch, model, texts):
    def call(out, *extra, rank=0, ranks=1, fails=False):
        message = run(
            monkeypatch,
            "--model",
            model,
            "--texts",
            texts,
            "--out",
            out,
            "--hooks",
            *HOOKS,
            "--batch",
            4,
            "--texts-per-file",
            8,
            "--context",
            9,
            "--rank",
            rank,
            "--ranks",
            ranks,
            *extra,
        )
        assert (message != "") == fails, message
        return message

    return call


def reference(model, texts):
    """One text at a time, no padding: ids and the hooks' values, in float32."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, net = (
        AutoTokenizer.from_pretrained(model),
        AutoModelForCausalLM.from_pretrained(model).eval(),
    )
    result = []
    for line in texts.read_text().splitlines():
        ids = tokenizer(
            json.loads(line)["text"], return_tensors="pt", truncation=True, max_length=9
        )["input_ids"]
        with torch.no_grad():
            states = net(ids, output_hidden_states=True).hidden_states
            block = net.model.layers[1]
            caught = []
            norm = block.post_attention_layernorm
            handle = norm.register_forward_hook(
                lambda module, inputs, output, to=caught: to.append(output)
            )
            net(ids)
            handle.remove()
            mlp = block.mlp(caught[0])
        result.append((ids[0].numpy(), states[1][0].numpy(), mlp[0].numpy(), states[2][0].numpy()))
    return result


def read(folder, dtype):
    files = [h5py.File(f) for f in sorted(folder.glob("rank-*.h5"))]
    names = [
        "activations",
        "hooks/model_layers_1_mlp",
        "hooks/model_layers_1",
        "tokens",
        "document",
        "position",
        "special",
        "sink",
    ]
    found = {name: np.concatenate([f[name][:] for f in files]) for name in names}
    for name in names[:3]:
        if dtype == "bf16":
            found[name] = torch.from_numpy(found[name]).view(torch.bfloat16).float().numpy()
    return found


@pytest.mark.parametrize("ranks,dtype", [(1, "f32"), (2, "bf16")])
def test_rows_are_the_models_own(harvest, model, texts, tmp_path, ranks, dtype):
    for rank in range(ranks):
        harvest(tmp_path / "set", "--dtype", dtype, "--model-dtype", "f32", rank=rank, ranks=ranks)
    found, truth = read(tmp_path / "set", dtype), reference(model, texts)
    order = [i for rank in range(ranks) for i in range(rank, len(truth), ranks)]
    assert np.array_equal(found["tokens"], np.concatenate([truth[i][0] for i in order]))
    assert np.array_equal(found["special"], (found["tokens"] == 0).astype(np.uint8))
    assert np.array_equal(
        found["position"], np.concatenate([np.arange(len(truth[i][0])) for i in order])
    )
    for part, name in enumerate(
        ["activations", "hooks/model_layers_1_mlp", "hooks/model_layers_1"], 1
    ):
        expected = np.concatenate([truth[i][part] for i in order])
        np.testing.assert_allclose(
            found[name], expected, rtol=0.01 if dtype == "bf16" else 1e-4, atol=1e-5
        )
    assert len(found["sink"]) == len(found["special"]) and not found["sink"].any()
    documents = np.concatenate([[i // 2] * len(truth[i][0]) for i in order])
    same = found["document"][:, None] == found["document"]
    assert np.array_equal(same, documents[:, None] == documents)

    files = sorted((tmp_path / "set").glob("rank-*.h5"))
    assert len(files) == (3 if ranks == 1 else 4)
    assay("index", *files, "--out", tmp_path / "set")
    facts = assay_json("inspect", tmp_path / "set")
    assert facts["rows"] == len(found["tokens"])
    assert json.dumps(facts).count("model_layers_1_mlp") >= 1


def test_a_killed_rank_goes_on_and_differences_are_named(harvest, tmp_path):
    harvest(tmp_path / "whole")
    harvest(tmp_path / "cut")
    for part in (1, 2):
        (tmp_path / "cut" / f"rank-00000-0000{part}.h5").unlink()
    before = (tmp_path / "cut" / "rank-00000-00000.h5").stat().st_mtime_ns
    harvest(tmp_path / "cut")
    assert (tmp_path / "cut" / "rank-00000-00000.h5").stat().st_mtime_ns == before
    whole, cut = read(tmp_path / "whole", "bf16"), read(tmp_path / "cut", "bf16")
    assert all(np.array_equal(whole[name], cut[name]) for name in whole)
    assert "stored was bf16" in harvest(tmp_path / "cut", "--dtype", "f32", fails=True)
    assert "no such module" in harvest(tmp_path / "x", "--hooks", "model.layer.9", fails=True)
    assert "[batch, tokens, d]" in harvest(
        tmp_path / "x", "--hooks", "model.rotary_emb", fails=True
    )


def test_the_modules_names_are_listed(model, monkeypatch, capsys):
    assert run(monkeypatch, "--model", model, "--list-hooks") == ""
    assert "model.layers.2.mlp" in capsys.readouterr().out.split()


def test_sinks_are_marked_by_the_definition():
    rng = np.random.default_rng(3)
    hooks = [torch.from_numpy(rng.normal(size=(1001, 8)).astype(np.float32)) for _ in range(2)]
    special = torch.from_numpy((np.arange(1001) % 7 == 0).astype(np.uint8))
    hooks[0][[5, 7, 300]] *= 200
    hooks[1][800] *= 200
    hooks[1][:300] = 0
    expected = np.zeros(1001, bool)
    for values in hooks:
        norms = np.linalg.norm(values.numpy().astype(np.float64), axis=1)
        ordinary = np.sort(norms[(special.numpy() == 0) & (norms > 0)])
        expected |= norms > 10 * ordinary[(len(ordinary) - 1) // 2]
    assert expected.sum() == 4
    np.testing.assert_array_equal(harvest_hooks.find_sinks(hooks, special, block=64), expected)
