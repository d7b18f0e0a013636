"""What stops a run of `assay train`, and that nothing of it is lost: each fault is one line, and checkpoints stand."""

import hashlib
import json
import math
import os
import re
import shutil
import signal
import subprocess
import time

import h5py
import numpy as np
import pytest
import yaml
from train_support import ASSAY, checkpoints, files_of, kill_and_finish, metrics, run, weights


def last_line(result, status):
    assert result.returncode == status, result.stderr
    return result.stderr.strip().splitlines()[-1]


# --- which checkpoints there are


def test_the_newest_and_every_so_many_steps_are_kept(tmp_path, config):
    file = config(steps=200, checkpoint_every=10, keep_checkpoints=3, keep_every=45)
    assert run("train", file, "--out", tmp_path / "run").returncode == 0
    assert checkpoints(tmp_path / "run") == [
        f"step-{step:010}" for step in (45, 90, 135, 180, 190, 200)
    ]


def test_checkpoints_are_also_written_by_the_clock(tmp_path, config):
    file = config(steps=1_000_000, checkpoint_every=1_000_000, checkpoint_minutes=0.003)
    process = subprocess.Popen(
        [ASSAY, "train", str(file), "--out", str(tmp_path / "run")], stderr=subprocess.DEVNULL
    )
    deadline = time.time() + 60
    while time.time() < deadline and not (tmp_path / "run" / "checkpoints").is_dir():
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert any(not name.endswith((".part", ".gone")) for name in checkpoints(tmp_path / "run"))


def test_what_a_kill_left_of_a_checkpoint_is_never_read_and_goes(tmp_path, config):
    file, folder = config(steps=100), tmp_path / "run"
    assert run("train", file, "--out", folder).returncode == 0
    before = weights(folder)
    shutil.rmtree(folder / "dictionary")
    shutil.rmtree(folder / "checkpoints" / "step-0000000100")
    for name in ("step-0000000100.part", "step-0000000050.gone"):
        shutil.copytree(folder / "checkpoints" / "step-0000000075", folder / "checkpoints" / name)
        (folder / "checkpoints" / name / "state.safetensors").write_bytes(b"half")
    result = run("train", file, "--out", folder, "--resume", "auto")
    assert result.returncode == 0 and "at step 75" in result.stderr
    assert weights(folder) == before
    assert checkpoints(folder) == ["step-0000000075", "step-0000000100"]


@pytest.mark.parametrize(
    "damage", ["a digit of the position", "no trainer.json", "half a state", "another version"]
)
def test_any_damage_to_a_checkpoint_is_noticed(tmp_path, config, damage):
    file, folder = config(steps=100, keep_checkpoints=1, keep_every=50), tmp_path / "run"
    assert run("train", file, "--out", folder).returncode == 0
    before = weights(folder)
    shutil.rmtree(folder / "dictionary")
    newest = folder / "checkpoints" / "step-0000000100"
    trainer, state = newest / "trainer.json", newest / "state.safetensors"
    saved = json.loads(trainer.read_text())
    if damage == "no trainer.json":
        trainer.unlink()
    elif damage == "half a state":
        state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    else:
        if damage == "another version":
            saved["version"] = 99
        else:
            saved["position"][3][2] += 1
        trainer.write_text(json.dumps(saved))
    result = run("train", file, "--out", folder, "--resume", "auto")
    assert (
        result.returncode == 0
        and "passing it over" in result.stderr
        and "at step 50" in result.stderr
    )
    assert weights(folder) == before
    for name in checkpoints(folder):
        (folder / "checkpoints" / name / "trainer.json").write_text("{}")
    shutil.rmtree(folder / "dictionary")
    line = last_line(run("train", file, "--out", folder, "--resume", "auto"), 1)
    assert "none of the 2 checkpoints is good" in line


# --- what makes resuming impossible


