"""Configurations and indexes, which are YAML: malformed, or with values that no command takes."""

import shutil

from form import DEEP, FAILURE, USAGE, Case, as_bytes

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
    "a key 4,000 bytes long": ("train: {" + "k" * 4000 + ": 3}", ("1,024",)),
    "no data": ("model: {n: 32}", ("data.path",)),
    "data that are not there": ("data: {path: /nowhere/at/all}", ("/nowhere/at/all",)),
}

# Said of a file; of --set, another line or none.
FILE_ALONE = ("no data", "a key 4,000 bytes long")


def yaml_cases(folder, world, good):
    """good: command -> (arguments, the configuration's place in them)."""
    for number, (command, (arguments, at)) in enumerate(good.items()):
        chosen = list(YAML.items()) if command == "train" else list(YAML.items())[number::3]
        for what, (content, says) in chosen:
            key = SECTION[command]
            if isinstance(content, str):
                content = content.format(key=key)
            file = folder / f"{command}-{len(list(folder.iterdir()))}.yaml"
            file.write_bytes(as_bytes(content))
            said = tuple(part.format(key=key) for part in says)
            changed = arguments[:at] + [file] + arguments[at + 1 :]
            yield command, Case(what, changed, USAGE, (file.name, *said))
    for what, (content, says) in SETTINGS.items():
        file = folder / f"settings-{len(list(folder.iterdir()))}.yaml"
        file.write_text(content + "\n")
        status = FAILURE if "not there" in what else USAGE
        yield "train", Case(what, [file, "--out", "OUT"], status, says)
        if ": {" in content and status == USAGE and what not in FILE_ALONE:
            key, value = content.replace("}", "").replace(": {", ".").split(": ", 1)
            setting = f"{key}={value}"
            arguments = [world["c.yaml"], "--out", "OUT", "--set", setting]
            yield "train", Case(f"--set: {what}", arguments, USAGE, (*says[:1], "--set"))
    arguments = [world["c.yaml"], "--out", "OUT", "--set", "train." + "k" * 4000 + "=3"]
    says = ("--set", "unknown key")
    yield "train", Case("--set: a key 4,000 bytes long", arguments, USAGE, says)
    for setting in ("train.steps", "=5", "train..steps=5", "..=1", "", "train=5", "train.steps=[5"):
        arguments = [world["sweep.yaml"], "--out", "OUT", "--set", setting]
        yield "sweep", Case(f"--set '{setting}'", arguments, USAGE, ("--set",))


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
