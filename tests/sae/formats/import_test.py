"""assay import: codes and reconstructions of a published dictionary are those of the library that published it."""

from functools import cache

import numpy as np
import pytest
from harness import decode, encode, refusal, same, same_codes
from peers import KINDS
from tiny_kind import D, N

from tests.experiments.tiny_data import assay, assay_json

READ = [name for name, kind in KINDS.items() if not kind.refused]
TOLD = [name for name in READ if not KINDS[name].k]  # nothing is left to be asked for
ASKED = [name for name in READ if KINDS[name].k]
REFUSED = [name for name, kind in KINDS.items() if kind.refused]
ONE_OF_EACH = list({KINDS[name].format: name for name in TOLD}.values())


@pytest.fixture(scope="session")
def files(published):
    """By kind: what `assay import` is given."""
    return lambda name: published / name / "model" / KINDS[name].source


@pytest.fixture(scope="session")
def imported(files, tmp_path_factory):
    """By kind: the folder that an import wrote, and what it says of it."""

    @cache
    def run(name):
        folder = tmp_path_factory.mktemp("ours") / "dictionary"
        options = KINDS[name].options
        return folder, assay_json("import", files(name), "--out", folder, *options)

    return run


@pytest.mark.parametrize("name", READ)
def test_codes_and_reconstructions_are_theirs(tmp_path, published, imported, name):
    x, expected = (np.load(published / name / file) for file in ("x.npy", "expected.npz"))
    dictionary, facts = imported(name)
    codes = encode(dictionary, x, tmp_path)
    same_codes(codes, expected["codes"])
    same(decode(dictionary, tmp_path), expected["reconstruction"])
    assert (facts["d"], facts["d_out"], facts["n"]) == (D, expected["reconstruction"].shape[1], N)


@pytest.mark.parametrize("name", TOLD)
def test_encode_takes_the_published_files_themselves(tmp_path, published, files, name):
    x, expected = (np.load(published / name / file) for file in ("x.npy", "expected.npz"))
    same_codes(encode(files(name), x, tmp_path), expected["codes"])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_decode_and_inspect_take_the_published_files(tmp_path, published, files, imported, name):
    folder, told = imported(name)
    x = np.load(published / name / "x.npy")
    encode(folder, x, tmp_path)
    assert np.array_equal(decode(files(name), tmp_path), decode(folder, tmp_path))
    facts, ours = assay_json("inspect", files(name)), assay_json("inspect", folder)
    assert facts["format"] == KINDS[name].format
    assert (facts["kind"], ours["kind"]) == ("dictionary", "dictionary")
    assert facts["hash"] == ours["hash"] == told["hash"] and len(told["hash"]) == 64
    for key in ("d", "n", "k", "variant", "encoding", "model", "hook"):
        assert facts[key] == ours[key] == told[key]
    assert ours["tensors"]["W_enc"]["shape"] == [N, D]


@pytest.mark.parametrize("name", ONE_OF_EACH + ASKED)
def test_the_format_is_told_by_the_content(tmp_path, files, imported, name):
    kind = KINDS[name]
    arguments = [*kind.options, "--format", kind.format, "--out", tmp_path / "named"]
    assert assay_json("import", files(name), *arguments)["hash"] == imported(name)[1]["hash"]


@pytest.mark.parametrize("name", ASKED)
def test_what_the_files_do_not_say_is_asked_for(tmp_path, files, name):
    assert "--k" in refusal("import", files(name), "--out", tmp_path / "ours")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_represented_is_refused_by_name(tmp_path, files, name):
    kind, arguments = KINDS[name], ["import", files(name), "--out", tmp_path / "ours"]
    assert kind.refused in refusal(*arguments)
    assert kind.refused in refusal(*arguments, "--format", kind.format)
    assert list(tmp_path.iterdir()) == []


def test_another_format_than_the_files_is_refused(tmp_path, files):
    arguments = ["import", files("gemma_scope"), "--out", tmp_path / "ours", "--format"]
    for wrong in ("openai", "saelens", "circuit_tracer", "llamascopium"):
        assert str(files("gemma_scope")) in refusal(*arguments, wrong)
    line = refusal(*arguments, "nobody")
    assert "nobody" in line and "saelens" in line and "qresearch" in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_several_layers_asks_which(tmp_path, published):
    folder = published / "circuit_tracer_of_two" / "model"
    line = refusal("import", folder, "--out", tmp_path / "ours")
    assert "layer_0.safetensors" in line and list(tmp_path.iterdir()) == []


def test_a_scale_that_the_files_lack_can_be_given(tmp_path, published, files, imported):
    """Rows over s through a dictionary told that it was trained on rows times s: as if neither were."""
    name, s = "saelens_standard_scaled", 4.0
    x, expected = (np.load(published / name / file) for file in ("x.npy", "expected.npz"))
    assay("import", files(name), "--out", tmp_path / "ours", "--norm-scale", s)
    same_codes(encode(tmp_path / "ours", x / np.float32(s), tmp_path), expected["codes"])
    same(s * decode(tmp_path / "ours", tmp_path), expected["reconstruction"])
