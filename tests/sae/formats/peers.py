"""Runs the peers, in .venv-formats. `import_test.py` and `export_test.py` drive it from the project's environment.

peers.py make KIND OUT         OUT/KIND/{model/…, x.npy, expected.npz}: codes [B, n], reconstruction [B, d_out]
peers.py make-all OUT          the same of every kind, in one process, since importing a peer takes seconds
peers.py run FORMAT FOLDER X.npy OUT.npz      what the peer of that format makes of rows
peers.py serve                 a line «FORMAT FOLDER X.npy OUT.npz» at a time; answers «ok», or what went wrong
"""

import os
import shlex
import shutil
import sys
import traceback
from pathlib import Path

import circuit_tracer_kinds
import dictionary_learning_kinds
import numpy as np
import openmoss_kinds
import plain_kinds
import saelens_kinds
import sparsify_kinds
from tiny_kind import Kind, Model, generator, rows

FAMILIES = (
    saelens_kinds,
    sparsify_kinds,
    dictionary_learning_kinds,
    circuit_tracer_kinds,
    plain_kinds,
    openmoss_kinds,
)
KINDS: dict[str, Kind] = {name: kind for family in FAMILIES for name, kind in family.KINDS.items()}
LOADERS = {
    "saelens": saelens_kinds.load,
    "sparsify": sparsify_kinds.load,
    "dictionary_learning": dictionary_learning_kinds.load,
    "circuit_tracer": circuit_tracer_kinds.load,
    **plain_kinds.LOADERS,
    **openmoss_kinds.LOADERS,
}


def decided(model: Model, x: np.ndarray) -> bool:
    """Are the same latents active when rows move by what rounding may move them?"""
    active = model(x)[0] != 0
    step = 3e-6 * np.abs(x).max() * np.random.default_rng(0).choice([-1, 1], x.shape)
    return all(
        np.array_equal(model((x + sign * step).astype(np.float32))[0] != 0, active)
        for sign in (1, -1)
    )


def check(name: str, kind: Kind, folder: Path, x: np.ndarray, codes, reconstruction) -> None:
    """Sane numbers, and those of the second peer where one reads the same file."""
    l0 = (codes != 0).sum(axis=1).mean()
    assert 3 < l0 < 20, f"{name}: L0 {l0}"
    assert codes.min() >= 0 and np.isfinite(reconstruction).all(), name
    if not kind.second:
        return
    import second_readers

    scale = openmoss_kinds.unit(openmoss_kinds.LENGTH)
    others = second_readers.read(kind.second, kind.format, folder, scale)(x)
    for mine, theirs, what in zip((codes, reconstruction), others, ("codes", "rows"), strict=True):
        apart = np.abs(mine - theirs).max() / np.abs(mine).max()
        assert apart < 1e-5, f"{name}: {what} of {kind.second} are {apart} apart"


def make(name: str, out: Path) -> None:
    """Seeds are tried until no latent is so near its threshold that rounding decides."""
    kind, folder = KINDS[name], out / name / "model"
    for attempt in range(50):
        rng = generator(name, attempt)
        x = rows(rng)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        kind.make(folder, rng, x)
        if kind.refused:
            break
        model = LOADERS[kind.format](folder / kind.source, kind.k)
        if decided(model, x):
            codes, reconstruction = model(x)
            check(name, kind, folder, x, codes, reconstruction)
            np.savez(out / name / "expected.npz", codes=codes, reconstruction=reconstruction)
            break
    else:
        raise AssertionError(f"{name}: no seed decides what is active")
    np.save(out / name / "x.npy", x)


def run(format_name: str, folder: str, x: str, out: str, k: str = "0") -> None:
    codes, reconstruction = LOADERS[format_name](Path(folder), int(k))(np.load(x))
    np.savez(out, codes=codes, reconstruction=reconstruction)


def serve() -> None:
    """The peers print what they like; the answers go to what was stdout."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            main(*shlex.split(line))
            answer = "ok"
        except Exception as error:
            traceback.print_exc()
            answer = f"{type(error).__name__}: {error}".replace("\n", " ")
        print(answer, file=answers, flush=True)


def main(command: str, *arguments: str) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    if command == "make":
        make(arguments[0], Path(arguments[1]))
    elif command == "make-all":
        for name in KINDS:
            make(name, Path(arguments[0]))
    elif command == "run":
        run(*arguments)
    elif command == "serve":
        serve()
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(*sys.argv[1:] or [""])
