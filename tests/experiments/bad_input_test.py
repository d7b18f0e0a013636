"""Bad input to every command: the exit status, and one line that names the thing."""

import json
import os
import subprocess

import h5py
import numpy as np
import pytest
from tiny_data import assay, rows, write_activations, write_dictionary

FAILURE, USAGE = 1, 2


@pytest.fixture
def dictionary(tmp_path):
    return write_dictionary(tmp_path / "dictionary")


def expect(line, *parts):
    for part in parts:
        assert str(part) in line, f"'{part}' is not in: {line}"


def encode_fails(dictionary, source, status=FAILURE, *more):
    """The line of a failed encode, which must leave no file."""
    out = source.parent / "out.h5"
    line = assay("encode", dictionary, source, "--out", out, *more, status=status)
    assert not list(source.parent.glob("out.h5*"))
    return line


# --- files of activations


def test_no_such_file(tmp_path, dictionary):
    expect(encode_fails(dictionary, tmp_path / "nowhere.h5"), "nowhere.h5", "no such file")
    source = write_activations(tmp_path / "x.h5", rows(9))
    line = assay(
        "encode", tmp_path / "nobody", source, "--out", tmp_path / "out.h5", status=FAILURE
    )
    expect(line, "nobody", "no dictionary here", "cfg.json")


def test_not_hdf5(tmp_path, dictionary):
    (tmp_path / "x.h5").write_text("these are no activations")
    expect(encode_fails(dictionary, tmp_path / "x.h5"), "x.h5", "not an HDF5 file")


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_truncated_hdf5(tmp_path, dictionary, share):
    source = write_activations(tmp_path / "x.h5", rows(5000))
    content = source.read_bytes()
    source.write_bytes(content[: int(share * len(content))])
    expect(encode_fails(dictionary, source), "x.h5", "truncated")


def test_missing_dataset(tmp_path, dictionary):
    with h5py.File(tmp_path / "x.h5", "w") as f:
        f["acts"] = rows(9)
    expect(encode_fails(dictionary, tmp_path / "x.h5"), "x.h5", "/activations")


def test_unknown_hook_names_the_known(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(9), hooks__mlp=rows(9))
    line = encode_fails(dictionary, source, USAGE, "--hook", "mpl")
    expect(line, "x.h5", "'mpl'", "activations, mlp")


def test_d_mismatch(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(9, d=23))
    expect(encode_fails(dictionary, source, USAGE), "x.h5", "d = 23", "d = 24")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite(tmp_path, dictionary, value):
    x = rows(6000)
    x[5123, 7] = value
    source = write_activations(tmp_path / "x.h5", x)
    expect(encode_fails(dictionary, source), "x.h5", "row 5123", "column 7", "finite")


# --- dictionaries


def test_hostile_dictionaries(tmp_path):
    source = write_activations(tmp_path / "x.h5", rows(9))
    expect(
        encode_fails(write_dictionary(tmp_path / "a", n=10, k=11), source),
        "cfg.json",
        "k = 11",
        "n = 10",
    )
    expect(
        encode_fails(write_dictionary(tmp_path / "b", variant="soup"), source), "cfg.json", "'soup'"
    )
    short = write_dictionary(tmp_path / "c") / "dictionary.safetensors"
    short.write_bytes(short.read_bytes()[:-4])
    expect(encode_fails(tmp_path / "c", source), "dictionary.safetensors")
    (write_dictionary(tmp_path / "d") / "cfg.json").write_text("{]")
    expect(encode_fails(tmp_path / "d", source), "cfg.json")
    poisoned = write_dictionary(tmp_path / "e") / "dictionary.safetensors"
    poisoned.write_bytes(poisoned.read_bytes()[:-4] + np.float32(np.nan).tobytes())
    expect(encode_fails(tmp_path / "e", source), "dictionary.safetensors", "not finite")


# --- codes


def write_codes(path, **change):
    """Three rows over 96 latents; `change` replaces a data set or an attribute, or leaves it out (None)."""
    parts = dict(
        row_offsets=np.array([0, 2, 2, 4]),
        indices=np.array([3, 95, 0, 7], np.int32),
        values=np.array([1, 2, 3, 4], np.float32),
        n=96,
    )
    parts.update(change)
    with h5py.File(path, "w") as f:
        for name, value in parts.items():
            if value is None:
                continue
            if np.ndim(value) == 1:
                f[name] = value
            else:
                f.attrs[name] = value
    return path


