"""`assay train` with train.device = cuda: the CPU's bits on a device, and a clear error where there is none."""

from train_support import metrics, run, weights


def test_a_device_trains_to_the_cpus_bits_or_says_what_is_missing(tmp_path, config):
    file = config(steps=60, dead_after_tokens=2000)
    found = run("train", file, "--out", tmp_path / "cuda", "--set", "train.device=cuda")
    if found.returncode == 2:
        assert "device cuda: no CUDA" in found.stderr
        assert not (tmp_path / "cuda").exists()
        return
    assert found.returncode == 0, found.stderr
    assert run("train", file, "--out", tmp_path / "cpu").returncode == 0
    assert weights(tmp_path / "cuda") == weights(tmp_path / "cpu")
    for cuda, cpu in zip(metrics(tmp_path / "cuda"), metrics(tmp_path / "cpu"), strict=True):
        assert cuda["step"] == cpu["step"] and cuda["dead"] == cpu["dead"]
        assert abs(cuda["loss"] - cpu["loss"]) <= 1e-5 * cpu["loss"]
