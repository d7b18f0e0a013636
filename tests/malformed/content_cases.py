"""Files that look right from outside: what stands in them is malformed. One function a kind of file."""

import json
import os
import shutil

import h5py
import numpy as np
from form import FAILURE, USAGE, Case
from world import write_manifest

from tests.experiments.tiny_data import rows, write_activations, write_dictionary

DEEP = 100_000


def text(value):
    return value if isinstance(value, bytes) else value.encode()


# --- YAML

YAML = {
    "a tab": ("{key}: {{a: 1}}\nmore:\n\tb: 2\n", (":3", "tab")),
    "an open double quote": ('{key}: "abc\nmore: 1\n', (":1", "quote")),
    "an open single quote": ("{key}: 'abc\nmore: 1\n", (":1", "quote")),
    "an open brace": ("{key}: {{a: 1\nmore: 1\n", (":",)),
    "an open bracket": ("{key}: [1, 2\n", (":",)),
    "a key twice": ("{key}: {{}}\n{key}: {{}}\n", (":2", "{key}", "twice")),
    "an unknown key": ("zzz: 1\n", (":1", "zzz")),
    "an anchor": ("{key}: &a {{}}\n", (":1", "anchor")),
    "an alias": ("{key}: *a\n", (":1",)),
    "a tag": ("{key}: !!python/object {{}}\n", (":1", "tag")),
    "a list": ("- 1\n- 2\n", (":1", "list")),
    "a number": ("17\n", (":1", "17")),
    "100,000 brackets": ("{key}: " + "[" * DEEP, (":1",)),
    "a control byte": ("{key}: \x01\n", (":1", "0x01")),
    "a NUL": ("{key}: \x00\n", (":1", "0x00")),
    "two documents": ("{key}: {{}}\n---\n{key}: {{}}\n", (":", "document")),
    "two megabytes": ("#" * (2 << 20), ("1 MiB",)),
    "bytes that are not UTF-8": (b"zz\xe9: 1\n", (":1",)),
    "UTF-16": ("model: {}\n".encode("utf-16"), ("UTF-8",)),
    "a stray colon": ("{key}: a: b\n", (":1",)),
    "text": ("The model, of which: [we speak\n", (":",)),
}
SECTION = {"train": "model", "plan": "train", "sweep": "sweep", "bottleneck": "model"}
SECTION |= {"eval": "eval", "synthesize": "roots", "finetune": "lr"}
SETTINGS = {
    "steps 0": ("train: {steps: 0}", ("train.steps", "0")),
    "half a step": ("train: {steps: 1.5}", ("train.steps", "1.5")),
    "steps in words": ("train: {steps: many}", ("train.steps", "many")),
    "steps beyond 64 bits": ("train: {steps: 99999999999999999999}", ("train.steps",)),
    "a rate that is not finite": ("train: {lr: .nan}", ("train.lr", "nan")),
    "a rate of 1e300": ("train: {lr: 1e300}", ("train.lr", "1e300")),
    "a negative rate": ("train: {lr: -1}", ("train.lr", "-1")),
    "a list for a number": ("train: {lr: [1]}", ("train.lr", "list")),
    "nothing for a number": ("train: {lr: }", ("train.lr",)),
    "a number for a section": ("train: 3", ("train",)),
    "yes for true": ("train: {resample: maybe}", ("train.",)),
    "an unknown variant": ("model: {variant: topq}", ("topq", "topk")),
    "a misspelt key": ("train: {stepz: 3}", ("stepz", "steps")),
    "a key 4,000 bytes long": ("train: {" + "k" * 4000 + ": 3}", ("key",)),
    "no data": ("model: {n: 32}", ("data.path",)),
    "data that are not there": ("data: {path: /nowhere/at/all}", ("/nowhere/at/all",)),
}


