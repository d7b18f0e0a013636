"""assay encode and decode against dense top-k in numpy, read and written by h5py."""

import h5py
import numpy as np
import pytest
from tiny_data import (
    assay,
    assay_json,
    dense_codes,
    read_weights,
    rows,
    write_activations,
    write_dictionary,
)


@pytest.fixture
def dictionary(tmp_path):
    return write_dictionary(tmp_path / "dictionary")


def as_dense(path):
    with h5py.File(path) as f:
        offsets, indices, values = f["row_offsets"][:], f["indices"][:], f["values"][:]
        dense = np.zeros((len(offsets) - 1, f.attrs["n"]))
    dense[np.repeat(np.arange(len(offsets) - 1), np.diff(offsets)), indices] = values
    return dense


@pytest.mark.parametrize("count", [1, 4096, 10001])
def test_round_trip_against_numpy(tmp_path, dictionary, count):
    x, weights, k = rows(count), read_weights(dictionary), 5
    source = write_activations(tmp_path / "x.h5", x)
    codes, back = tmp_path / "codes.h5", tmp_path / "back.h5"
    summary = assay_json("encode", dictionary, source, "--out", codes)
    with h5py.File(codes) as f:
        assert f["row_offsets"].dtype == np.int64 and f["row_offsets"].shape == (count + 1,)
        assert f["indices"].dtype == np.int32 and f["values"].dtype == np.float32
        assert np.array_equal(f["row_offsets"][:], k * np.arange(count + 1))
        found = {name: f.attrs[name] for name in ("n", "d", "k", "variant")}
        assert found == {"n": 96, "d": 24, "k": k, "variant": "topk"}
        found = f["indices"][:].reshape(count, k)
    order, values = dense_codes(weights, x, k)
    expected = np.zeros((count, 96))
    np.put_along_axis(expected, order, values, axis=1)
    assert np.array_equal(np.sort(found, axis=1), np.sort(order, axis=1))
    assert np.allclose(as_dense(codes), expected, rtol=1e-5, atol=1e-5)
    assert summary["rows"] == count and summary["pairs"] == count * k
    assert summary["l0"] == pytest.approx((values > 0).sum(axis=1).mean())

    assert assay_json("decode", dictionary, codes, "--out", back)["rows"] == count
    with h5py.File(back) as f:
        assert f["activations"].dtype == np.float32
        assert np.allclose(
            f["activations"][:],
            expected @ weights["W_dec"] + weights["b_dec"],
            rtol=1e-5,
            atol=1e-4,
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "back.h5",
        "codes.h5",
        "dictionary",
        "x.h5",
    ]


def test_bytes_do_not_depend_on_threads(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(5000))
    for threads in (1, 3):
        assay(
            "encode", dictionary, source, "--out", tmp_path / f"c{threads}.h5", "--threads", threads
        )
        assay(
            "decode",
            dictionary,
            tmp_path / "c1.h5",
            "--out",
            tmp_path / f"b{threads}.h5",
            "--threads",
            threads,
        )
    assert (tmp_path / "c1.h5").read_bytes() == (tmp_path / "c3.h5").read_bytes()
    assert (tmp_path / "b1.h5").read_bytes() == (tmp_path / "b3.h5").read_bytes()


def test_other_hook_half_precision_and_shards(tmp_path, dictionary):
    x = rows(300).astype(np.float16)
    source = write_activations(tmp_path / "x.h5", rows(300, d=8), hooks__mlp=x)
    assay("encode", dictionary, source, "--out", tmp_path / "one.h5", "--hook", "mlp")
    order, values = dense_codes(read_weights(dictionary), x, 5)
    expected = np.zeros((300, 96))
    np.put_along_axis(expected, order, values, axis=1)
    assert np.allclose(as_dense(tmp_path / "one.h5"), expected, rtol=1e-5, atol=1e-5)

    assay("index", source, "--out", tmp_path / "shards")
    summary = assay_json(
        "encode", dictionary, tmp_path / "shards", "--out", tmp_path / "two.h5", "--hook", "mlp"
    )
    assert np.array_equal(as_dense(tmp_path / "two.h5"), as_dense(tmp_path / "one.h5"))
    content_hash = assay_json("inspect", tmp_path / "shards")["content_hash"]
    with h5py.File(tmp_path / "two.h5") as f:
        assert f.attrs["source_hash"] == summary["source_hash"] == content_hash != ""
        assert f.attrs["dictionary_hash"] == assay_json("inspect", dictionary)["hash"]


def test_decode_reads_foreign_codes_of_any_width(tmp_path, dictionary):
    """Rows of 0 to 40 pairs, int64 indices, float64 values, compressed, with no attribute but n."""
    rng, weights = np.random.default_rng(3), read_weights(dictionary)
    lengths = rng.integers(0, 41, 5000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    indices = np.concatenate([rng.choice(96, size, replace=False) for size in lengths])
    values = rng.standard_normal(offsets[-1])
    with h5py.File(tmp_path / "codes.h5", "w") as f:
        f.create_dataset("row_offsets", data=offsets, compression="gzip")
        f.create_dataset("indices", data=indices.astype(np.int64), compression="gzip")
        f.create_dataset("values", data=values, compression="gzip")
        f.attrs["n"] = 96
    assay("decode", dictionary, tmp_path / "codes.h5", "--out", tmp_path / "x.h5")
    with h5py.File(tmp_path / "x.h5") as f:
        expected = as_dense(tmp_path / "codes.h5") @ weights["W_dec"] + weights["b_dec"]
        assert np.allclose(f["activations"][:], expected, rtol=1e-4, atol=1e-4)


def test_a_run_folder_is_a_dictionary_and_no_rows_are_rows(tmp_path):
    write_dictionary(tmp_path / "run" / "dictionary")
    source = write_activations(tmp_path / "x.h5", rows(0))
    assay("encode", tmp_path / "run", source, "--out", tmp_path / "codes.h5")
    assay("decode", tmp_path / "run", tmp_path / "codes.h5", "--out", tmp_path / "back.h5")
    with h5py.File(tmp_path / "back.h5") as f:
        assert f["activations"].shape == (0, 24)


def test_json_stands_alone_on_stdout(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(10))
    with h5py.File(source, "a") as f:
        f.attrs["model"] = "another"
    assert assay_json("encode", dictionary, source, "--out", tmp_path / "codes.h5")["rows"] == 10