def test_every_changed_setting_is_named_but_those_that_change_nothing(tmp_path, config):
    folder = tmp_path / "run"
    assert run("train", config(steps=50), "--out", folder).returncode == 0
    shutil.rmtree(folder / "dictionary")
    before = files_of(folder)
    arguments = [
        "--set",
        "train.lr=0.01",
        "--set",
        "model.k=7",
        "--set",
        "data.lanes=4",
        "--set",
        "eval.seeds=1",
    ]
    line = last_line(
        run("train", config(steps=50), "--out", folder, "--resume", "auto", *arguments), 2
    )
    for change in (
        "train.lr is 0 there, 0.01 now",
        "model.k is 6 there, 7 now",
        "data.lanes is 8 there, 4 now",
    ):
        assert change in line
    assert "eval" not in line and files_of(folder) == before
    harmless = [
        "--set",
        "train.checkpoint_minutes=1",
        "--set",
        "train.keep_every=10",
        "--set",
        "eval.seeds=1",
        "--set",
        "train.divergence=7",
    ]
    assert (
        run("train", config(steps=50), "--out", folder, "--resume", "auto", *harmless).returncode
        == 0
    )


def test_changed_shards_are_refused(tmp_path, config, shards):
    copy, folder = tmp_path / "copy", tmp_path / "run"
    shutil.copytree(shards, copy)
    moved = ["--set", f"data.path={copy}"]
    assert run("train", config(steps=50), "--out", folder, *moved).returncode == 0
    shutil.rmtree(folder / "dictionary")
    shutil.rmtree(folder / "checkpoints" / "step-0000000050")
    before = files_of(folder / "checkpoints")
    with h5py.File(copy / "3.h5", "a") as file:
        file["activations"][:, 5] += 0.5
    line = last_line(run("train", config(steps=50), "--out", folder, "--resume", "auto", *moved), 1)
    assert "3.h5" in line and "CRC32C" in line, "a changed file that was not indexed again"
    assert run("index", *sorted(copy.glob("*.h5")), "--out", copy, "--replace").returncode == 0
    line = last_line(run("train", config(steps=50), "--out", folder, "--resume", "auto", *moved), 1)
    assert str(copy) in line and "content hash" in line
    assert files_of(folder / "checkpoints") == before


# --- where nothing can be written


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path, config):
    (tmp_path / "file").write_text("in the way")
    result = run("train", config(), "--out", tmp_path / "file" / "run")
    assert (
        str(tmp_path / "file" / "run") in last_line(result, 1)
        and len(result.stderr.strip().splitlines()) == 1
    )
    result = run("train", config(), "--out", "/proc/assay-run")
    assert (
        "/proc/assay-run" in last_line(result, 1) and len(result.stderr.strip().splitlines()) == 1
    )


