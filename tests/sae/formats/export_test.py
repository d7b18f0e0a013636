"""assay export: what the other library loads gives our codes and reconstructions, and comes back as it was."""

import json
from functools import cache

import h5py
import numpy as np
import pytest
from harness import decode, encode, refusal, same, same_codes
from safetensors import safe_open
from tiny_kind import D

from tests.experiments.tiny_data import assay

K, N, OTHER = 5, 64, 10
SETTINGS = {  # data and model of the configuration, beside what all share
    "transcoder": (", target_hook: out", ""),
    "skip_transcoder": (", target_hook: out", ""),
    "crosscoder": (", more_hooks: [other]", ""),
    "switch": ("", ", experts: 4"),
    "relu": ("", ", sparsity: 0.15"),
    "batch_topk": ("", ", threshold: calibrated"),
}
THRESHOLDS = {"saelens", "dictionary_learning", "gemma_scope", "gemma_scope_2", "llamascopium"}
HOLDS = {
    "topk": {"saelens", "sparsify", "dictionary_learning", "llamascopium", "qwen_scope"},
    "batch_topk": THRESHOLDS,
    "matryoshka_batch_topk": THRESHOLDS,
    "jumprelu": THRESHOLDS,
    "relu": THRESHOLDS | {"openai", "goodfire", "qresearch"},
    "gated": {"saelens", "dictionary_learning"},
    "transcoder": {"sparsify", "llamascopium"},
    "skip_transcoder": {"sparsify"},
    "crosscoder": set(),
    "switch": set(),
    "matching_pursuit": set(),
}
WRITTEN = sorted(set().union(*HOLDS.values()) | {"circuit_tracer"})
HELD = [(variant, name) for variant, formats in HOLDS.items() for name in sorted(formats)]
# Published dictionaries that hold what no trained one does, and a format to write them in.
CONVERTED = [
    ("gemma_scope_2_affine", "circuit_tracer"),
    ("gemma_scope_2_affine", "saelens"),
    ("gemma_scope_2_affine_across", "saelens"),
    ("circuit_tracer_jumprelu", "circuit_tracer"),
    ("circuit_tracer_jumprelu_skip", "gemma_scope_2"),
    ("circuit_tracer_skip", "saelens"),
    ("saelens_jumprelu_below_zero", "gemma_scope"),
    ("saelens_skip_transcoder", "gemma_scope_2"),
    ("saelens_topk_rescaled_layer_norm", "saelens"),
    ("saelens_transcoder_layer_norm", "saelens"),
    ("sparsify_groupmax", "sparsify"),
    ("sparsify_skip_transcoder", "sparsify"),
    ("llamascopium_jumprelu", "dictionary_learning"),
    ("llamascopium_jumprelu", "llamascopium"),
]


