"""What the import and export tests share: Assay's codes and reconstructions as arrays, refusals, comparisons."""

import os
import subprocess

import h5py
import numpy as np

from tests.experiments.tiny_data import assay, write_activations

TOLERANCE = 1e-5


def encode(dictionary, x: np.ndarray, folder) -> np.ndarray:
    """Dense codes [B, n] of `assay encode`; the codes file stays in the folder for `decode`."""
    folder.mkdir(exist_ok=True)
    write_activations(folder / "x.h5", x)
    assay("encode", dictionary, folder / "x.h5", "--out", folder / "codes.h5")
    with h5py.File(folder / "codes.h5") as file:
        offsets, indices, values = (file[k][:] for k in ("row_offsets", "indices", "values"))
        dense = np.zeros((len(x), file.attrs["n"]), np.float32)
    dense[np.repeat(np.arange(len(x)), np.diff(offsets)), indices] = values
    return dense


def decode(dictionary, folder) -> np.ndarray:
    """What `assay decode` makes of the codes that `encode` left there."""
    files = ["--activations", folder / "x.h5", "--out", folder / "back.h5"]
    assay("decode", dictionary, folder / "codes.h5", *files)
    with h5py.File(folder / "back.h5") as file:
        return file["activations"][:]


def same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.shape == expected.shape
    apart = np.abs(found - expected).max() / np.abs(expected).max()
    assert apart <= TOLERANCE, f"{apart} of the largest apart"


def same_codes(found: np.ndarray, expected: np.ndarray) -> None:
    """The same latents are active, with the same values."""
    wrong = (found != 0) != (expected != 0)
    assert not wrong.any(), f"{wrong.sum()} of {(expected != 0).sum()} are active in one alone"
    same(found, expected)


def refusal(*arguments) -> str:
    """The one line of a command that must refuse."""
    done = subprocess.run(
        [os.environ["ASSAY"], *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode in (1, 2) and done.stdout == "", f"exit {done.returncode}: {done.stderr}"
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("assay: ")
    return line
