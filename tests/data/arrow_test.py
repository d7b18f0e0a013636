"""assay index on Arrow caches as SAELens writes them, made here by pyarrow, and on damaged ones."""

import json
import os
import random
import subprocess

import h5py
import numpy as np
import pyarrow as pa
import pytest

from tests.experiments.tiny_data import assay, assay_json

HOOK = "blocks.1.hook_resid_post"
CONTEXT, D = 7, 12


def array2d(x, fixed=False):
    """datasets' Array2D: an extension over a list of lists, as its metadata says."""
    flat = pa.array(x.reshape(-1))
    if fixed:
        return pa.FixedSizeListArray.from_arrays(
            pa.FixedSizeListArray.from_arrays(flat, x.shape[2]), x.shape[1]
        )
    inner = pa.ListArray.from_arrays(
        pa.array(np.arange(0, x.size + 1, x.shape[2], dtype=np.int32)), flat
    )
    return pa.ListArray.from_arrays(
        pa.array(np.arange(0, len(x) * x.shape[1] + 1, x.shape[1], dtype=np.int32)), inner
    )


def extension(field, shape):
    metadata = {
        "ARROW:extension:name": "datasets.features.features.Array2DExtensionType",
        "ARROW:extension:metadata": json.dumps([shape, "float32"]),
    }
    return field.with_metadata(metadata)


def table(x, tokens=None, fixed=False, extra=True):
    columns = {HOOK: array2d(x, fixed)}
    if extra:
        columns = {
            "note": pa.array([f"row {i}" for i in range(len(x))]),
            **columns,
            "seen": pa.array([i % 2 == 0 for i in range(len(x))]),
        }
    if tokens is not None:
        ids = pa.array(tokens.reshape(-1))
        columns["token_ids"] = pa.FixedSizeListArray.from_arrays(ids, CONTEXT)
    fields = [pa.field(name, column.type) for name, column in columns.items()]
    fields = [extension(f, x.shape[1:]) if f.name == HOOK else f for f in fields]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def write(path, content, batch=3, kind=pa.ipc.new_stream, **options):
    path.parent.mkdir(exist_ok=True)
    with kind(str(path), content.schema, options=pa.ipc.IpcWriteOptions(**options)) as out:
        out.write_table(content, max_chunksize=batch)
    return path


def make(n, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, CONTEXT, D)).astype(dtype), rng.integers(
        0, 50, (n, CONTEXT)
    ).astype(np.int32)


def stored(folder):
    files = [h5py.File(f) for f in sorted(folder.glob("*.h5"))]
    return {
        name: np.concatenate([f[name][:] for f in files]) for name in files[0] if name != "labels"
    }, files[0].attrs


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
@pytest.mark.parametrize("fixed", [False, True])
def test_a_cache_becomes_shards(tmp_path, dtype, fixed):
    x, tokens = make(20, dtype)
    cache = tmp_path / "cache"
    write(cache / "data-00000-of-00002.arrow", table(x[:11], tokens[:11], fixed))
    write(cache / "data-00001-of-00002.arrow", table(x[11:], tokens[11:], fixed))
    (cache / "state.json").write_text("{}")
    facts = assay_json(
        "index", cache, "--out", tmp_path / "set", "--special-tokens", 3, 4, "--rows-per-shard", 50
    )
    assert (facts["rows"], facts["d"]) == (20 * CONTEXT, D)
    found, attributes = stored(tmp_path / "set")
    assert np.array_equal(found["activations"], x.reshape(-1, D).astype(found["activations"].dtype))
    assert found["activations"].dtype == (np.float16 if dtype == np.float16 else np.float32)
    assert np.array_equal(found["tokens"], tokens.reshape(-1))
    assert np.array_equal(found["document"], np.repeat(np.arange(20), CONTEXT))
    assert np.array_equal(found["position"], np.tile(np.arange(CONTEXT), 20))
    assert np.array_equal(found["special"] != 0, np.isin(tokens.reshape(-1), [3, 4]))
    assert attributes["hook"] in (HOOK, HOOK.encode())
    assert attributes["context_length"] == CONTEXT


def test_files_slices_and_missing_tokens(tmp_path):
    x, _ = make(9)
    sliced = table(x, extra=False).slice(2, 5)  # its offsets do not begin at 0
    for kind, name in ((pa.ipc.new_file, "file"), (pa.ipc.new_stream, "stream")):
        path = write(tmp_path / name / "a.arrow", sliced, batch=2, kind=kind)
        assay("index", path, "--out", tmp_path / name / "set")
        found, _ = stored(tmp_path / name / "set")
        assert np.array_equal(found["activations"], x[2:7].reshape(-1, D))
        assert "tokens" not in found and "special" not in found
    assert "token_ids" in assay(
        "index", path, "--out", tmp_path / "y", "--special-tokens", 1, status=2
    )


def test_several_columns_need_a_choice(tmp_path):
    x, tokens = make(4)
    both = table(x, tokens).append_column("blocks.2", array2d(2 * x))
    path = write(tmp_path / "c" / "a.arrow", both)
    assert "--tensor" in assay("index", path, "--out", tmp_path / "set", status=2)
    assay("index", path, "--out", tmp_path / "set", "--tensor", "blocks.2")
    assert np.array_equal(stored(tmp_path / "set")[0]["activations"], 2 * x.reshape(-1, D))