def yaml_cases(folder, world, good):
    """good: command -> (arguments, the configuration's place in them)."""
    for number, (command, (arguments, at)) in enumerate(good.items()):
        chosen = list(YAML.items()) if command == "train" else list(YAML.items())[number::3]
        for what, (content, says) in chosen:
            key = SECTION[command]
            if isinstance(content, str):
                content = content.format(key=key)
            file = folder / f"{command}-{len(list(folder.iterdir()))}.yaml"
            file.write_bytes(text(content))
            said = tuple(part.format(key=key) for part in says)
            changed = arguments[:at] + [file] + arguments[at + 1 :]
            yield command, Case(what, changed, USAGE, (file.name, *said))
    for what, (content, says) in SETTINGS.items():
        file = folder / f"settings-{len(list(folder.iterdir()))}.yaml"
        file.write_text(content + "\n")
        status = FAILURE if "not there" in what else USAGE
        yield "train", Case(what, [file, "--out", "OUT"], status, says)
        if ": {" in content and status == USAGE and what != "no data":
            key, value = content.replace("}", "").replace(": {", ".").split(": ", 1)
            setting = f"{key}={value}"
            arguments = [world["c.yaml"], "--out", "OUT", "--set", setting]
            yield "train", Case(f"--set: {what}", arguments, USAGE, (*says[:1], "--set"))
    for setting in ("train.steps", "=5", "train..steps=5", "..=1", "", "train=5", "train.steps=[5"):
        arguments = [world["sweep.yaml"], "--out", "OUT", "--set", setting]
        yield "sweep", Case(f"--set '{setting}'", arguments, USAGE, ("--set",))


# --- JSON

JSON = {
    "nothing": ("", ()),
    "an open brace": ('{"format": "F"', ()),
    "a list": ("[1]", ()),
    "null": ("null", ()),
    "text behind it": ('{"format": "F"} and more', ()),
    "100,000 brackets": ('{"format": ' + "[" * DEEP, ()),
    "bytes that are not UTF-8": (b'{"format": "\xff\xfe"}', ()),
    "a lone surrogate": ('{"format": "\\ud800"}', ()),
    "a NUL": (b'{"format": "a\x00b"}', ()),
    "another format": ('{"format": "other"}', ()),
    "nothing but the format": ('{"format": "F"}', ()),
    "NaN": ('{"format": NaN}', ()),
}


def json_files(folder, name, facts):
    """Folders that differ in their `name`: (what, folder, parts of the line)."""
    for what, (content, says) in JSON.items():
        place = folder / f"{name}-{len(list(folder.iterdir()))}"
        place.mkdir()
        content = text(content).replace(b'"F"', facts["format"])
        (place / name).write_bytes(content + b"\n" * name.endswith(".jsonl"))
        yield what, place, (name, *says)


def twice(facts, key):
    """The JSON of `facts` where `key` stands again, with another value."""
    return json.dumps(facts)[:-1] + f', "{key}": 99}}'


CFG = {
    "n in words": ({"n": "many"}, ("n",)),
    "no n": ({"n": None}, ("n",)),
    "negative n": ({"n": -3}, ("n", "-3")),
    "n beyond 64 bits": ({"n": 1e30}, ("n",)),
    "a k that is a real": ({"k": 4.5}, ("k", "4.5")),
    "k beyond n": ({"k": 33}, ("k = 33", "n = 32")),
    "scale 0": ({"scale": 0}, ("scale",)),
    "hooks in words": ({"hooks": "mlp"}, ("hooks",)),
    "another version": ({"version": 99}, ("version", "99")),
    "an unknown variant": ({"variant": "soup"}, ("soup",)),
    "seed -1": ({"seed": -1}, ("seed",)),
}


