"""Paths that are not what a command wants: each of its inputs is replaced by a third of these in turn."""

import os

from form import EITHER, USAGE, Case

# Arguments of each command; {name} is one of the world's good inputs.
GOOD = {
    "harvest": ["--model", "{model}", "--corpus", "{corpus}", "--out", "OUT", "--trust-model-code"],
    "index": ["{x}", "--out", "OUT"],
    "plan": ["{c.yaml}"],
    "train": ["{c.yaml}", "--out", "OUT"],
    "sweep": ["{sweep.yaml}", "--out", "OUT"],
    "finetune": ["{run}", "--model", "{model}", "--out", "OUT", "--config", "{finetune.yaml}"],
    "bottleneck": ["{outside.yaml}", "--out", "OUT"],
    "eval": [
        "{dict}",
        "--data",
        "{shards}",
        "--out",
        "OUT",
        "--config",
        "{c.yaml}",
        "--tasks",
        "core",
    ],
    "encode": ["{dict}", "{x}", "--out", "OUT"],
    "decode": ["{dict}", "{codes}", "--out", "OUT"],
    "import": ["{foreign}", "--out", "OUT"],
    "export": ["{dict}", "--format", "saelens", "--out", "OUT"],
    "inspect": ["{x}"],
    "report": ["{run}", "--out", "OUT"],
    "bench": ["topk"],
    "config": [],
    "synthesize": ["{planted.yaml}", "--out", "OUT"],
    "recover": ["{dict}", "--planted", "{planted}"],
    "decoder-shard": ["{dict}", "--out", "OUT"],
}


def make_bad_paths(folder):
    """(what it is, path, what a line must show of it)."""
    folder.mkdir()
    (folder / "empty").write_bytes(b"")
    (folder / "noise").write_bytes(bytes(range(256)) * 40)
    (folder / "prose").write_text("These are no numbers: nor {keys, [nor lists.\n" * 3)
    (folder / "folder").mkdir()
    (folder / "line\nbreak").write_bytes(b"\x01\x02")
    latin = os.fsencode(folder / "latin-") + b"\xe9"
    with open(latin, "wb") as file:
        file.write(b"\x01\x02")
    (folder / "loop").symlink_to("loop")
    return [
        ("nothing there", folder / "nowhere", "nowhere"),
        ("an empty file", folder / "empty", "empty"),
        ("noise", folder / "noise", "noise"),
        ("prose", folder / "prose", "prose"),
        ("an empty folder", folder / "folder", "folder"),
        ("a path behind a file", folder / "noise" / "below", "noise"),
        ("a name of 300 bytes", folder / ("n" * 300), "nnn"),
        ("a line break in the name", folder / "line\nbreak", "break"),
        ("a name that is not UTF-8", os.fsdecode(latin), "latin-"),
        ("a link to itself", folder / "loop", "loop"),
    ]


def fill(arguments, world):
    return [world[a[1:-1]] if a.startswith("{") else a for a in arguments]


def path_cases(command, world, bad_paths):
    good = GOOD[command]
    turn = list(GOOD).index(command)
    for at, slot in enumerate(good):
        if not slot.startswith("{"):
            continue
        name = slot[1:-1]
        for what, path, shown in bad_paths[(turn + at) % 3 :: 3]:
            if name.endswith(".yaml") and what == "an empty file":
                continue  # all defaults: a configuration like another
            arguments = fill(good, world)
            arguments[at] = path
            status = USAGE if name.endswith(".yaml") else EITHER
            yield Case(f"{name}: {what}", arguments, status, (shown,))
