"""The comparison's own parts, without the peers: our arm against the dense fp32 reference, its memory, the problems."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "experiments/compare_peers"))

import compare  # noqa: E402
from arms import Arm, ArmFailed, Others  # noqa: E402
from problem import TEST_ROWS, Problem, held_out_fvu, make, widened  # noqa: E402
from same_loss import LIMIT, train_both  # noqa: E402

BUILD = Path(os.environ["ASSAY"]).parent
PYTHON = Path(sys.executable)


def planted(rows: int, d: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((160, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = (rng.random((rows, 160)) < 0.05) * (0.5 + rng.random((rows, 160)))
    return (codes @ directions + 0.3 + 0.02 * rng.standard_normal((rows, d))).astype(np.float16)


@pytest.mark.parametrize("dead_percent", [0, 10])
def test_same_loss_as_dense_fp32(tmp_path, dead_percent):
    p = Problem(rows=256, d=64, n=512, k=8, dead_percent=dead_percent, batches=40)
    folder = make(p, planted(40 * 256 + TEST_ROWS, 64), tmp_path / "problem")
    points = train_both(folder, 80, 20, 1, BUILD, PYTHON)
    for point in points:
        assert abs(point["difference"]) < LIMIT
        assert point["ours"]["dead"] == point["reference"]["dead"]
        assert 0.9 * p.k < point["ours"]["l0"] <= p.k
    assert (points[0]["ours"]["dead"] > 0) == (dead_percent > 0), (
        "AuxK is exercised where it should be"
    )
    assert points[-1]["ours"]["fvu"] < 0.95 * points[0]["ours"]["fvu"], (
        "nothing was learnt: this says nothing"
    )


def test_our_memory_beyond_the_state_does_not_grow_with_n(tmp_path):
    beyond = []
    for n in (2048, 32768):
        p = Problem(rows=256, d=64, n=n, k=8, batches=2)
        folder = make(p, planted(2 * 256 + TEST_ROWS, 64), tmp_path / str(n))
        with Arm("ours", folder, 2, BUILD) as arm:
            arm.run(0, 3)
            found = arm.ask("memory")
        beyond.append(found["peak"] - found["start"] - found["state"])
    assert beyond[1] - beyond[0] < 4 << 20  # B·n floats would be 30 MiB, a gradient 16 MiB


def test_problem_is_what_it_says(tmp_path):
    rows = planted(4 * 128 + TEST_ROWS, 32)
    rows[:, 0] = np.arange(len(rows)) / 1000  # tells rows apart
    p = Problem(rows=128, d=32, n=200, k=4, dead_percent=10, batches=4)
    folder = make(p, rows, tmp_path / "problem")
    x = np.fromfile(folder / "x.bin", np.float32).reshape(-1, 32)
    test = np.fromfile(folder / "test.bin", np.float32).reshape(-1, 32)
    assert np.isclose((np.concatenate([x, test]) ** 2).sum(1).mean(), 1, atol=0.01)
    assert len(np.unique(np.concatenate([x, test]), axis=0)) == len(np.unique(rows, axis=0))
    w_enc = np.fromfile(folder / "w_enc.bin", np.float32).reshape(200, 32)
    dead = np.fromfile(folder / "dead.bin", np.uint8)
    assert dead.sum() == 20
    assert np.allclose(np.linalg.norm(w_enc, axis=1), np.where(dead, 0.1, 1), atol=1e-5)
    settings = json.loads((folder / "problem.json").read_text())
    assert settings["lr"] == pytest.approx(2e-4 / (200 / 16384) ** 0.5)


def test_held_out_fvu_of_a_known_dictionary(tmp_path):
    """One latent that reconstructs one coordinate and nothing else: FVU is the other coordinates' share."""
    x = np.random.default_rng(3).standard_normal((500, 3)).astype(np.float32)
    x.tofile(tmp_path / "test.bin")
    (tmp_path / "problem.json").write_text(json.dumps({"d": 3, "n": 2, "k": 1}))
    np.array([[1, 0, 0], [-1, 0, 0]], np.float32).tofile(tmp_path / "w_enc.bin")
    np.array([[1, 0, 0], [-1, 0, 0]], np.float32).tofile(tmp_path / "w_dec.bin")
    np.zeros(2, np.float32).tofile(tmp_path / "b_enc.bin")
    np.zeros(3, np.float32).tofile(tmp_path / "b_dec.bin")
    fvu, l0 = held_out_fvu(tmp_path, tmp_path)
    assert fvu == pytest.approx((x[:, 1:] ** 2).sum() / ((x - x.mean(0)) ** 2).sum(), rel=1e-5)
    assert l0 == 1


def test_consecutive_tokens_side_by_side():
    rows = np.arange(14, dtype=np.float16).reshape(7, 2)
    assert widened(rows, 4).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_interval_of_a_median():
    """Order statistics that cover a median with 95 %: for nine values the second and the eighth (96.1 %)."""
    assert compare.interval(list(range(9))) == {"median": 4, "low": 1, "high": 7, "bursts": 9}
    assert compare.interval([3, 1, 2, 4]) == {"median": 2.5, "low": 1, "high": 4, "bursts": 4}


def test_faults_are_named():
    good = {"ours": {"fvu": 0.5, "l0": 32}, "peer": {"fvu": 0.5, "l0": 32}}
    assert compare.same_problem(good, good, 32) == []
    other_k = {"ours": {"fvu": 0.5, "l0": 32}, "peer": {"fvu": 0.47, "l0": 64}}
    assert len(compare.same_problem(good, other_k, 32)) == 2


def test_a_failed_arm_says_why(tmp_path):
    with pytest.raises(ArmFailed, match="problem.json: not found"):
        Arm("ours", tmp_path, 1, BUILD)


def test_others_are_told_from_our_own_processes():
    """A busy loop outside the list counts (a whole processor of those there are); in the list it does not."""
    with subprocess.Popen([PYTHON, "-c", "while True: pass"]) as loop:
        time.sleep(0.2)
        without, within = Others([]), Others([loop.pid])
        time.sleep(1)
        alone, together = within.share(), without.share()
        used = [
            int(v)
            for v in Path(f"/proc/{loop.pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
        ]
        loop.kill()
    assert sum(used) > 0
    assert 0 < together - alone <= 1.1 / os.cpu_count()