@pytest.mark.parametrize(
    "status,change,parts",
    [
        (FAILURE, dict(indices=np.array([3, 96, 0, 7], np.int32)), ["row 0", "index 96", "n = 96"]),
        (FAILURE, dict(indices=np.array([3, 4, 0, -1], np.int32)), ["row 2", "index -1"]),
        (FAILURE, dict(indices=np.array([3, 4, 0, 2**32 + 3])), ["row 2", "outside"]),
        (
            FAILURE,
            dict(values=np.array([1, np.nan, 3, 4], np.float32)),
            ["row 0", "latent 95", "not finite"],
        ),
        (FAILURE, dict(values=np.array([1, 2, 3, 1e300])), ["row 2", "latent 7", "not finite"]),
        (
            FAILURE,
            dict(row_offsets=np.array([0, 3, 2, 4])),
            ["row_offsets[2] = 2", "expected from 3"],
        ),
        (FAILURE, dict(row_offsets=np.array([0, 9, 2, 4])), ["row_offsets[1] = 9"]),
        (FAILURE, dict(row_offsets=np.array([0, -1, 2, 4])), ["row_offsets[1] = -1"]),
        (
            FAILURE,
            dict(row_offsets=np.array([1, 2, 2, 4])),
            ["row_offsets", "from 1 to 4", "from 0 to 4"],
        ),
        (FAILURE, dict(row_offsets=np.array([0, 2, 2, 5])), ["from 0 to 5"]),
        (FAILURE, dict(row_offsets=np.zeros(0, np.int64)), ["row_offsets is empty"]),
        (FAILURE, dict(row_offsets=np.array([0.0, 2, 2, 4])), ["row_offsets must hold integers"]),
        (FAILURE, dict(values=np.ones(3, np.float32)), ["/indices has 4", "/values 3"]),
        (FAILURE, dict(values=None), ["/values"]),
        (FAILURE, dict(n=None), ["attribute n"]),
        (FAILURE, dict(n=-5), ["attribute n"]),
        (USAGE, dict(n=97), ["n = 97", "n = 96"]),
        (USAGE, dict(d=23), ["d = 23", "d = 24"]),
        (USAGE, dict(dictionary_hash="0123abcd"), ["0123abcd", "dictionary_hash"]),
    ],
)
def test_codes_that_cannot_be_decoded(tmp_path, dictionary, status, change, parts):
    codes = write_codes(tmp_path / "codes.h5", **change)
    line = assay("decode", dictionary, codes, "--out", tmp_path / "out.h5", status=status)
    expect(line, "codes.h5", *parts)
    assert not list(tmp_path.glob("out.h5*"))


def test_good_codes_are_good(tmp_path, dictionary):
    assay("decode", dictionary, write_codes(tmp_path / "codes.h5"), "--out", tmp_path / "out.h5")


def test_codes_as_activations_and_activations_as_codes(tmp_path, dictionary):
    expect(encode_fails(dictionary, write_codes(tmp_path / "codes.h5")), "codes.h5", "/activations")
    source = write_activations(tmp_path / "x.h5", rows(9))
    line = assay("decode", dictionary, source, "--out", tmp_path / "out.h5", status=FAILURE)
    expect(line, "x.h5", "/row_offsets")


def test_out_never_overwrites_the_input(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(9))
    expect(assay("encode", dictionary, source, "--out", source, status=USAGE), "x.h5", "--out")
    codes = write_codes(tmp_path / "codes.h5")
    expect(assay("decode", dictionary, codes, "--out", codes, status=USAGE), "codes.h5", "--out")


# --- configuration


def train_fails(tmp_path, config, status=USAGE):
    (tmp_path / "c.yaml").write_text(config)
    return assay("train", tmp_path / "c.yaml", "--out", tmp_path / "run", status=status)


def test_k_larger_than_n(tmp_path):
    source = write_activations(tmp_path / "x.h5", rows(500))
    assay("index", source, "--out", tmp_path / "shards")
    line = train_fails(
        tmp_path, f"data: {{path: {tmp_path}/shards, lanes: 1}}\nmodel:\n  n: 16\n  k: 17\n"
    )
    expect(line, "model.k = 17", "model.n = 16")


def test_misspelt_key_names_file_line_and_the_nearest(tmp_path):
    line = train_fails(tmp_path, "data:\n  path: x\ntrain:\n  steps: 5\n  bacth: 64\n")
    expect(line, "c.yaml:5", "bacth", "batch")


def test_values_out_of_bounds_and_of_other_types(tmp_path):
    expect(train_fails(tmp_path, "data: {path: x}\ntrain:\n  steps: 0\n"), "c.yaml:3", "steps", "0")
    expect(
        train_fails(tmp_path, "data: {path: x}\ntrain:\n  steps: many\n"),
        "c.yaml:3",
        "steps",
        "many",
    )