def test_what_cannot_be_read_is_one_line(tmp_path):
    x, tokens = make(4)

    def refused(content, text, status=1, **options):
        path = write(tmp_path / "c" / "a.arrow", content, **options)
        assert text in assay("index", path, "--out", tmp_path / "set", status=status)

    refused(table(x, tokens), "compressed", compression="lz4")
    refused(pa.table({"x": pa.array([1.0, 2.0])}), "0 columns of activations", status=2)
    refused(pa.table({"x": pa.array(["a", "b"]).dictionary_encode()}), "does not know")
    refused(pa.table({"x": pa.array([[[1.0, 2.0]], [[3.0, None]]])}), "missing values")
    refused(pa.table({"x": pa.array([[[1.0, 2.0]], [[3.0], [1.0]]])}), "different shapes")
    refused(
        pa.table({"x": pa.array([[[1.0], [2.0, 3.0]], [[3.0, 4.0], [1.0]]])}), "different shapes"
    )
    refused(pa.table({"x": pa.array([[[1.0]], [[float("nan")]]])}), "finite")
    (tmp_path / "empty").mkdir()
    assert "data-*.arrow" in assay("index", tmp_path / "empty", "--out", tmp_path / "set", status=2)


def test_damage_is_an_error_never_a_crash(tmp_path):
    x, tokens = make(6)
    sound = write(tmp_path / "c" / "a.arrow", table(x, tokens)).read_bytes()
    rng = random.Random(3)
    refused = 0
    for trial in range(60):
        bad = bytearray(sound)
        if trial % 3 == 0:
            bad = bad[: rng.randrange(len(bad))]
        else:
            for _ in range(rng.randrange(1, 4)):
                bad[rng.randrange(min(len(bad), 1400) if trial % 3 == 1 else len(bad))] = (
                    rng.randrange(256)
                )
        path = tmp_path / "bad.arrow"
        path.write_bytes(bad)
        out = tmp_path / f"set{trial}"
        done = subprocess.run(
            [os.environ["ASSAY"], "index", str(path), "--out", str(out)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode in (0, 1, 2), (trial, done.returncode, done.stderr)
        refused += done.returncode != 0
    assert refused > 20


def cache_of(folder, parts, of=None):
    for part in parts:
        x, tokens = make(4, seed=part)
        name = f"data-{part:05}-of-{of or len(parts):05}.arrow"
        write(folder / name, table(x, tokens))
    return folder


def test_a_cache_is_whole_and_of_one_saving(tmp_path):
    def refused(cache, *texts):
        line = assay("index", cache, "--out", tmp_path / "set", status=1)
        assert all(text in line for text in texts), line

    refused(cache_of(tmp_path / "a", [0, 2], of=3), "part 1 of 3 is missing")
    refused(cache_of(tmp_path / "b", [0, 1], of=3), "part 2 of 3 is missing")
    cache_of(tmp_path / "c", [0, 1])
    refused(cache_of(tmp_path / "c", [0, 1, 2]), "two savings")
    cache = cache_of(tmp_path / "d", [0, 1])
    names = [f.name for f in sorted(cache.glob("*.arrow"))]

    def listed(*names):
        files = [{"filename": name} for name in names]
        (cache / "state.json").write_text(json.dumps({"_data_files": files}))

    listed(names[0])
    refused(cache, names[1], "not listed in state.json")
    listed(*names, "data-more.arrow")
    refused(cache, "data-more.arrow", "not there")
    listed(*names)
    info = {"splits": {"train": {"num_examples": 9}}}
    (cache / "dataset_info.json").write_text(json.dumps(info))
    refused(cache, "8 sequences", "says 9")
    info["splits"]["train"]["num_examples"] = 8
    (cache / "dataset_info.json").write_text(json.dumps(info))
    assert assay_json("index", cache, "--out", tmp_path / "good")["rows"] == 8 * CONTEXT


@pytest.mark.parametrize("kind", [pa.ipc.new_stream, pa.ipc.new_file])
def test_a_writer_that_was_stopped_is_noticed(tmp_path, kind):
    x, tokens = make(6)
    path = write(tmp_path / "c" / "a.arrow", table(x, tokens), kind=kind)
    sound = path.read_bytes()
    end = sound.rindex(b"\xff\xff\xff\xff\0\0\0\0")
    for cut in (end, len(sound) - 1, len(sound) - 8):
        path.write_bytes(sound[:cut])
        line = assay("index", path, "--out", tmp_path / "set", status=1)
        assert "a.arrow" in line, line
    path.write_bytes(sound)
    assay("index", path, "--out", tmp_path / "set")


@pytest.mark.parametrize("dtype", [np.uint32, np.uint64, np.int64])
def test_token_ids_of_any_integer_type(tmp_path, dtype):
    x, tokens = make(4)
    path = write(tmp_path / "c" / "a.arrow", table(x, tokens.astype(dtype)))
    assay("index", path, "--out", tmp_path / "set")
    assert np.array_equal(stored(tmp_path / "set")[0]["tokens"], tokens.reshape(-1))
    big = tokens.astype(dtype)
    big[2, 3] = 2**31
    path = write(tmp_path / "d" / "a.arrow", table(x, big))
    assert "2147483648" in assay("index", path, "--out", tmp_path / "e", status=1)
