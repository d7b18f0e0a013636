"""Activations that know nothing: a control data set to train a dictionary on.

    python experiments/nulls/null_activations.py SHARDS --kind shuffled --out NULL.h5
    assay index NULL.h5 --out NULL_SHARDS

  shuffled  every dimension permuted over the ordinary rows on its own: each dimension's distribution stays, what
            dimensions say together is gone
  gaussian  normal with the mean and covariance of the ordinary rows: second moments stay, all else is gone

Special rows and sinks are left out. Document numbers stay where they were (of the row, not of any text), so splits
have the same sizes. A dictionary trained on the result with the same configuration and seed is passed to
`assay eval --null-dictionary shuffled=RUN`.
"""

import sys
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from safe_write import write_beside  # noqa: E402
from tool import Parser, as_tool, open_h5, shard_files  # noqa: E402

CHUNK_BYTES = 8 << 20


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("shards", type=Path, help="folder of HDF5 shards")
    parser.add_argument("--kind", choices=["shuffled", "gaussian"], required=True)
    parser.add_argument("--out", type=Path, required=True, help="HDF5 file to write")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    x, document = read(shard_files(args.shards))
    rng = np.random.default_rng(args.seed)
    write(args.out, null_rows(x, args.kind, rng), document)
    print(f"wrote {args.out}: {len(x)} rows of {x.shape[1]}")


def read(files):
    """Ordinary rows as fp32, and their documents."""
    rows, documents = [], []
    for path in files:
        with open_h5(path, "activations") as file:
            stored = file["activations"]
            x = stored[:]
            if stored.dtype == np.uint16:  # bf16: the upper half of an fp32
                x = (x.astype(np.uint32) << 16).view(np.float32)
            ordinary = np.ones(len(x), bool)
            for column in {"special", "sink"} & set(file):
                ordinary &= file[column][:] == 0
            rows.append(x[ordinary].astype(np.float32))
            documents.append(
                file["document"][:][ordinary] if "document" in file else np.arange(ordinary.sum())
            )
    return np.concatenate(rows), np.concatenate(documents)


def null_rows(x, kind, rng):
    if kind == "shuffled":
        for j in range(x.shape[1]):
            x[:, j] = x[rng.permutation(len(x)), j]
        return x
    mean = x.mean(0, dtype=np.float64)
    covariance = np.zeros((x.shape[1], x.shape[1]))
    for at in range(0, len(x), 65536):
        centred = x[at : at + 65536] - mean
        covariance += centred.T @ centred
    values, vectors = np.linalg.eigh(covariance / (len(x) - 1))
    root = vectors * np.sqrt(np.maximum(values, 0))
    out = np.empty_like(x)
    for at in range(0, len(x), 65536):
        count = min(65536, len(x) - at)
        out[at : at + count] = rng.standard_normal((count, x.shape[1])) @ root.T + mean
    return out


def write(path, x, document):
    with write_beside(path) as part, h5py.File(part, "w") as file:
        rows = max(1, min(len(x), CHUNK_BYTES // (4 * x.shape[1])))
        file.create_dataset("activations", data=x, chunks=(rows, x.shape[1]))
        file.create_dataset("document", data=document.astype(np.int64))


if __name__ == "__main__":
    main()
