"""Malformed uses of the Python tools: misspelt options, and files, folders and models that are not what is wanted."""

import json
import shutil

import h5py
import numpy as np
from form import FAILURE, USAGE, Case

from tests.experiments.tiny_data import rows, write_activations

DEEP = "[" * 100_000

TEXTS = {
    "prose": ("These are no records\n", (":1",)),
    "an open brace": ('{"text": "a"}\n{"text": "b"\n', (":2",)),
    "a list": ("[1, 2]\n", (":1", "text")),
    "no text": ('{"document": "a"}\n', (":1", "text")),
    "an empty text": ('{"text": ""}\n', (":1", "text")),
    "a number for a text": ('{"text": 3}\n', (":1", "text")),
    "100,000 brackets": ('{"text": ' + DEEP + "\n", (":1",)),
    "a lone surrogate": ('{"text": "a\\ud800"}\n', (":1", "ud800")),
    "a lone surrogate in a label": ('{"text": "a", "labels": {"x": "\\udfff"}}\n', (":1", "udfff")),
    "a text twice": ('{"text": "a", "text": "b"}\n', (":1", "'text'", "twice")),
    "a document beyond 63 bits": (
        '{"text": "a", "document": 9223372036854775808}\n',
        (":1", "document", "63 bits"),
    ),
    "a document of 5,000 digits": ('{"text": "a", "document": ' + "9" * 5000 + "}\n", (":1",)),
    "a document that is a list": ('{"text": "a", "document": [1]}\n', (":1", "document")),
    "a document that is a real": ('{"text": "a", "document": 1.5}\n', (":1", "document")),
    "labels in a list": ('{"text": "a", "labels": [1]}\n', (":1", "labels")),
    "a label that is a real": ('{"text": "a", "labels": {"x": 1.5}}\n', (":1", "labels")),
    "a label beyond 31 bits": ('{"text": "a", "labels": {"x": 2147483648}}\n', ("x",)),
    "a label with a slash": ('{"text": "a", "labels": {"x/y": 1}}\n', ("x/y",)),
    "a label with a NUL": ('{"text": "a", "labels": {"x": "y\\u0000z"}}\n', ("x", "NUL")),
    "a label of two kinds": (
        '{"text": "a", "labels": {"x": 1}}\n{"text": "a", "labels": {"x": "b"}}\n',
        ("x", "strings"),
    ),
    "bytes that are not UTF-8": (b'{"text": "\xff"}\n', ("texts-",)),
    "nothing": ("", ("no texts",)),
}
SPEC = {
    "base": "base",
    "organisms": [{"folder": "o", "kind": "planted", "secret": "a"}],
    "candidates": [{"name": "a", "token": "x"}],
    "concepts": [["t", "a"]],
    "audit": ["p"],
    "query": [["q", "a"]],
    "audit_tokens": 1,
    "query_tokens": 1,
}
SPECS = {
    "no organisms": dict(organisms=[]),
    "organisms in words": dict(organisms="many"),
    "an organism in words": dict(organisms=["many"]),
    "an organism without a folder": dict(organisms=[{"kind": "planted", "secret": "a"}]),
    "an unknown kind": dict(organisms=[{"folder": "o", "kind": "evil", "secret": "a"}]),
    "a candidate in words": dict(candidates=["a"]),
    "a candidate without a token": dict(candidates=[{"name": "a"}]),
    "a concept of one": dict(concepts=[["t"]]),
    "a concept of nobody": dict(concepts=[["t", "b"]]),
    "a prompt that is a number": dict(audit=[3]),
    "tokens in words": dict(audit_tokens="many"),
}