def pages(folder):
    """Bytes that a file system in memory takes for the files under `folder`: whole pages."""
    return sum(
        -(-file.stat().st_size // 4096) * 4096 for file in folder.rglob("*") if file.is_file()
    )


def test_a_full_file_system_leaves_the_old_checkpoint(tmp_path, config):
    """A tiny file system of its own: the logs and three checkpoints fit, and half of a fourth."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if (
        subprocess.run(
            ["unshare", "-Urm", "mount", "-t", "tmpfs", "none", disk], capture_output=True
        ).returncode
        != 0
    ):
        pytest.skip("this machine does not let a user mount a file system")
    file, whole, out = config(steps=200, keep_checkpoints=9), tmp_path / "whole", tmp_path / "out"
    assert run("train", file, "--out", whole).returncode == 0
    checkpoint = pages(whole / "checkpoints" / checkpoints(whole)[0])
    logs = pages(whole) - pages(whole / "checkpoints") - pages(whole / "dictionary")
    script = (
        f"mount -t tmpfs -o size={logs + checkpoint * 7 // 2} none {disk} && "
        f"{ASSAY} train {file} --out {disk}/run; echo $? > {tmp_path}/status; "
        f"cp -r {disk}/run {out}"
    )
    result = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", script], capture_output=True, text=True, timeout=120
    )
    assert (tmp_path / "status").read_text().strip() == "1", result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert "checkpoints/step-" in line and "No space left on device" in line
    assert checkpoints(out) == [f"step-{25 * i:010}" for i in (1, 2, 3)]
    result = run("train", file, "--out", out, "--resume", "auto")
    assert result.returncode == 0 and "at step 75" in result.stderr
    assert weights(out) == weights(whole)


# --- numbers that go wrong


def crc32c(data):
    table = [0] * 256
    for i in range(256):
        crc = i
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table[i] = crc
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 255]
    return f"{crc ^ 0xFFFFFFFF:08x}"


def poison(folder, name, row):
    """A NaN behind the index's back (`assay index` refuses it), checksums included."""
    index = (folder / "index.yaml").read_text()
    chunk = next(f for f in yaml.safe_load(index)["files"] if f["path"] == name)["chunk_rows"]
    first = row // chunk * chunk
    with h5py.File(folder / name, "a") as file:
        x = file["activations"]
        before = crc32c(x[first : first + chunk].tobytes())
        x[row, 9] = np.nan
        index = index.replace(before, crc32c(x[first : first + chunk].tobytes()))
    over = "".join(
        f"activations f32 32 {f['rows']} {f['chunk_rows']}\n{f['crc32c']['activations']}\n"
        for f in yaml.safe_load(index)["files"]
    )
    content_hash = hashlib.sha256(over.encode()).hexdigest()
    (folder / "index.yaml").write_text(
        index.replace(yaml.safe_load(index)["content_hash"], content_hash)
    )


def test_an_activation_that_is_not_finite_names_its_shard_and_row(tmp_path, config):
    clean = tmp_path / "clean"
    clean.mkdir()
    for part in range(8):
        with h5py.File(clean / f"{part}.h5", "w") as file:
            file["activations"] = (
                np.random.default_rng(part).normal(size=(7500, 32)).astype(np.float32)
            )
    assert run("index", *sorted(clean.glob("*.h5")), "--out", clean).returncode == 0
    steps = set()
    for row in range(
        17, 7500, 1500
    ):  # some are met at the start, where b_dec is initialised, some on the way
        data, folder = tmp_path / f"data{row}", tmp_path / f"run{row}"
        shutil.copytree(clean, data)
        poison(data, "5.h5", row)
        arguments = [
            "--set",
            f"data.path={data}",
            "--set",
            "data.validation=0",
            "--set",
            "data.test=0",
        ]
        line = last_line(run("train", config(checkpoint_every=5), "--out", folder, *arguments), 1)
        assert f"5.h5, row {row}: the activation is not finite" in line
        step = int(line.split("step ")[1].split(":")[0])
        steps.add(step)
        if step == 1:
            assert "no checkpoint yet" in line and not (folder / "checkpoints").exists()
        else:
            assert (
                f"the last good checkpoint is {folder}/checkpoints/step-{(step - 1) // 5 * 5:010}"
                in line
            )
            assert checkpoints(folder)[-1] == f"step-{(step - 1) // 5 * 5:010}"
    assert len(steps) > 2 and 1 in steps


def test_an_exploding_loss_stops_the_run(tmp_path, config, shards):
    folder = tmp_path / "run"
    arguments = ["--out", folder, "--set", "train.lr=0.5", "--set", "train.warmup_steps=100"]
    line = last_line(run("train", config(checkpoint_every=2, steps=4000), *arguments), 1)
    assert (
        "train.divergence = 100" in line
        and "lower train.lr" in line
        and "last good checkpoint is" in line
    )
    rows = [int(count) for count in re.findall(r"/[0-7]\.h5 \((\d+) rows of \d+…\d+\)", line)]
    assert len(rows) == 6 and 0 < 256 - sum(rows) < 256 and "and 2 more files" in line
    step = int(line.split("step ")[1].split(":")[0])
    named = int(line.split("last good checkpoint is ")[1].split("step-")[1].split(";")[0])
    assert named in (step - 1, step - 2) and checkpoints(folder)[-1] == f"step-{named:010}"
    assert all(math.isfinite(m["loss"]) for m in metrics(folder))


# --- habits


def test_accumulated_batches_are_one_big_batch(tmp_path, config):
    for name, batch, accumulate in (("big", 512, 1), ("small", 64, 8)):
        file = config(
            batch=batch, accumulate=accumulate, steps=150, aux_coefficient=0.1, dead_after_tokens=1
        )
        assert run("train", file, "--out", tmp_path / name).returncode == 0
    assert weights(tmp_path / "big") == weights(tmp_path / "small")
    assert metrics(tmp_path / "big") == metrics(tmp_path / "small")
    assert any(line["dead"] > 0 for line in metrics(tmp_path / "big")), "AuxK took no part"


@pytest.mark.parametrize(
    "shape,decayed",
    [
        ("linear", lambda p: 1 - p),
        ("sqrt", lambda p: 1 - math.sqrt(p)),
        ("cosine", lambda p: (1 + math.cos(math.pi * p)) / 2),
    ],
)
def test_the_learning_rate_follows_its_schedule(tmp_path, config, shape, decayed):
    file = config(
        steps=100, lr=0.004, warmup_steps=10, decay_fraction=0.4, decay_shape=shape, log_every=1
    )
    assert run("train", file, "--out", tmp_path / "run").returncode == 0
    for line in metrics(tmp_path / "run"):
        step = line["step"] - 1
        expected = 0.004 * min((step + 1) / 10, 1 if step < 60 else decayed((step - 60) / 40))
        assert line["lr"] == pytest.approx(expected, rel=1e-9), line


def test_tensorboard_reads_the_same_numbers_after_a_kill(tmp_path, config):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    file, folder = config(steps=3000, log_every=3, checkpoint_every=50), tmp_path / "run"
    process = subprocess.Popen(
        [ASSAY, "train", str(file), "--out", str(folder)], stderr=subprocess.DEVNULL
    )
    while not (folder / "checkpoints" / "step-0000000050").is_dir():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert run("train", file, "--out", folder, "--resume", "auto").returncode == 0
    assert [p.name for p in (folder / "tensorboard").iterdir()] == ["events.out.tfevents.0.assay"]
    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    tags = {
        "train/loss": "loss",
        "train/fvu": "fvu",
        "train/aux_loss": "aux_loss",
        "train/l0": "l0",
        "train/dead": "dead",
        "train/learning_rate": "lr",
        "speed/tokens_per_s": "tokens_per_s",
    }
    assert sorted(events.Tags()["scalars"]) == sorted(tags)
    assert events.file_version == 2.0
    for tag, key in tags.items():
        scalars = events.Scalars(tag)
        assert [s.step for s in scalars] == [line["step"] for line in lines]
        assert [s.value for s in scalars] == [float(np.float32(line[key])) for line in lines]
        assert all(abs(s.wall_time - time.time()) < 600 for s in scalars)


def test_without_tensorboard_there_is_no_folder(tmp_path, config):
    assert (
        run("train", config(steps=10, tensorboard="false"), "--out", tmp_path / "run").returncode
        == 0
    )
    assert sorted(os.listdir(tmp_path / "run")) == [
        "checkpoints",
        "config.yaml",
        "dictionary",
        "metrics.jsonl",
    ]


@pytest.mark.parametrize("moments", ["bf16", "8bit"])
def test_narrow_moments_survive_a_kill_and_learn_as_fp32_does(tmp_path, config, moments):
    def arguments(name):
        return [
            "train",
            config(
                steps=600,
                checkpoint_every=7,
                resample_every=90,
                aux_coefficient=0,
                dead_after_tokens=2000,
            ),
            "--out",
            tmp_path / name,
        ]

    narrow = ["--set", f"train.optimizer_state={moments}"]
    assert run(*arguments("fp32")).returncode == 0
    assert run(*arguments("whole"), *narrow, "--set", "train.threads=1").returncode == 0
    kill_and_finish(*arguments("killed"), *narrow, "--resume", "auto")
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed") != weights(tmp_path / "fp32")
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "killed")
    last = {name: metrics(tmp_path / name)[-1]["fvu"] for name in ("fp32", "whole")}
    assert last["whole"] == pytest.approx(last["fp32"], rel=0.05)
    shutil.rmtree(tmp_path / "killed" / "dictionary")
    line = last_line(run(*arguments("killed"), "--resume", "auto"), 2)
    assert f"train.optimizer_state is {moments} there, fp32 now" in line


def test_every_habit_survives_a_kill(tmp_path, config):
    habits = {
        "clip_norm": 0.05,
        "ema": 0.99,
        "resample_every": 40,
        "aux_coefficient": 0,
        "dead_after_tokens": 300,
    }
    file = config(steps=600, checkpoint_every=7, **habits)
    result = run("train", file, "--out", tmp_path / "whole")
    assert result.returncode == 0, result.stderr
    moved = re.findall(r"step (\d+): (\d+) dead latents resampled", result.stderr)
    assert [int(step) for step, _ in moved] == list(range(40, 480, 40)) and any(
        int(count) for _, count in moved
    )
    kill_and_finish("train", file, "--out", tmp_path / "killed", "--resume", "auto")
    assert weights(tmp_path / "whole") == weights(tmp_path / "killed")
    assert (
        run(
            "train", config(steps=600, **{**habits, "ema": 0}), "--out", tmp_path / "last"
        ).returncode
        == 0
    )
    assert weights(tmp_path / "last") != weights(tmp_path / "whole")
