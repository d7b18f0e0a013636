"""A problem that every arm reads: batches of activations, held-out rows, initial weights, settings.

A folder with problem.json and raw little-endian files: x.bin [batches·rows, d] and test.bin [test, d] fp32, scaled to
E‖x‖² = 1; w_enc.bin, w_dec.bin [n, d] and b_dec.bin [d] fp32; dead.bin [n] bytes.
"""

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from tool import SourceError, open_h5  # noqa: E402

TEST_ROWS = 2048
DEAD_AFTER = 10_000_000  # tokens; the peers' own default


@dataclass(frozen=True)
class Problem:
    rows: int
    d: int
    n: int
    k: int = 32
    dead_percent: int = 0  # latents that start dead
    batches: int = 64
    seed: int = 0
    aux_coefficient: float = 1 / 32
    eps: float = 6.25e-10
    dead_after: int = DEAD_AFTER

    @property
    def name(self) -> str:
        return f"B{self.rows}-d{self.d}-n{self.n}-k{self.k}-dead{self.dead_percent}-x{self.batches}"

    @property
    def lr(self) -> float:
        """The rule of Gao et al. 2024, held constant."""
        return 2e-4 / (self.n / 2**14) ** 0.5


def shard_rows(shards: Path) -> np.ndarray:
    """Activations of every token that is neither special nor a sink, in the order of the texts, as stored."""
    parts = []
    for path in sorted(shards.glob("shard-*.h5")):
        with open_h5(path, "activations") as file:
            keep = np.ones(len(file["activations"]), bool)
            for column in {"special", "sink"} & set(file):
                keep &= file[column][:] == 0
            parts.append(file["activations"][:][keep])
    if not parts:
        raise SourceError(
            f"{shards}: no shard-*.h5; harvest activations first (experiments/quickstart.sh)"
        )
    return np.concatenate(parts)


def widened(rows: np.ndarray, d: int) -> np.ndarray:
    """Rows of d dimensions: d / width consecutive tokens side by side, for want of a wider model's activations."""
    width = rows.shape[1]
    if d % width:
        raise SourceError(f"d {d} is not a multiple of the activations' {width}")
    side = d // width
    return rows[: len(rows) // side * side].reshape(-1, d)


def write_batches(folder: Path, problem: Problem, rows: np.ndarray) -> np.ndarray:
    """x.bin and test.bin from shuffled rows, without repeats; the held-out rows at E‖x‖² = 1 come back."""
    order = np.random.default_rng(problem.seed).permutation(len(rows))
    wanted = problem.batches * problem.rows + TEST_ROWS
    if wanted > len(rows):
        raise SourceError(
            f"{wanted} rows wanted for {problem.batches} batches, {len(rows)} there: use fewer batches"
        )
    sample = rows[np.sort(order[:50_000])].astype(np.float32)
    scale = np.float32(1 / np.sqrt((sample.astype(np.float64) ** 2).sum(1).mean()))
    test = rows[order[:TEST_ROWS]].astype(np.float32) * scale
    test.tofile(folder / "test.bin")
    with open(folder / "x.bin", "wb") as file:
        for t in range(problem.batches):
            first = TEST_ROWS + t * problem.rows
            (rows[order[first : first + problem.rows]].astype(np.float32) * scale).tofile(file)
    return test


def write_weights(folder: Path, problem: Problem, centre: np.ndarray) -> None:
    """Decoder rows uniform on the sphere, encoder = decoder, b_dec given. Latents that start dead keep a tenth of their
    encoder row: their scores have both signs, as AuxK needs, and never reach the k largest."""
    random = np.random.default_rng(problem.seed + 1)
    w = random.standard_normal((problem.n, problem.d), dtype=np.float32)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    w.tofile(folder / "w_dec.bin")
    dead = np.zeros(problem.n, bool)
    dead[random.permutation(problem.n)[: problem.n * problem.dead_percent // 100]] = True
    w[dead] *= np.float32(0.1)
    w.tofile(folder / "w_enc.bin")
    centre.astype(np.float32).tofile(folder / "b_dec.bin")
    dead.astype(np.uint8).tofile(folder / "dead.bin")


def make(problem: Problem, rows: np.ndarray, folder: Path) -> Path:
    """Write the problem into folder; what a whole earlier call left there is used again."""
    settings = folder / "problem.json"
    if settings.exists():
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    test = write_batches(folder, problem, rows)
    write_weights(folder, problem, test.mean(0))
    variance = float(((test - test.mean(0, dtype=np.float64)) ** 2).sum(1).mean())
    content = asdict(problem) | {"lr": problem.lr, "variance": variance}
    settings.write_text(json.dumps(content, indent=1) + "\n")
    return folder


def from_shards(problem: Problem, shards: Path, work: Path) -> Path:
    folder = work / problem.name
    if (folder / "problem.json").exists():
        return folder
    return make(problem, widened(shard_rows(shards), problem.d), folder)


def held_out_fvu(problem: Path, weights: Path) -> tuple[float, float]:
    """FVU and mean count of positive latents on the held-out rows, of the weights an arm saved, in dense fp32."""
    import torch

    settings = json.loads((problem / "problem.json").read_text())
    d, n, k = settings["d"], settings["n"], settings["k"]

    def load(name: str, *shape: int) -> torch.Tensor:
        return torch.from_numpy(np.fromfile(weights / name, np.float32)).view(*shape)

    x = torch.from_numpy(np.fromfile(problem / "test.bin", np.float32)).view(-1, d)
    w_enc, w_dec = load("w_enc.bin", n, d), load("w_dec.bin", n, d)
    b_enc, b_dec = load("b_enc.bin", n), load("b_dec.bin", d)
    squares = active = 0.0
    for part in x.split(512):
        values, indices = torch.addmm(b_enc, part - b_dec, w_enc.T).topk(k, dim=1, sorted=False)
        values = values.relu()
        decoded = (
            torch.nn.functional.embedding_bag(indices, w_dec, per_sample_weights=values, mode="sum")
            + b_dec
        )
        squares += (part - decoded).double().pow(2).sum().item()
        active += (values > 0).sum().item()
    total = (x - x.mean(0)).double().pow(2).sum().item()
    return squares / total, active / len(x)