def test_command_line_mistakes_exit_with_2(tmp_path):
    for arguments in ([], ["encode"], ["encdoe"], ["decode", "a", "b"], ["inspect", "x", "--jsno"]):
        done = subprocess.run([os.environ["ASSAY"], *arguments], capture_output=True, text=True)
        assert done.returncode == USAGE and done.stdout == "" and done.stderr != ""


# --- evaluation


def labelled_shards(tmp_path):
    """Texts of 5 rows in documents of 2 texts, with the labels that the probing task reads."""
    x = rows(2000)
    text = np.arange(2000) // 5
    source = write_activations(
        tmp_path / "x.h5",
        x,
        text=text,
        document=text // 2,
        labels__category=(text % 3).astype(np.int32),
        labels__format=(text % 2).astype(np.int32),
        labels__part_of_speech=np.zeros(2000, np.int32),
    )
    with h5py.File(source, "a") as f:
        f["labels/category"].attrs["classes"] = ["a", "b", "c"]
        f["labels/format"].attrs["classes"] = ["definition", "quotation"]
        f["labels/part_of_speech"].attrs["classes"] = ["noun"]
        f.attrs["model"], f.attrs["hook"] = "tiny", "layer 1"
    assay("index", source, "--out", tmp_path / "shards")
    return tmp_path / "shards"


def eval_fails(tmp_path, dictionary, *arguments):
    data, out = labelled_shards(tmp_path), tmp_path / "out"
    return assay(
        "eval", dictionary, "--data", data, "--out", out, "--quick", *arguments, status=FAILURE
    )


def test_label_without_the_class(tmp_path, dictionary):
    line = eval_fails(tmp_path, dictionary, "--tasks", "ood_probing")
    expect(line, "ood_probing", "'format'", "'example'", "definition, quotation")


def test_model_half_that_does_not_fit(tmp_path, dictionary):
    model = tmp_path / "model"
    model.mkdir()
    files = {
        f"{part}_{kind}": {"name": f"{part}.{kind}", "sha256": "0" * 64}
        for part in ("lower", "upper")
        for kind in ("compiled", "script")
    }
    manifest = dict(
        format="assay-model-halves",
        format_version=1,
        model="tiny",
        revision="r",
        tokenizer_hash="t",
        torch_version="2.11.0",
        layers=6,
        layer=1,
        d=48,
        d_out=48,
        max_length=64,
        vocabulary=100,
        cpu_flags=[],
        files=files,
    )
    (model / "manifest.json").write_text(json.dumps(manifest))
    splice = ["--tasks", "splice", "--model", model]
    expect(eval_fails(tmp_path, dictionary, *splice), "manifest.json", "trust list")
    line = assay(
        "eval",
        dictionary,
        "--data",
        tmp_path / "shards",
        "--out",
        tmp_path / "out",
        "--quick",
        *splice,
        "--trust-model-code",
        status=FAILURE,
    )
    expect(line, "does not fit", "d is 24", "48")


# --- a full disk, as a limit on the size of files


def limited(kilobytes, *arguments):
    """Runs assay with that limit; writing beyond it fails as on a full disk (the signal is ignored)."""
    command = f"trap '' XFSZ; ulimit -f {kilobytes}; exec \"$@\""
    return subprocess.run(
        ["bash", "-c", command, "bash", os.environ["ASSAY"], *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("kilobytes", [0, 1, 64, 2000])
def test_disk_full_while_writing(tmp_path, dictionary, kilobytes):
    source = write_activations(tmp_path / "x.h5", rows(60000))
    few = write_activations(tmp_path / "few.h5", rows(9))
    assay("encode", dictionary, source, "--out", tmp_path / "codes.h5")
    assay("encode", dictionary, few, "--out", tmp_path / "few_codes.h5")
    for command, full, earlier in (
        ("encode", source, few),
        ("decode", tmp_path / "codes.h5", tmp_path / "few_codes.h5"),
    ):
        out = tmp_path / command / "out.h5"
        out.parent.mkdir()
        assay(command, dictionary, earlier, "--out", out)
        before = out.read_bytes()
        arguments = [command, dictionary, full]
        done = limited(kilobytes, *arguments, "--out", out)
        assert done.returncode == FAILURE, (done.returncode, done.stderr)
        lines = done.stderr.strip().splitlines()
        assert len(lines) == 1
        expect(lines[0], "out.h5", "cannot", "File too large")
        assert out.read_bytes() == before
        assert [p.name for p in out.parent.iterdir()] == ["out.h5"]


def test_out_in_a_folder_that_is_not_there(tmp_path, dictionary):
    source = write_activations(tmp_path / "x.h5", rows(9))
    line = assay("encode", dictionary, source, "--out", tmp_path / "no" / "out.h5", status=FAILURE)
    expect(line, "out.h5", "No such file or directory")
