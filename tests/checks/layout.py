"""Includes go one way. `python tests/checks/layout.py [ROOT]` prints every include that does not, and exits with 1.

    kernels -> data -> sae -> eval -> experiments
    kernels: base, then the operations, then cuda          data: base, then the rest
    eval: statistics, learners, results, encoding, report, tasks, sweep

A room includes itself and what stands before it. Further: report includes results, statistics and the two bases
alone, so that it draws what a results file says and knows no task. A family in eval/tasks includes no other family,
and of the files beside the families only all.cpp includes them.
"""

import re
import sys
from pathlib import Path

LAYERS = ["kernels", "data", "sae", "eval", "experiments"]
# Rooms of a layer in their order; "" is the folder itself with what is not named.
ROOMS = {
    "kernels": ["base", "", "cuda"],
    "data": ["base", ""],
    "eval": ["statistics", "learners", "results", "encoding", "report", "tasks", "sweep"],
}
REPORT_SEES = {"kernels/base", "data/base", "eval/statistics", "eval/results", "eval/report"}
# Families that build on another one's samples or scores.
FAMILY_EDGES = {
    ("attention_probing", "probing"),
    ("debugging", "hidden_goals"),
    ("debugging", "spurious"),
    ("spurious", "probing"),
}
# (including file, included file): known, to be mended rather than imitated.
KNOWN = {
    ("kernels/base/context.cpp", "kernels/cuda/cuda_device.h"),  # a context asks what there is
    ("kernels/base/context.cpp", "kernels/primitives.h"),
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


def room(path):
    """("eval", "tasks") of eval/tasks/core/core.h; the second is "" where the layer has no such room."""
    layer, *folders = path.split("/")[:-1]
    rooms = ROOMS.get(layer, [""])
    return layer, folders[0] if folders and folders[0] in rooms else ""


def family(path):
    """ "core" of eval/tasks/core/core.h; "" of eval/tasks/run.cpp."""
    parts = path.split("/")
    return parts[2] if parts[:2] == ["eval", "tasks"] and len(parts) > 3 else ""


def objection(source, target):
    """Why source must not include target; None where it may."""
    (layer, inside), (other, beside) = room(source), room(target)
    if layer != other:
        if LAYERS.index(other) > LAYERS.index(layer):
            return f"{layer}/ stands before {other}/"
    else:
        rooms = ROOMS.get(layer, [""])
        if inside not in rooms or beside not in rooms:
            return f"{layer}/ has these rooms only: {', '.join(rooms)}"
        if rooms.index(beside) > rooms.index(inside):
            return f"{layer}/{inside} stands before {layer}/{beside}"
    if (layer, inside) == ("eval", "report") and f"{other}/{beside}" not in REPORT_SEES:
        return "eval/report includes results, statistics and the bases alone"
    mine, theirs = family(source), family(target)
    if not theirs or mine == theirs or source == "eval/tasks/all.cpp":
        return None
    if (layer, inside) != ("eval", "tasks"):
        return None  # later rooms may
    return (
        None if (mine, theirs) in FAMILY_EDGES else "a family of tasks is included by all.cpp alone"
    )


def violations(root):
    for path in sorted(p for layer in LAYERS for p in (root / layer).rglob("*")):
        if path.suffix not in {".h", ".cpp", ".cuh", ".cu"}:
            continue
        source = path.relative_to(root).as_posix()
        for target in INCLUDE.findall(path.read_text()):
            if target.split("/")[0] not in LAYERS or (source, target) in KNOWN:
                continue
            why = objection(source, target)
            if why:
                yield f"{source}: includes {target}: {why}"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    found = list(violations(root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
