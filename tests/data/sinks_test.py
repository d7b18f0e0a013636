"""Rows of huge norm: found, marked, counted, left out of statistics, training and scores; kept on request."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent.parent / "experiments"))
from tiny_data import assay, assay_json, write_dictionary

D, ROWS = 24, 6000


@pytest.fixture
def data():
    """Rows around a mean, a tenth of them special; 90 have 30 to 300 times the norm, some special ones among them."""
    rng = np.random.default_rng(5)
    x = rng.normal(0.5, 1.0, (ROWS, D)).astype(np.float32)
    sinks = rng.choice(ROWS, 90, replace=False)
    x[sinks] *= rng.uniform(30, 300, (90, 1)).astype(np.float32)
    special = (np.arange(ROWS) % 10 == 0).astype(np.uint8)
    return {"activations": x, "special": special, "document": np.arange(ROWS) // 30}


def write(path, **columns):
    with h5py.File(path, "w") as f:
        for name, values in columns.items():
            f[name] = values
    return path


def marks_of(x, special=None):
    """The definition, by sorting."""
    norms = np.linalg.norm(x.astype(np.float64), axis=1)
    ordinary = norms[(norms > 0) & (special == 0 if special is not None else True)]
    return norms > 10 * np.sort(ordinary)[(len(ordinary) - 1) // 2]


def statistics(x):
    x = x.astype(np.float64)
    return ((x - x.mean(0)) ** 2).sum(1).mean(), 1 / np.sqrt((x**2).sum(1).mean())


def share_of(x, marks):
    squares = (x.astype(np.float64) ** 2).sum(1)
    return squares[marks].sum() / squares.sum()


def test_found_in_foreign_files(tmp_path, data):
    half = {name: values[: ROWS // 2] for name, values in data.items()}
    rest = {name: values[ROWS // 2 :] for name, values in data.items()}
    files = [write(tmp_path / "a.h5", **half), write(tmp_path / "b.h5", **rest)]
    info = assay_json("index", *files, "--out", tmp_path / "set")
    marks = np.concatenate([marks_of(p["activations"], p["special"]) for p in (half, rest)])
    assert info["sinks"] == marks.sum() == 90
    assert info["sink_share"] == pytest.approx(share_of(data["activations"], marks), rel=1e-9)
    kept = data["activations"][~marks & (data["special"] == 0)]
    assert (info["variance"], info["scale"]) == pytest.approx(statistics(kept), rel=1e-9)
    with h5py.File(tmp_path / "set" / "sinks.hdf5") as f:
        np.testing.assert_array_equal(f["sink"][:], marks)
    facts = assay_json("inspect", tmp_path / "set")
    assert facts["sinks"] == 90 and facts["hooks"][0]["sink_share"] == info["sink_share"]
    assert facts["hooks"][0]["rows_counted"] == len(kept)
    index = yaml.safe_load((tmp_path / "set" / "index.yaml").read_text())
    assert index["sinks"] == {"rows": 90, "share": [pytest.approx(info["sink_share"])]}
    assert [f["sinks"]["rows"] for f in index["files"]] == [
        marks[: ROWS // 2].sum(),
        marks[ROWS // 2 :].sum(),
    ]


def test_every_hook_counts(tmp_path, data):
    other = np.random.default_rng(1).normal(size=(ROWS, 8)).astype(np.float32)
    other[77] *= 1000
    a = write(tmp_path / "a.h5", **data, **{"hooks/other": other})
    info = assay_json("index", a, "--out", tmp_path / "set")
    marks = marks_of(data["activations"], data["special"]) | marks_of(other, data["special"])
    assert info["sinks"] == marks.sum() == 91


@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_shards_carry_their_marks(tmp_path, data, dtype):
    np.save(tmp_path / "x.npy", data["activations"])
    out = tmp_path / "set"
    info = assay_json(
        "index", tmp_path / "x.npy", "--out", out, "--dtype", dtype, "--rows-per-shard", 2500
    )
    kept, counted = [], 0
    for path in sorted(out.glob("shard-*.h5")):
        with h5py.File(path) as f:
            x = f["activations"][:]
            if dtype == "bf16":
                x = (x.astype(np.uint32) << 16).view(np.float32)
            marks = marks_of(x)
            np.testing.assert_array_equal(f["sink"][:], marks)
            counted += f["sink"].attrs["rows"]
            kept.append(x[~marks])
            mean = kept[-1].astype(np.float64).mean(0)
            np.testing.assert_allclose(f["activations"].attrs["mean"], mean, rtol=1e-9)
    assert info["sinks"] == counted == 90
    assert (info["variance"], info["scale"]) == pytest.approx(
        statistics(np.concatenate(kept)), rel=1e-9
    )
    assert not (out / "sinks.hdf5").exists()


def test_marks_in_the_file_are_kept(tmp_path, data):
    given = np.zeros(ROWS, np.uint8)
    given[[3, 5, 8]] = 1
    a = write(tmp_path / "a.h5", **data, sink=given)
    info = assay_json("index", a, "--out", tmp_path / "set")
    assert info["sinks"] == 3
    kept = data["activations"][(given == 0) & (data["special"] == 0)]
    assert info["variance"] == pytest.approx(statistics(kept)[0], rel=1e-9)


def test_none_in_ordinary_data_and_none_known_in_old_indexes(tmp_path, data):
    x = np.random.default_rng(2).normal(0.5, 1.0, (ROWS, D)).astype(np.float32)
    x[100:2000] = 0  # zero vectors do not move the median to nothing
    a = write(tmp_path / "a.h5", activations=x)
    assert assay_json("index", a, "--out", tmp_path / "set")["sinks"] == 0
    assert not (tmp_path / "set" / "sinks.hdf5").exists()
    file = tmp_path / "set" / "index.yaml"
    index = yaml.safe_load(file.read_text())
    del index["sinks"], index["files"][0]["sinks"]
    file.write_text(yaml.safe_dump(index))
    facts = assay_json("inspect", tmp_path / "set")
    assert facts["sinks"] is None and facts["content_hash"] == index["content_hash"]


def test_sinks_change_the_hash_and_changed_marks_are_refused(tmp_path, data):
    a = write(tmp_path / "a.h5", **data)
    first = assay_json("index", a, "--out", tmp_path / "set")
    b = write(tmp_path / "b.h5", **data, sink=np.zeros(ROWS, np.uint8))
    assert assay_json("index", b, "--out", tmp_path / "b")["content_hash"] != first["content_hash"]
    dictionary = write_dictionary(tmp_path / "d", d=D)
    encode = ["encode", dictionary, tmp_path / "set", "--out", tmp_path / "codes.h5"]
    assay(*encode, "--fvu", "all")
    with h5py.File(tmp_path / "set" / "sinks.hdf5", "a") as f:
        f["sink"][0] = 1 - f["sink"][0]
    line = assay(*encode, "--fvu", "all", status=1)
    assert "sinks.hdf5" in line and "assay index" in line
    (tmp_path / "set" / "sinks.hdf5").unlink()
    assert "sinks.hdf5: no such file" in assay(*encode, "--fvu", "all", status=1)


def core(dictionary, folder, out, **settings):
    config = out.with_suffix(".yaml")
    config.write_text(yaml.safe_dump({"data": {"validation": 0.4, **settings}}))
    results = assay_json(
        *("eval", dictionary, "--data", folder, "--out", out, "--config", config),
        *("--tasks", "core", "--null", "none"),
    )
    [task] = results["tasks"]
    assert task["status"] == "ok", task["reason"]
    return {n["metric"]: n["value"] for n in task["numbers"] if n["part"] == "validation"}


def test_scores_are_of_ordinary_rows_with_the_others_beside_them(tmp_path, data):
    dictionary = write_dictionary(tmp_path / "d", d=D)
    marks = marks_of(data["activations"], data["special"])
    for name, keep in {"all": slice(None), "ordinary": ~marks}.items():
        a = write(tmp_path / f"{name}.h5", **{n: v[keep] for n, v in data.items()})
        assay("index", a, "--out", tmp_path / name)
    found = core(dictionary, tmp_path / "all", tmp_path / "one")
    without = core(dictionary, tmp_path / "ordinary", tmp_path / "two")
    kept = core(dictionary, tmp_path / "all", tmp_path / "three", include_sinks=True)
    assert "sinks" not in without and "fvu_with_sinks" not in without
    assert {n: v for n, v in found.items() if "sinks" not in n} == without
    assert found["fvu_with_sinks"] == pytest.approx(kept["fvu"], rel=1e-12)
    assert found["sinks"] == kept["tokens"] - without["tokens"] > 10
    assert abs(found["fvu_with_sinks"] / found["fvu"] - 1) > 0.1


def test_training_leaves_them_out_and_says_so(tmp_path, data):
    a = write(tmp_path / "a.h5", **data)
    assay("index", a, "--out", tmp_path / "set")
    config = tmp_path / "config.yaml"
    config.write_text(
        f"data: {{path: {tmp_path / 'set'}, lanes: 4}}\nmodel: {{n: 48, k: 4}}\n"
        "train: {steps: 40, batch: 128, log_every: 40, lr: 0.001}\n"
    )

    def train(out, *more):
        done = subprocess.run(
            [os.environ["ASSAY"], "train", config, "--out", out, *more],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stderr, json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])

    said, ordinary = train(tmp_path / "run")
    assert "90 of 6000 rows are sinks" in said and "data.include_sinks" in said
    said, kept = train(tmp_path / "kept", "--set", "data.include_sinks=true")
    assert "kept" in said
    assert kept["loss"] > 10 * ordinary["loss"]  # at the scale of ordinary rows they dominate
