"""The rolling cache from the command line: both sides are killed again and again, and the weights come out the same."""

import os
import random
import re
import shutil
import signal
import subprocess
import time

from tests.experiments.tiny_data import assay

ROWS, SHARD, LIMIT = 300_000, 16_384, 6_000_000
PLANT = [
    "synthesize",
    "--kind",
    "independent",
    "--set",
    "d=8",
    "--set",
    "n=16",
    "--set",
    "l0=2",
    "--set",
    f"rows={ROWS}",
    "--rows-per-shard",
    SHARD,
]


def start(*arguments):
    return subprocess.Popen(
        [os.environ["ASSAY"], *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def train_arguments(folder, cache, run, steps=1000):
    config = folder / "config.yaml"
    config.write_text(
        "data: {rolling: true, rolling_wait: 60, lanes: 4, validation: 0, test: 0}\n"
        "model: {n: 32, k: 2}\n"
        f"train: {{steps: {steps}, batch: 256, warmup_steps: 1, threads: 1, checkpoint_every: 37}}\n"
    )
    return ["train", config, "--set", f"data.path={cache}", "--out", run, "--resume", "auto"]


def bytes_of_shards(cache):
    total = 0
    for name in os.listdir(cache) if cache.exists() else []:
        try:
            total += (cache / name).stat().st_size if name.startswith("shard-") else 0
        except FileNotFoundError:
            pass
    return total


def weights(run):
    return (run / "dictionary" / "dictionary.safetensors").read_bytes()


def reference(tmp_path):
    """One side after the other, with room for everything."""
    assay(*PLANT, "--disk-limit", "1GB", "--out", tmp_path / "wide")
    assay(*train_arguments(tmp_path, tmp_path / "wide", tmp_path / "whole"))
    return weights(tmp_path / "whole")


def test_kills_of_either_side_do_not_change_a_bit(tmp_path):
    expected = reference(tmp_path)
    cache, run = tmp_path / "cache", tmp_path / "run"
    commands = {
        "synthesize": [*PLANT, "--disk-limit", LIMIT, "--out", cache],
        "train": train_arguments(tmp_path, cache, run),
    }
    rng = random.Random(7)
    kills, most, until = 0, 0, time.monotonic() + 90
    sides = {name: start(*command) for name, command in commands.items()}
    turn = time.monotonic() + 0.2
    while sides["train"].poll() != 0:
        assert time.monotonic() < until, "the run does not end"
        assert sides["train"].poll() in (None, 0), sides["train"].stderr.read()
        most = max(most, bytes_of_shards(cache))
        if kills < 8 and time.monotonic() > turn:
            name = rng.choice(["synthesize", "train"])
            if sides[name].poll() is None:
                sides[name].send_signal(signal.SIGKILL)
                sides[name].wait()
                sides[name] = start(*commands[name])
                kills += 1
            turn = time.monotonic() + rng.uniform(0.05, 0.4)
        time.sleep(0.002)
    sides["synthesize"].kill()
    sides["synthesize"].wait()
    assert weights(run) == expected
    assert kills >= 2
    assert most <= LIMIT
    assert not (cache / "shard-00005.h5").exists()


def test_a_stopped_trainer_checkpoints_while_it_waits(tmp_path):
    cache, run = tmp_path / "cache", tmp_path / "run"
    assay(
        *PLANT[:-2],
        "--set",
        "rows=60000",
        "--rows-per-shard",
        SHARD,
        "--disk-limit",
        "1GB",
        "--out",
        cache,
    )
    (cache / "finished.json").unlink()  # as if the harvester were at work
    trainer = start(*train_arguments(tmp_path, cache, run))
    while not list(run.glob("checkpoints/step-*[0-9]")):
        assert trainer.poll() is None
        time.sleep(0.01)
    time.sleep(1)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(timeout=30) == 75
    newest = max(int(p.name.split("-")[1]) for p in run.glob("checkpoints/step-*[0-9]"))
    assert newest > 200  # 60,000 rows are 234 steps


def some_shards(source, cache, names):
    """Shards that a harvester has written, each appearing whole."""
    for name in names:
        shutil.copy(source / name, cache / f".{name}")
        (cache / f".{name}").rename(cache / name)


def test_a_stop_while_resampling_looks_ahead_changes_no_bit(tmp_path):
    wide, spare, cache, run = (tmp_path / name for name in ("wide", "spare", "cache", "run"))
    habits = [
        "--set",
        "train.resample_every=150",
        "--set",
        "train.aux_coefficient=0",
        "--set",
        "train.dead_after_tokens=300",
    ]
    assay(*PLANT, "--disk-limit", "1GB", "--out", wide)
    shutil.copytree(wide, spare)
    whole = start(*train_arguments(tmp_path, wide, tmp_path / "whole"), *habits)
    _, log = whole.communicate(timeout=120)
    assert whole.returncode == 0
    moved = re.findall(r"step (\d+): (\d+) dead latents resampled", log)
    assert [int(step) for step, _ in moved] == [150, 300, 450, 600, 750] and any(
        int(count) for _, count in moved
    )

    shards = sorted(path.name for path in spare.glob("shard-*.h5"))
    cache.mkdir()
    some_shards(
        spare, cache, ["rolling.json", *shards[:4]]
    )  # step 150 stands at row 38,400 and looks 32,768 further
    trainer = start(*train_arguments(tmp_path, cache, run), *habits)
    while not (run / "checkpoints" / "step-0000000148").exists():
        assert trainer.poll() is None
        time.sleep(0.01)
    time.sleep(1)
    trainer.send_signal(signal.SIGTERM)
    assert trainer.wait(timeout=30) == 75
    # None that has the step but not its resampling.
    assert max(path.name for path in run.glob("checkpoints/step-*[0-9]")) == "step-0000000148"
    some_shards(spare, cache, [*shards[4:], "finished.json"])
    assay(*train_arguments(tmp_path, cache, run), *habits)
    assert weights(run) == weights(tmp_path / "whole")


def test_wrong_uses_are_one_line(tmp_path):
    cache, run = tmp_path / "cache", tmp_path / "run"
    assert "at least three shards" in assay(*PLANT, "--disk-limit", "2MB", "--out", cache, status=2)
    assay(
        *PLANT[:-2],
        "--set",
        "rows=40000",
        "--rows-per-shard",
        SHARD,
        "--disk-limit",
        "1GB",
        "--out",
        cache,
    )
    line = assay(*train_arguments(tmp_path, cache, run), status=1)
    assert "the harvest ended after 3 shards with 40000 rows" in line
    arguments = train_arguments(tmp_path, tmp_path / "none", tmp_path / "other")
    assert "is the harvester running" in assay(*arguments, "--set", "data.rolling_wait=1", status=1)