def options(format_name):
    return ["--k", K] if format_name == "qwen_scope" else []


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Runs of 100 steps by variant and scale of the data, each trained when it is first asked for."""
    folder = tmp_path_factory.mktemp("trained")
    rng = np.random.default_rng(0)
    features = rng.standard_normal((80, 2 * D + OTHER))
    codes = (rng.random((8000, 80)) < 0.06) * (0.5 + rng.random((8000, 80)))
    everything = (codes @ features + 0.5).astype(np.float32)

    @cache
    def shards(scale):
        x, out, other = np.split(scale * everything, [D, 2 * D], axis=1)
        with h5py.File(folder / f"x{scale}.h5", "w") as file:
            file["activations"], file["hooks/out"], file["hooks/other"] = x, out, other
            file["document"] = np.arange(len(x)) // 10
        assay("index", folder / f"x{scale}.h5", "--out", folder / f"shards{scale}")
        return folder / f"shards{scale}", x[:256]

    @cache
    def train(variant, scale=1):
        path, x = shards(scale)
        data, model = SETTINGS.get(variant, ("", ""))
        config = folder / f"{variant}-{scale}.yaml"
        config.write_text(
            f"data: {{path: {path}, lanes: 4, validation: 0.2, test: 0{data}}}\n"
            f"model: {{variant: {variant}, n: {N}, k: {K}{model}}}\n"
            "train: {steps: 100, batch: 256, lr: 0.003, warmup_steps: 1}\n"
        )
        assay("train", config, "--out", folder / f"{variant}-{scale}")
        return folder / f"{variant}-{scale}", x

    return train


@pytest.fixture(scope="session")
def ours(trained, tmp_path_factory):
    """By variant: rows, and the codes and reconstructions of them that are ours."""

    @cache
    def run(variant):
        dictionary, x = trained(variant)
        folder = tmp_path_factory.mktemp("rows")
        x = decided(dictionary, x, folder)
        return x, encode(dictionary, x, folder), decode(dictionary, folder)

    return run


def decided(dictionary, x, folder):
    """The rows whose active latents stay when they move by what rounding may move them."""
    active = encode(dictionary, x, folder) != 0
    step = 3e-6 * np.abs(x).max() * np.random.default_rng(0).choice([-1, 1], x.shape)
    kept = np.ones(len(x), bool)
    for sign in (1, -1):
        moved = encode(dictionary, (x + sign * step).astype(np.float32), folder) != 0
        kept &= (moved == active).all(axis=1)
    assert kept.mean() > 0.9 and 1 < active.sum(axis=1).mean() < N / 2
    return x[kept]


@pytest.mark.parametrize("variant,format_name", HELD)
def test_the_library_gives_our_codes_and_reconstructions(
    tmp_path, trained, ours, peers, variant, format_name
):
    x, codes, back = ours(variant)
    assay("export", trained(variant)[0], "--format", format_name, "--out", tmp_path / "theirs")
    their_codes, their_back = peers.run(format_name, tmp_path / "theirs", x, K)
    same_codes(their_codes, codes)
    same(their_back, back)
    returned = tmp_path / "returned"
    assay("import", tmp_path / "theirs", "--out", returned, *options(format_name))
    same_codes(encode(returned, x, tmp_path / "again"), codes)
    same(decode(returned, tmp_path / "again"), back)


@pytest.mark.parametrize("variant", HOLDS)
def test_what_a_format_cannot_hold_is_refused(tmp_path, trained, variant):
    run, _ = trained(variant)
    for format_name in sorted(set(WRITTEN) - HOLDS[variant]):
        line = refusal("export", run, "--format", format_name, "--out", tmp_path / "theirs")
        assert format_name in line and "cannot hold" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", ["llama_scope", "llama_scope_r1", "goodfire_r1", "nobody"])
def test_what_is_only_read_or_unknown_is_refused(tmp_path, trained, format_name):
    run, _ = trained("topk")
    line = refusal("export", run, "--format", format_name, "--out", tmp_path / "theirs")
    assert format_name in line and list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path, trained):
    run, _ = trained("topk")
    assay("export", run, "--format", "saelens", "--out", tmp_path / "theirs")
    before = {file.name: file.read_bytes() for file in (tmp_path / "theirs").iterdir()}
    refusal("export", run, "--format", "sparsify", "--out", tmp_path / "theirs")
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "theirs").iterdir()}


@pytest.mark.parametrize("variant", ["batch_topk", "jumprelu", "relu"])
def test_the_scale_of_the_data_is_in_the_export(tmp_path, trained, peers, variant):
    """On rows seven times as large, what is reloaded has the L0 of the training, and its explained variance."""
    run, x = trained(variant, 7)
    assay("export", run, "--format", "saelens", "--out", tmp_path / "theirs")
    codes, back = peers.run("saelens", tmp_path / "theirs", x)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert (codes != 0).sum(axis=1).mean() == pytest.approx(last["l0"], rel=0.1)
    assert ((x - back) ** 2).sum() < 0.7 * ((x - x.mean(axis=0)) ** 2).sum()


@pytest.mark.parametrize("name,format_name", CONVERTED)
def test_a_published_dictionary_in_another_format(tmp_path, peers, name, format_name):
    peers.ask("make", name, tmp_path)
    expected, x = np.load(tmp_path / name / "expected.npz"), np.load(tmp_path / name / "x.npy")
    source = tmp_path / name / "model"
    assay("export", source, "--format", format_name, "--out", tmp_path / "theirs")
    codes, reconstruction = peers.run(format_name, tmp_path / "theirs", x)
    same_codes(codes, expected["codes"])
    same(reconstruction, expected["reconstruction"])


def test_what_is_written_is_laid_out_as_they_publish(tmp_path, trained):
    """Names and shapes of the files of one dictionary, as the pages of the formats have them."""
    run, _ = trained("batch_topk")
    for format_name in ("saelens", "gemma_scope_2", "llamascopium"):
        assay("export", run, "--format", format_name, "--out", tmp_path / format_name)
    expected = {
        "saelens/sae_weights.safetensors": {"W_enc": [D, N], "W_dec": [N, D], "threshold": [N]},
        "gemma_scope_2/params.safetensors": {"w_enc": [D, N], "w_dec": [N, D], "threshold": [N]},
        "llamascopium/sae_weights.safetensors": {"W_E": [D, N], "W_D": [N, D], "b_D": [D]},
    }
    for file, shapes in expected.items():
        with safe_open(tmp_path / file, "np") as tensors:
            assert {name: tensors.get_slice(name).get_shape() for name in shapes} == shapes
    config = json.loads((tmp_path / "saelens" / "cfg.json").read_text())
    assert (config["architecture"], config["d_in"], config["d_sae"]) == ("jumprelu", D, N)
    assert config["metadata"]["sae_lens_version"] >= "6.0.0"