def dictionary_cases(folder, world):
    use = lambda place: [place, world["x"], "--out", "OUT"]  # noqa: E731
    for number, (what, place, says) in enumerate(
        json_files(folder, "cfg.json", {"format": b'"assay-dictionary"'})
    ):
        shutil.copy(world["dict"] / "dictionary.safetensors", place)
        yield "encode", Case(f"cfg.json: {what}", use(place), FAILURE, says)
        command = ["decoder-shard", "inspect", "recover", "eval", "decode"][number % 5]
        arguments = {
            "decoder-shard": [place, "--out", "OUT"],
            "inspect": [place],
            "recover": [place, "--planted", world["planted"]],
            "eval": [place, "--data", world["shards"], "--out", "OUT"],
            "decode": [place, world["codes"], "--out", "OUT"],
        }[command]
        yield command, Case(f"cfg.json: {what}", arguments, FAILURE, says)
    for what, (change, says) in CFG.items():
        place = write_dictionary(folder / f"cfg {what}", **{"n": 32, "k": 4})
        facts = json.loads((place / "cfg.json").read_text()) | change
        (place / "cfg.json").write_text(json.dumps(facts))
        yield "encode", Case(f"cfg.json: {what}", use(place), FAILURE, ("cfg.json", *says))
    place = write_dictionary(folder / "cfg twice", n=32, k=4)
    facts = json.loads((place / "cfg.json").read_text())
    (place / "cfg.json").write_text(twice(facts, "k"))
    says = ("cfg.json", "'k'", "twice")
    yield "encode", Case("cfg.json: a key twice", use(place), FAILURE, says)
    good = (world["dict"] / "dictionary.safetensors").read_bytes()
    length = int.from_bytes(good[:8], "little")
    weights = {
        "nothing": b"",
        "7 bytes": good[:7],
        "a cut header": good[:60],
        "cut weights": good[:-4],
        "more than the weights": good + b"1234",
        "a header of 2^60 bytes": (2**60).to_bytes(8, "little") + good[8:],
        "a header in prose": good[:8] + b"x" * length + good[8 + length :],
        "a renamed tensor": good.replace(b'"W_enc"', b'"W_abc"'),
        "a transposed tensor": good.replace(b"[32,24]", b"[24,32]"),
        "another dtype": good.replace(b'"F32"', b'"I32"'),
        "a weight that is not finite": good[:-4] + np.float32(np.nan).tobytes(),
        "100,000 brackets": DEEP.to_bytes(8, "little") + b"[" * DEEP,
    }
    for what, content in weights.items():
        place = write_dictionary(folder / f"weights {what}", n=32, k=4)
        (place / "dictionary.safetensors").write_bytes(content)
        yield "encode", Case(f"weights: {what}", use(place), FAILURE, ("dictionary.safetensors",))


# --- HDF5


def change_activations(folder, what, change, **extra):
    path = write_activations(folder / f"{what}.h5".replace(" ", "-"), rows(60), **extra)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replace(value, name="activations", **options):
    def change(file):
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return change


def put(value):
    def change(file):
        del file["activations"]
        file["activations"] = value

    return change


def virtual(file):
    layout = h5py.VirtualLayout((60, 24), "f4")
    layout[:] = h5py.VirtualSource("gone.h5", "activations", (60, 24))
    del file["activations"]
    file.create_virtual_dataset("activations", layout)


def external(file):
    del file["activations"]
    file.create_dataset("activations", (60, 24), "f4", external=[("gone.bin", 0, 5760)])


def poison(file):
    file["activations"][17, 5] = np.nan