def write_model(folder):
    """A tiny causal model with random weights and its tokenizer."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = {word: i for i, word in enumerate(["<s>", "</s>", "<unk>", "a", "b"])}
    tokenizer = Tokenizer(models.WordLevel(words, "<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=5,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=16,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def model_folders(folder, model):
    """Folders that are no models: (what, folder)."""
    changes = {
        "nothing there": lambda place: shutil.rmtree(place),
        "nothing in it": lambda place: [path.unlink() for path in place.iterdir()],
        "no config": lambda place: (place / "config.json").unlink(),
        "a config in prose": lambda place: (place / "config.json").write_text("a model"),
        "a config of 100,000 brackets": lambda place: (place / "config.json").write_text(DEEP),
        "a config in a list": lambda place: (place / "config.json").write_text("[]"),
        "an unknown architecture": lambda place: (place / "config.json").write_text(
            '{"model_type": "oracle"}'
        ),
        "no weights": lambda place: (place / "model.safetensors").unlink(),
        "weights in prose": lambda place: (place / "model.safetensors").write_text("weights"),
        "no tokenizer": lambda place: (place / "tokenizer.json").unlink(),
        "a tokenizer in prose": lambda place: (place / "tokenizer.json").write_text("words"),
    }
    for number, (what, change) in enumerate(changes.items()):
        place = folder / f"model-{number}"
        shutil.copytree(model, place)
        change(place)
        yield what, place


def text_cases(folder, world):
    model = write_model(folder / "model")
    good = folder / "good.jsonl"
    good.write_text('{"text": "a b"}\n')
    for number, (what, (content, says)) in enumerate(TEXTS.items()):
        path = folder / f"texts-{number}.jsonl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        arguments = ["--model", model, "--texts", path, "--out", "OUT"]
        label = "a label" in what and "labels" not in says and ":1" not in says
        yield "data/python/tokenise.py", Case(what, arguments, FAILURE, says)
        if number % 3 == 0 and not label:
            arguments = [*arguments, "--hooks", "model.layers.0"]
            yield "data/python/harvest_hooks.py", Case(what, arguments, FAILURE, says)
    (folder / "columns.csv").write_text("words,document\nabc,1\n")
    arguments = ["--model", model, "--texts", folder / "columns.csv", "--out", "OUT"]
    yield "data/python/tokenise.py", Case("a CSV without text", arguments, FAILURE, ("text",))
    for what, path in [("no texts", folder / "nowhere.jsonl"), ("a folder", folder)]:
        arguments = ["--model", model, "--texts", path, "--out", "OUT"]
        yield "data/python/tokenise.py", Case(what, arguments, FAILURE, (path.name,))
    for number in ("17", "-3"):
        arguments = ["--model", model, "--texts", good, "--out", "OUT", f"--max-length={number}"]
        status = USAGE if number == "-3" else FAILURE
        case = Case(f"--max-length {number}", arguments, status, ("--max-length",))
        yield "data/python/tokenise.py", case
    for out in (folder, good / "below"):
        arguments = ["--model", model, "--texts", good, "--out", out]
        yield "data/python/tokenise.py", Case(f"--out {out.name}", arguments, FAILURE, ("--out",))
    hooks = {
        "an unknown hook": (["--hooks", "layer"], ("layer", "--list-hooks")),
        "a hook twice": (["--hooks", "model", "model"], ("--hooks", "different")),
        "no hook": ([], ("--hooks",)),
        "a rank beyond": (["--hooks", "model.layers.0", "--rank", "3"], ("--rank",)),
    }
    for what, (more, says) in hooks.items():
        arguments = ["--model", model, "--texts", good, "--out", "OUT", *more]
        yield "data/python/harvest_hooks.py", Case(what, arguments, FAILURE, says)
    arguments = ["--model", model, "--texts", good, "--out", "OUT", "--hooks", "model.layers.0"]
    case = Case("no texts a pass", [*arguments, "--batch", "0"], USAGE, ("--batch",))
    yield "data/python/harvest_hooks.py", case
    (folder / "part").mkdir()
    (folder / "part" / "rank-00000-00000.h5").write_text("no rows")
    arguments = ["--model", model, "--texts", good, "--out", folder / "part"]
    arguments += ["--hooks", "model.layers.0"]
    says = ("rank-00000-00000.h5", "HDF5")
    yield "data/python/harvest_hooks.py", Case("a damaged part", arguments, FAILURE, says)
    for number, (what, place) in enumerate(model_folders(folder, model)):
        by_tool = {
            "tokenise.py": ["--texts", good],
            "harvest_hooks.py": ["--texts", good, "--hooks", "model.layers.0"],
            "export_halves.py": ["--layer", "1"],
            "harvest_organisms.py": ["--layer", "1", "--spec", folder / f"{place.name}.json"],
        }
        (folder / f"{place.name}.json").write_text(json.dumps(SPEC | {"base": place.name}))
        for tool, arguments in by_tool.items():
            if tool == "tokenise.py" and number in range(2, 9) and number != 7:
                continue  # needs the tokenizer alone
            if "spec" not in str(arguments) and tool != "harvest_organisms.py":
                arguments = ["--model", place, *arguments]
            case = Case(f"model: {what}", [*arguments, "--out", "OUT"], FAILURE, (place.name,))
            yield f"data/python/{tool}", case
    for layer in ("0", "2", "-1"):
        arguments = ["--model", model, f"--layer={layer}", "--out", "OUT"]
        status = FAILURE if layer == "2" else USAGE  # only the model knows its layers
        case = Case(f"--layer {layer}", arguments, status, ("--layer",))
        yield "data/python/export_halves.py", case
    yield from reinitialise_cases(folder, model)


def reinitialise_cases(folder, model):
    tool = "experiments/nulls/reinitialise.py"
    yield tool, Case("exists", ["--model", model, "--out", model], FAILURE, ("model", "--out"))
    place = folder / "model-3"
    yield tool, Case("config", ["--model", place, "--out", "OUT"], FAILURE, (place.name,))
    place = folder / "model-1"
    yield tool, Case("empty", ["--model", place, "--out", "OUT"], FAILURE, (place.name,))


def organism_cases(folder, world):
    tool = "data/python/harvest_organisms.py"
    contents = {what: json.dumps(SPEC | change) for what, change in SPECS.items()}
    contents |= {
        "prose": "a specification",
        "100,000 brackets": DEEP,
        "a list": "[]",
        "base twice": json.dumps(SPEC)[:-1] + ', "base": "c"}',
        "a lone surrogate": json.dumps(SPEC).replace('"p"', '"\\ud800"'),
        "no base": json.dumps(SPEC),
    }
    for number, (what, content) in enumerate(contents.items()):
        path = folder / f"spec-{number}.json"
        path.write_text(content)
        says = () if what == "no base" else (path.name,)
        arguments = ["--spec", path, "--layer", "1", "--out", "OUT"]
        yield tool, Case(what, arguments, FAILURE, says)
    arguments = ["--spec", folder / "nowhere.json", "--layer", "1", "--out", "OUT"]
    yield tool, Case("no specification", arguments, FAILURE, ("nowhere.json",))


def wordnet_cases(folder, world):
    tool = "data/python/wordnet.py"
    line = "00001740 03 n 01 entity 0 003 | that which is\n"
    contents = {
        "prose": "These are no words\n",
        "a category in words": line.replace(" 03 ", " xx "),
        "a category beyond": line.replace(" 03 ", " 99 "),
        "no gloss": line.replace(" | ", " "),
        "bytes that are not UTF-8": line.replace("which", "wh\udcffich"),
        "no verbs": line,
    }
    for number, (what, content) in enumerate(contents.items()):
        place = folder / f"wordnet-{number}"
        place.mkdir()
        (place / "data.noun").write_bytes(content.encode(errors="surrogateescape"))
        says = ("data.verb",) if what == "no verbs" else ("data.noun:1",)
        yield tool, Case(what, ["--wordnet", place, "--out", "OUT"], FAILURE, says)
    yield tool, Case("nothing there", ["--wordnet", folder / "no", "--out", "OUT"], FAILURE, ("no",))  # fmt: skip
    yield tool, Case("a limit in words", ["--limit", "many", "--out", "OUT"], USAGE, ("--limit", "many"))  # fmt: skip


def shard_folders(folder):
    """Folders that hold no good shards: (what, folder)."""
    for what in ("nothing there", "nothing in it", "prose", "no activations"):
        place = folder / what.replace(" ", "-")
        if what != "nothing there":
            place.mkdir()
        if what == "prose":
            (place / "shard-00000.h5").write_text("no rows")
        if what == "no activations":
            with h5py.File(place / "shard-00000.h5", "w") as file:
                file["acts"] = np.zeros((3, 4), np.float32)
        yield what, place


def experiment_cases(folder, world):
    nulls = "experiments/nulls/"
    peers = "experiments/compare_peers/"
    unbuilt = folder / "unbuilt"
    for what, place in shard_folders(folder):
        cases = {
            nulls + "null_activations.py": [place, "--kind", "shuffled", "--out", "OUT"],
            "experiments/compare_saebench.py": [
                *(world["run"] / "results.json", "--data", place, "--dictionary", world["run"])
            ],
        }
        work = ["--work", "OUT", "--build", unbuilt]
        if what == "nothing in it":
            for name in ("compare", "memory", "same_loss"):
                cases[peers + f"{name}.py"] = ["--shards", place, *work]
        for tool, arguments in cases.items():
            yield tool, Case(f"shards: {what}", arguments, FAILURE, (place.name,))
    for number, content in enumerate(["prose", "[]", DEEP, "{}"]):
        path = folder / f"results-{number}.json"
        path.write_text(content)
        arguments = [path, "--data", world["shards"], "--dictionary", world["run"]]
        says = () if content == "{}" else (path.name,)
        yield "experiments/compare_saebench.py", Case(f"results {content[:9]}", arguments, FAILURE, says)  # fmt: skip
    write_activations(folder / "bare.h5", rows(5))
    arguments = ["--build", unbuilt, "--out", "OUT"]
    yield peers + "curves.py", Case("no program", arguments, FAILURE, ("unbuilt",))
    arguments = ["reference", folder / "nowhere"]
    yield peers + "peer_arm.py", Case("no problem", arguments, FAILURE, ("nowhere",))
    for name in ("model_diff.py", "planted_truth.py", "variant_table.py"):
        needed = {
            "model_diff.py": ["--corpus", folder / "nowhere.jsonl"],
            "planted_truth.py": ["--documents", "40"],
            "variant_table.py": ["--shards", world["shards"], "--variants", "topk", "--seeds", "1"],
        }[name]
        below = folder / "bare.h5" / "below"
        arguments = [*needed, "--out", below, "--assay", unbuilt]
        yield f"experiments/{name}", Case("--out below a file", arguments, FAILURE, (below,))
    for tool, arguments in {
        "experiments/vega_bundle.py": [folder],
        "experiments/own_data/digits.py": ["--out", folder],
        "experiments/own_data/docstrings.py": ["--out", folder],
    }.items():
        yield tool, Case("a folder to write", arguments, FAILURE, (folder.name, "folder"))
    below = folder / "bare.h5" / "below"
    for name, more in (("secret_words", ["--family", "taboo"]), ("two_corpora", [])):
        case = Case("--out below a file", [*more, "--out", below], FAILURE, (below,))
        yield f"experiments/own_data/{name}.py", case


def common_cases(tools):
    """Of every tool: an option that there is not, and one misspelt."""
    for tool in tools:
        yield tool, Case("an unknown option", ["--zzzzzz"], USAGE, ("--",))
        yield tool, Case("--hel for --help", ["--hel"], USAGE, ("--",))


def tool_cases(folder, world, tools):
    yield from common_cases(tools)
    for make in (text_cases, organism_cases, wordnet_cases, experiment_cases):
        place = folder / make.__name__
        place.mkdir(parents=True)
        yield from make(place, world)
