"""`assay sweep`: the bits of `assay train`, kills, members that fail, and what is reported."""

import json
import signal
import subprocess
import time
from html.parser import HTMLParser

import h5py
import numpy as np
import pytest
from tiny_data import dense_codes, read_weights
from train_support import ASSAY, checkpoints, metrics, run, weights

# Each with state of its own: a running threshold, nested groups, a parameter beside the four, a penalty warmed up.
VARIANTS = ["topk", "batch_topk", "matryoshka_batch_topk", "jumprelu", "gated"]


@pytest.fixture
def sweep(config):
    def write(grid="", **train):
        file = config(**{"steps": 60, "checkpoint_every": 25, "dead_after_tokens": 2000, **train})
        file.write_text(file.read_text() + f"sweep: {{{grid}}}\n")
        return file

    return write


def results(folder):
    return json.loads((folder / "sweep.json").read_text())


def alone(tmp_path, member):
    """The same dictionary trained by itself, from the configuration that lies in its folder."""
    folder = tmp_path / "alone" / member.name
    done = run("train", member / "config.yaml", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_dictionary_has_the_bits_of_its_own_training(tmp_path, sweep):
    out = tmp_path / "sweep"
    done = run(
        "sweep", sweep(f"variant: [{', '.join(VARIANTS)}], seed: [3, 4]"), "--out", out, "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dictionaries"] == 2 * len(VARIANTS)
    for variant in VARIANTS:
        for seed in (3, 4):
            member = out / f"{variant}-n256-k6-s{seed}"
            single = alone(tmp_path, member)
            assert weights(single) == weights(member)
            assert (single / "dictionary/cfg.json").read_bytes() == (
                member / "dictionary/cfg.json"
            ).read_bytes()
            assert metrics(single) == metrics(member) and checkpoints(single) == checkpoints(member)
    assert weights(out / "topk-n256-k6-s3") != weights(out / "topk-n256-k6-s4")


def test_each_variant_takes_the_axes_that_govern_it(tmp_path, sweep):
    out = tmp_path / "sweep"
    grid = "variant: [topk, relu, jumprelu], k: [4, 6], sparsity: [0.5, 20]"
    done = run("sweep", sweep(grid, lr=0.003), "--out", out)
    assert done.returncode == 0, done.stderr
    found = {entry["name"]: entry for entry in results(out)["dictionaries"]}
    # relu knows no k and holds model.k, 6; jumprelu's penalty aims at k.
    assert set(found) == {
        "topk-n256-k4-s3",
        "topk-n256-k6-s3",
        "relu-n256-k6-w0.5-s3",
        "relu-n256-k6-w20-s3",
        *(f"jumprelu-n256-k{k}-w{w}-s3" for k in (4, 6) for w in (0.5, 20)),
    }
    assert [found[f"relu-n256-k6-w{w}-s3"]["sparsity"] for w in (0.5, 20)] == [0.5, 20]
    assert "sparsity" not in found["topk-n256-k4-s3"]
    assert found["relu-n256-k6-w20-s3"]["l0"] < 0.8 * found["relu-n256-k6-w0.5-s3"]["l0"]
    assert weights(alone(tmp_path, out / "relu-n256-k6-w20-s3")) == weights(
        out / "relu-n256-k6-w20-s3"
    )
    assert "relu, n = 256, k = 6, sparsity = 20" in (out / "report.html").read_text()


@pytest.mark.parametrize(
    "grid, words",
    [
        ("variant: [topk, switch], sparsity: [0.1, 1]", "sweep.sparsity: topk, switch"),
        ("variant: [relu, gated], k: [4, 6]", "sweep.k: relu, gated"),
        ("variant: [relu], sparsity: [1, 1.0]", "'sweep.sparsity' holds 1 twice"),
    ],
)
def test_an_axis_that_no_variant_takes_is_refused(tmp_path, sweep, grid, words):
    done = run("sweep", sweep(grid), "--out", tmp_path / "sweep")
    assert done.returncode == 2 and words in done.stderr
    assert not (tmp_path / "sweep").exists()


def test_resampling_members_share_what_they_look_at(tmp_path, sweep):
    file = sweep(
        "n: [128, 256], k: [4, 6]",
        resample_every=20,
        aux_coefficient=0,
        dead_after_tokens=512,
        ema=0.9,
    )
    assert run("sweep", file, "--out", tmp_path / "sweep").returncode == 0
    for n in (128, 256):
        for k in (4, 6):
            member = tmp_path / "sweep" / f"topk-n{n}-k{k}-s3"
            assert weights(alone(tmp_path, member)) == weights(member)


def test_killed_sweeps_end_in_the_same_bits(tmp_path, sweep):
    # The large one takes most of a checkpoint's time: kills fall between the members' checkpoints.
    file = sweep("n: [64, 8192, 256]", steps=120, checkpoint_every=5)
    assert run("sweep", file, "--out", tmp_path / "whole").returncode == 0
    command = [ASSAY, "sweep", str(file), "--out", str(tmp_path / "killed"), "--resume", "auto"]
    for delay in (0.3, 0.7, 1.1):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for n in (64, 8192, 256):
        name = f"topk-n{n}-k6-s3"
        assert weights(tmp_path / "whole" / name) == weights(tmp_path / "killed" / name)
        assert metrics(tmp_path / "whole" / name) == metrics(tmp_path / "killed" / name)
    assert (
        results(tmp_path / "killed")["dictionaries"] == results(tmp_path / "whole")["dictionaries"]
    )


def test_members_resume_from_different_steps(tmp_path, sweep):
    file = sweep("n: [64, 256]", checkpoint_every=20, keep_checkpoints=9)
    out = tmp_path / "sweep"
    assert run("sweep", file, "--out", out).returncode == 0
    before = [weights(out / f"topk-n{n}-k6-s3") for n in (64, 256)]
    logs = [metrics(out / f"topk-n{n}-k6-s3") for n in (64, 256)]
    for n, steps in ((64, (60, 40)), (256, (60,))):  # one at 20, one at 40
        for step in steps:
            subprocess.run(
                ["rm", "-r", out / f"topk-n{n}-k6-s3/checkpoints/step-{step:010}"], check=True
            )
        subprocess.run(["rm", "-r", out / f"topk-n{n}-k6-s3/dictionary"], check=True)
    done = run("sweep", file, "--out", out, "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert "at step 20" in done.stderr and "at step 40" in done.stderr
    assert before == [weights(out / f"topk-n{n}-k6-s3") for n in (64, 256)]
    assert logs == [metrics(out / f"topk-n{n}-k6-s3") for n in (64, 256)]


def test_a_signal_checkpoints_all_and_asks_to_be_requeued(tmp_path, sweep):
    out = tmp_path / "sweep"
    file = sweep("seed: [3, 4]", steps=200_000, checkpoint_every=100_000)
    process = subprocess.Popen(
        [ASSAY, "sweep", str(file), "--out", str(out)], stderr=subprocess.PIPE, text=True
    )
    log = out / "topk-n256-k6-s4" / "metrics.jsonl"
    deadline = time.time() + 60
    while not (log.exists() and log.stat().st_size > 0) and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 75 and "--resume auto" in error
    assert checkpoints(out / "topk-n256-k6-s3") == checkpoints(out / "topk-n256-k6-s4") != []
    assert not (out / "sweep.json").exists()


def test_one_that_diverges_is_left_out_and_named(tmp_path, sweep):
    out = tmp_path / "sweep"
    # With k = n the untrained dictionary's loss is 13: over any limit that is below its first. With k = 6 it is 0.9.
    done = run("sweep", sweep("k: [256, 6]", divergence=0.95), "--out", out)
    first, second = results(out)["dictionaries"]
    assert "step 1: the loss is" in first["failure"] and "no checkpoint" in first["failure"]
    assert "failure" not in second
    assert done.returncode == 1 and "topk-n256-k256-s3 was left out" in done.stderr.splitlines()[-1]
    assert not (out / "topk-n256-k256-s3" / "dictionary").exists()
    assert weights(alone(tmp_path, out / "topk-n256-k6-s3")) == weights(out / "topk-n256-k6-s3")
    assert "topk-n256-k256-s3 was left out" in (out / "report.html").read_text()


def test_the_numbers_are_those_of_the_dictionaries(tmp_path, sweep, shards):
    """FVU and L0 by numpy over all rows, as the planted data are alike everywhere; exactly in eval/sweep_test.cpp."""
    out = tmp_path / "sweep"
    assert run("sweep", sweep("k: [4, 8], seed: [3, 4]"), "--out", out).returncode == 0
    found = results(out)
    assert found["rows"] == 1 << 15 and found["tokens"] == 60 * 256
    x = np.concatenate([h5py.File(path)["activations"][:] for path in sorted(shards.glob("*.h5"))])
    for entry in found["dictionaries"]:
        w = read_weights(out / entry["name"] / "dictionary")
        latents, values = dense_codes(w, x, entry["k"])
        error = x - w["b_dec"] - np.einsum("bk,bkd->bd", values, w["W_dec"][latents])
        fvu = (error**2).sum() / ((x - x.mean(0)) ** 2).sum()
        assert entry["fvu"] == pytest.approx(fvu, rel=0.1)
        assert entry["l0"] == pytest.approx((values > 0).sum(1).mean(), rel=0.05)
        assert 0 <= entry["dead_share"] <= 1
    assert len(found["agreements"]) == 2  # one pair of seeds a k
    for pair in found["agreements"]:
        assert (
            pair["first"][:-1] == pair["second"][:-1]
            and 0 <= pair["shared"] <= pair["latents"] <= 256
        )


class Pieces(HTMLParser):
    def __init__(self):
        super().__init__()
        self.cells, self.charts, self.addresses, self._into = [], "", [], None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.addresses += [value for key, value in attributes.items() if key in ("src", "href")]
        self._into = (
            "cell" if tag == "td" else "charts" if attributes.get("id") == "assay-charts" else None
        )

    def handle_data(self, data):
        if self._into == "cell":
            self.cells.append(data)
        elif self._into == "charts":
            self.charts += data


def test_the_page_shows_every_dictionary_and_loads_nothing(tmp_path, sweep, shards):
    out, hostile = tmp_path / "sweep", tmp_path / "<img src=x onerror=alert(1)>"
    hostile.symlink_to(shards)
    file = sweep("n: [64, 128], seed: [3, 4]", steps=20)
    done = run("sweep", file, "--out", out, "--set", f"data.path={hostile}")
    assert done.returncode == 0, done.stderr
    text = (out / "report.html").read_text()
    assert hostile.name not in text and "&lt;img" in text
    page = Pieces()
    page.feed(text)
    assert page.addresses == []
    charts = json.loads(page.charts)
    assert len(charts) == 3
    for entry in results(out)["dictionaries"]:
        assert entry["name"] in page.cells
        drawn = [v for v in charts[0]["data"]["values"] if v["name"] == entry["name"]]
        assert len(drawn) == 1 and drawn[0]["x"] == entry["l0"] and drawn[0]["y"] == entry["fvu"]


@pytest.mark.parametrize(
    ("grid", "settings", "message"),
    [
        ("variant: [topk, topj]", [], "topj"),
        ("k: [4, 4]", [], "'sweep.k' holds 4 twice"),
        ("k: [4, 400]", [], "topk-n256-k400-s3: model.k = 400 is larger than model.n = 256"),
        ("sizes: [4]", [], "sizes"),
        ("n: [0]", [], "sweep.n"),
        ("k: [4]", ["data.rolling=true"], "data.rolling"),
        ("k: [4]", ["data.validation=0"], "data.validation"),
    ],
)
def test_faults_are_one_clear_line(tmp_path, sweep, grid, settings, message):
    done = run(
        "sweep",
        sweep(grid),
        "--out",
        tmp_path / "sweep",
        *[a for s in settings for a in ("--set", s)],
    )
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1
    assert message in done.stderr
    assert not (tmp_path / "sweep").exists()


def test_a_folder_that_holds_runs_is_left_alone(tmp_path, sweep):
    out, file = tmp_path / "sweep", sweep("k: [4, 6]", steps=10)
    assert run("sweep", file, "--out", out).returncode == 0
    before = (out / "sweep.json").read_bytes()
    done = run("sweep", file, "--out", out)
    assert done.returncode == 2 and "--resume auto" in done.stderr
    done = run("sweep", file, "--out", out, "--resume", "auto", "--set", "train.lr=0.01")
    assert done.returncode == 2 and "train.lr" in done.stderr
    assert (out / "sweep.json").read_bytes() == before
    # A larger grid trains what is new.
    done = run("sweep", sweep("k: [4, 6, 8]", steps=10), "--out", out, "--resume", "auto")
    assert done.returncode == 0, done.stderr
    assert [d["k"] for d in results(out)["dictionaries"]] == [4, 6, 8]