HDF5 = {
    "no activations": (lambda f: f.move("activations", "acts"), ("/activations",)),
    "a virtual data set": (virtual, ("/activations", "virtual", "gone.h5")),
    "an external data set": (external, ("/activations", "gone.bin")),
    "a link to another file": (
        put(h5py.ExternalLink("gone.h5", "/activations")),
        ("/activations", "link", "gone.h5"),
    ),
    "a link to nothing": (put(h5py.SoftLink("/nobody")), ("/activations", "link", "/nobody")),
    "a type": (put(np.dtype("f4")), ("/activations",)),
    "a group": (
        lambda f: (
            put(h5py.SoftLink("/x"))(f),
            f.__delitem__("activations"),
            f.create_group("activations"),
        ),
        ("/activations",),
    ),
    "one dimension": (replace(np.zeros(9, "f4")), ("/activations",)),
    "no dimension": (replace(np.float32(3)), ("/activations",)),
    "four dimensions": (replace(np.zeros((2, 3, 4, 5), "f4")), ("/activations",)),
    "integers": (replace(np.zeros((9, 24), "i4")), ("/activations",)),
    "texts": (replace(np.array([[b"a"] * 24] * 9)), ("/activations",)),
    "compounds": (replace(np.zeros((9, 24), [("a", "f4"), ("b", "i4")])), ("/activations",)),
    "complex numbers": (replace(np.zeros((9, 24), "c8")), ("/activations",)),
    "no rows": (replace(np.zeros((0, 24), "f4")), ("/activations", "0")),
    "no columns": (replace(np.zeros((9, 0), "f4")), ("/activations", "0")),
    "a row that is not finite": (poison, ("row 17", "column 5")),
    "too few documents": (replace(np.zeros(59, "i8"), "document"), ("/document", "59", "60")),
    "documents in two dimensions": (replace(np.zeros((60, 2), "i8"), "document"), ("/document",)),
    "labels beyond their classes": (
        lambda f: (
            replace(np.full(60, 7, "i4"), "labels/a")(f),
            f["labels/a"].attrs.__setitem__("classes", ["x"]),
        ),
        ("labels/a", "7"),
    ),
    "a hook of other length": (replace(np.zeros((59, 24), "f4"), "hooks/a"), ("/hooks/a", "59")),
}


def hdf5_cases(folder, world):
    for number, (what, (change, says)) in enumerate(HDF5.items()):
        path = change_activations(folder, what, change)
        parts = (path.name, *says)
        out = ["--out", "OUT"]
        yield "index", Case(what, [path, *out], FAILURE, parts)
        # Of no rows there are codes: none.
        if what != "no rows" and not any(word in what for word in ("label", "document", "hook")):
            yield "encode", Case(what, [world["dict"], path, *out], FAILURE, parts)
        if number < 12 and number != 4:
            yield "inspect", Case(what, [path], FAILURE, parts[:1])
        setting = f"data.path={path}"
        if number % 4 == 1 and "finite" not in what:  # of no index, so that is said first
            arguments = [world["c.yaml"], *out, "--set", setting]
            yield "train", Case(what, arguments, FAILURE, parts)
        if number % 4 == 3 and "label" not in what:  # read by the tasks that use it
            arguments = [world["dict"], "--data", path, *out, "--tasks", "core"]
            yield "eval", Case(what, arguments, FAILURE, parts)
    good = (world["shards"] / "x.h5").read_bytes()
    for share in (0.01, 0.5, 0.99):
        path = folder / f"cut-{share}.h5"
        path.write_bytes(good[: int(len(good) * share)])
        yield "index", Case(f"cut at {share}", [path, "--out", "OUT"], FAILURE, (path.name,))
    path = change_activations(folder, "other width", replace(np.zeros((9, 23), "f4")))
    arguments = [world["dict"], path, "--out", "OUT"]
    yield "encode", Case("other width", arguments, USAGE, (path.name, "d = 23", "d = 24"))


# --- the index

INDEX = {
    "a tab": (lambda t: t.replace("  - name", "\t- name"), ("index.yaml:", "tab")),
    "an open quote": (lambda t: t.replace('"activations"', '"activations'), ("index.yaml:", "quote")),
    "a key twice": (lambda t: t + "rows: 600\n", ("index.yaml:", "rows", "twice")),
    "an unknown key": (lambda t: t + "zzz: 600\n", ("index.yaml:", "zzz")),
    "no rows": (lambda t: t.replace("rows: 600\n", "", 1), ("index.yaml:", "rows")),
    "rows in words": (lambda t: t.replace("rows: 600\n", "rows: many\n", 1), ("index.yaml:",)),
    "other rows": (lambda t: t.replace("rows: 600\n", "rows: 601\n", 1), ("index.yaml:", "rows")),
    "a file that is not there": (lambda t: t.replace("x.h5", "y.h5"), ("y.h5",)),
    "text": (lambda t: "The rows, of which: [we speak", ("index.yaml:",)),
    "nothing": (lambda t: "", ("index.yaml",)),
    "a list": (lambda t: "- 1\n", ("index.yaml:",)),
    "an alias that multiplies": (
        lambda t: "a: &a [1,1,1]\nb: &b [*a,*a,*a]\nrows: *b\n",
        ("index.yaml:",),
    ),
    "10,000 brackets": (lambda t: "rows: " + "[" * 10_000, ("index.yaml",)),
    "a checksum cut short": (lambda t: t.replace('activations": "', 'activations": "z'), ("index.yaml:",)),
}  # fmt: skip


