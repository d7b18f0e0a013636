"""A conversion that was killed goes on with its own sources only."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.experiments.tiny_data import assay, rows
from tests.experiments.train_support import files_of


def convert(out, *sources, status=0, **options):
    more = [f"--{name}={value}" for name, value in options.items()]
    return assay("index", *sources, "--out", out, "--rows-per-shard", "10", *more, status=status)


def kill_after_two_shards(out):
    (out / "index.yaml").unlink()
    for shard in sorted(out.glob("shard-*.h5"))[2:]:
        shard.unlink()


@pytest.fixture
def sources(tmp_path):
    for seed, name in enumerate("ab"):
        np.save(tmp_path / f"{name}.npy", rows(35, seed=seed))
    return tmp_path / "a.npy", tmp_path / "b.npy"


def test_it_ends_in_the_same_bytes_wherever_the_sources_lie(tmp_path, sources):
    a, b = sources
    out = tmp_path / "out"
    convert(out, a, b)
    whole = files_of(out)
    kill_after_two_shards(out)
    moved = a.rename(tmp_path / "moved.npy")
    convert(out, moved, b)
    assert files_of(out) == whole


def test_leftovers_of_other_sources_are_refused(tmp_path, sources):
    a, b = sources
    out = tmp_path / "out"
    convert(out, a)
    kill_after_two_shards(out)
    left = files_of(out)
    changed = rows(35, seed=0)
    changed[30, 0] += 1  # beyond the shards that are there
    np.save(tmp_path / "changed.npy", changed)
    for others in ((b,), (a, b), (b, a), (tmp_path / "changed.npy",)):
        line = convert(out, *others, status=1)
        assert "source_hash" in line and "cannot resume" in line
        assert files_of(out) == left
    convert(out, a)


def test_leftovers_of_another_tensor_are_refused(tmp_path):
    file, out = tmp_path / "x.safetensors", tmp_path / "out"
    save_file({"one": rows(35, seed=0), "two": rows(35, seed=1)}, file)
    convert(out, file, tensor="one")
    kill_after_two_shards(out)
    assert "source_hash" in convert(out, file, tensor="two", status=1)


def test_shards_of_another_command_are_refused(tmp_path, sources):
    out = tmp_path / "out"
    assay("synthesize", "--set", "rows=30", "--set", "d=24", "--rows-per-shard", "10", "--out", out)
    kill_after_two_shards(out)
    assert "cannot resume" in convert(out, sources[0], status=1)
    (out / "planted.yaml").unlink()
    line = assay("synthesize", "--set", "rows=30", "--set", "d=24", "--rows-per-shard", "10",
                 "--out", out, status=2)  # fmt: skip
    assert "planted.yaml" in line
