"""What the makers of published dictionaries share: sizes, random rows and weights, and what a Kind is."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

D, N, OUT, ROWS, K = 24, 96, 40, 64, 8

# Rows [B, d] to the dense codes [B, n] and the reconstruction [B, d_out] of a peer.
Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Kind:
    """A published dictionary: who writes it, and how `assay import` is called on it."""

    format: str
    make: Callable  # (folder, rng, x): writes its files
    source: str = ""  # what is imported, in the folder; "": the folder
    k: int = 0  # given by --k
    refused: str = ""  # a word of the one line that refuses it; no peer runs it then
    second: str = ""  # another peer that reads the same file

    @property
    def options(self) -> list:
        return ["--k", self.k] if self.k else []


def generator(name: str, attempt: int) -> np.random.Generator:
    return np.random.default_rng([zlib.crc32(name.encode()), attempt])


def rows(rng) -> np.ndarray:
    """Standard deviation 5, and a mean that is not small beside it."""
    return (5 * rng.standard_normal((ROWS, D)) + 4 * rng.standard_normal(D)).astype(np.float32)


def encoder(rng, d: int = D) -> np.ndarray:
    """[n, d]: pre-activations of `rows` have a standard deviation near 1.5."""
    return 0.3 * rng.standard_normal((N, d)) / np.sqrt(d)


def decoder(rng, d_out: int = D, unit: bool = False) -> np.ndarray:
    """[n, d_out], rows of lengths from a half to two unless `unit`."""
    directions = rng.standard_normal((N, d_out))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions if unit else directions * rng.uniform(0.5, 2, (N, 1))


def thresholds(rng) -> np.ndarray:
    return rng.uniform(0.3, 1.5, N)


def encoder_bias(rng, pre: np.ndarray, threshold=0.0) -> np.ndarray:
    """[n], so that each latent passes its threshold in 5 to 20 % of the rows; half-way between two."""
    share = rng.uniform(0.05, 0.2, pre.shape[1])
    passing = [
        np.quantile(column, 1 - s, method="midpoint")
        for column, s in zip(pre.T, share, strict=True)
    ]
    return threshold - np.array(passing)


def relu(pre: np.ndarray) -> np.ndarray:
    return np.maximum(pre, 0)


def top_k(pre: np.ndarray, k: int) -> np.ndarray:
    """The k largest of each row, ReLU'd; zeros elsewhere."""
    kept = np.argsort(-pre, axis=1, kind="stable")[:, :k]
    codes = np.zeros_like(pre)
    np.put_along_axis(codes, kept, relu(np.take_along_axis(pre, kept, axis=1)), axis=1)
    return codes


def batch_top_k(pre: np.ndarray, k: int) -> np.ndarray:
    """The k·B largest of all B rows together, ReLU'd."""
    flat = relu(pre).ravel()
    codes = np.zeros_like(flat)
    kept = np.argsort(-flat, kind="stable")[: k * len(pre)]
    codes[kept] = flat[kept]
    return codes.reshape(pre.shape)


def only_file(path: Path, pattern: str) -> Path:
    """`path`, or the one file below it of that name."""
    if path.is_file():
        return path
    (file,) = path.rglob(pattern)
    return file