def index_cases(folder, world):
    good = (world["shards"] / "index.yaml").read_text()
    for number, (what, (change, says)) in enumerate(INDEX.items()):
        place = folder / f"index {number}"
        shutil.copytree(world["shards"], place)
        (place / "index.yaml").write_text(change(good))
        command, arguments = [
            ("encode", [world["dict"], place, "--out", "OUT"]),
            ("train", [world["c.yaml"], "--out", "OUT", "--set", f"data.path={place}"]),
            ("inspect", [place]),
            ("plan", [world["c.yaml"], "--set", f"data.path={place}"]),
            ("eval", [world["dict"], "--data", place, "--out", "OUT", "--tasks", "core"]),
        ][number % 5]
        yield command, Case(f"index.yaml: {what}", arguments, FAILURE, says)
    arguments = [world["shards"] / "x.h5", "--out", world["shards"]]
    yield "index", Case("the same again", arguments, USAGE, ("index.yaml", "--replace"))


# --- what runs leave


def run_cases(folder, world):
    damaged = {"results.json": {"schema": 1}, "metrics.jsonl": {}}
    for name in damaged:
        for what, place, says in json_files(folder, name, {"format": b'"x"'}):
            yield "report", Case(f"{name}: {what}", [place, "--out", "OUT"], FAILURE, says)
    place = folder / "results twice"
    place.mkdir()
    (place / "results.json").write_text(
        twice(json.loads((world["run"] / "results.json").read_text()), "seed")
    )
    says = ("results.json", "'seed'", "twice")
    yield "report", Case("a key twice", [place, "--out", "OUT"], FAILURE, says)
    step = next((world["run"] / "checkpoints").iterdir())
    for what, place, says in json_files(folder, "trainer.json", {"format": b'"x"'}):
        shutil.copy(step / "state.safetensors", place)
        yield "inspect", Case(f"trainer.json: {what}", [place], FAILURE, says)
    for name in ("checkpoints", "config.yaml", "dictionary"):
        place = folder / f"run without {name}"
        shutil.copytree(world["run"], place)
        (shutil.rmtree if (place / name).is_dir() else os.remove)(place / name)
        arguments = [place, "--model", world["model"], "--out", "OUT", "--trust-model-code"]
        yield "finetune", Case(f"a run without {name}", arguments, FAILURE, (place.name,))
    arguments = [world["c.yaml"], "--out", world["run"]]
    yield "train", Case("the same again", arguments, USAGE, ("run", "--resume"))
    place = folder / "planted"
    shutil.copytree(world["planted"], place)
    (place / "planted.yaml").write_text("d: [\n")
    arguments = [world["dict"], "--planted", place]
    yield "recover", Case("its planted.yaml", arguments, USAGE, ("planted.yaml:",))
    arguments = [world["dict"], "--planted", world["planted"]]
    yield "recover", Case("another width", arguments, USAGE, ("24", "8"))


def manifest_cases(folder, world):
    bad = {
        "d in words": dict(d="many"),
        "no files": dict(files=None),
        "a file that leads outside": dict(files={"lower_compiled": {"name": "../x", "sha256": ""}}),
        "a newer format": dict(format_version=9),
        "cpu_flags in words": dict(cpu_flags="avx"),
    }
    places = list(json_files(folder, "manifest.json", {"format": b'"assay-model-halves"'}))
    for what, change in bad.items():
        places.append((what, write_manifest(folder / f"manifest {what}", **change), ("manifest",)))
    place = write_manifest(folder / "manifest twice")
    facts = json.loads((place / "manifest.json").read_text())
    (place / "manifest.json").write_text(twice(facts, "layer"))
    places.append(("a key twice", place, ("manifest.json", "'layer'", "twice")))
    for what, place, says in places:
        arguments = ["--model", place, "--corpus", world["corpus"], "--out", "OUT"]
        yield "harvest", Case(f"manifest.json: {what}", arguments, FAILURE, says)


# --- foreign arrays


def foreign_cases(folder, world):
    np.save(folder / "good.npy", rows(20))
    good = (folder / "good.npy").read_bytes()
    files = {
        "a-cut.npy": good[:-8],
        "a-header.npy": good[:9],
        "a-prose.npy": b"no array at all",
        "a-python.npy": good.replace(b"'<f4'", b"'|O8'"),
        "a-columns.npy": good.replace(b"(20, 24)", b"(20, 25)"),
        "a-order.npy": good.replace(b"False", b"True "),
        "b-cut.safetensors": (200).to_bytes(8, "little") + b'{"x": {"dtype": "F32"',
        "b-empty.safetensors": (2).to_bytes(8, "little") + b"{}",
        "b-prose.safetensors": b"no tensors at all, none",
        "c-prose.arrow": b"no cache at all",
        "c-cut.arrow": b"ARROW1\0\0" + b"\xff" * 30,
        "d-text.csv": b"text\nabc\n",
    }
    for name, content in files.items():
        (folder / name).write_bytes(content)
        status = USAGE if name == "b-empty.safetensors" else FAILURE  # --tensor could choose
        yield "index", Case(name, [folder / name, "--out", "OUT"], status, (name,))
    arguments = [folder / "good.npy", world["x"], "--out", "OUT"]
    yield "index", Case("two kinds at once", arguments, USAGE, ("index",))
    arguments = [world["x"], "--tensor", "x", "--out", "OUT"]
    yield "index", Case("--tensor for HDF5", arguments, USAGE, ("--tensor",))
    arguments = [folder / "good.npy", "--dtype", "f12", "--out", "OUT"]
    yield "index", Case("an unknown --dtype", arguments, USAGE, ("f12",))


def evaluation_cases(folder, world):
    good = [world["dict"], "--data", world["shards"], "--out", "OUT"]
    for arguments, status, says in [
        ([*good, "--tasks", "coer"], USAGE, ("coer", "core")),
        ([*good, "--tasks", "splice"], USAGE, ("splice", "--model")),
        ([*good, "--null", "radnom"], USAGE, ("radnom", "random")),
        ([*good, "--null-dictionary", "frozen"], USAGE, ("--null-dictionary", "frozen")),
        ([*good, "--null-dictionary", "frozen_decoder=/none"], FAILURE, ("/none",)),
        ([*good, "--set", "eval.seeds=1"], USAGE, ("--set", "--config")),
        ([world["dict"], *good], USAGE, ("dict", "once")),
        (good[1:], USAGE, ("dictionary",)),
        ([world["dict"], "--out", "OUT"], USAGE, ("--data",)),
        ([world["dict"], "--data", world["shards"]], USAGE, ("--out",)),
    ]:
        yield "eval", Case(" ".join(map(str, arguments)), arguments, status, says)
    for arguments, says in [
        (["step", "--k", "9", "--latents", "8"], ("--k", "9", "8")),
        (["stpe"], ("stpe", "step")),
        (["topk", "--device", "cuda"], ("cuda",)),
    ]:
        yield "bench", Case(" ".join(arguments), arguments, USAGE, says)
    for arguments, says in [
        (["--kind", "toi", "--out", "OUT"], ("--kind", "toi")),
        (["--set", "n=0", "--out", "OUT"], ("n", "0")),
        ([], ("--out",)),
    ]:
        yield "synthesize", Case(" ".join(arguments), arguments, USAGE, says)


def content_cases(folder, world, yaml_places):
    makers = [dictionary_cases, hdf5_cases, index_cases, run_cases, manifest_cases, foreign_cases]
    for make in [*makers, evaluation_cases]:
        place = folder / make.__name__
        place.mkdir(parents=True)
        yield from make(place, world)
    place = folder / "yaml_cases"
    place.mkdir()
    yield from yaml_cases(place, world, yaml_places)
