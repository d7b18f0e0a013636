"""assay bottleneck through its torch module: one step against torch's Adam, and a task for the encoder to learn."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_data import read_weights
from train_support import await_checkpoint, checkpoints, files_of, weights

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sae" / "python"))
from bottleneck import Bottleneck, Stopped  # noqa: E402

D, N, K = 24, 64, 4


def config(tmp_path, **train):
    settings = {"steps": 400, "warmup_steps": 0, "decay_fraction": 0, "aux_coefficient": 0, **train}
    file = tmp_path / "config.yaml"
    file.write_text(
        f"model: {{n: {N}, k: {K}}}\ntrain:\n"
        + "".join(f"  {k}: {v}\n" for k, v in settings.items())
    )
    return file


def activations(rows, seed=0):
    return torch.from_numpy(3 * np.random.default_rng(seed).standard_normal((rows, D)) + 1).float()


def dictionary(run):
    facts = json.loads((run / "dictionary" / "cfg.json").read_text())
    return {
        name: torch.from_numpy(w) for name, w in read_weights(run / "dictionary").items()
    }, facts["scale"]


def test_one_step_is_adams_of_autograds_gradient(tmp_path):
    file, x = config(tmp_path, eps=1, lr=0.5), activations(200)
    target = torch.randn(200, 7, generator=torch.Generator().manual_seed(0))
    embeddings = torch.randn(N, 7, generator=torch.Generator().manual_seed(1))
    codes = {}
    for name, weight in (("before", 0.0), ("after", 1.0)):
        encoder = Bottleneck(file, tmp_path / name, os.environ["ASSAY"])
        codes = encoder(x)
        (weight * (codes.embed(embeddings) - target).pow(2).mean()).backward()
        assert encoder.close() == 1
    (before, scale), (after, _) = dictionary(tmp_path / "before"), dictionary(tmp_path / "after")
    # At the training scale: W_enc/s, s·b_dec, s·x.
    parameters = {
        "W_enc": before["W_enc"] / scale,
        "b_enc": before["b_enc"],
        "b_dec": before["b_dec"] * scale,
    }
    for p in parameters.values():
        p.requires_grad_(True)
    pre = (scale * x.double() - parameters["b_dec"]) @ parameters["W_enc"].T + parameters["b_enc"]
    values, indices = pre.topk(K, dim=1)
    z = torch.zeros_like(pre).scatter(1, indices, values.relu())
    chosen = codes.indices.reshape(200, K)
    assert torch.equal(chosen, indices.sort(1).values)
    dense = torch.zeros_like(pre).scatter(1, chosen, codes.values.detach().double().reshape(200, K))
    assert torch.allclose(dense, z, atol=1e-5)
    (z @ embeddings.double() - target).pow(2).mean().backward()
    before_step = {name: p.detach().clone() for name, p in parameters.items()}
    torch.optim.Adam(parameters.values(), lr=0.5, eps=1).step()
    unfold = {
        "W_enc": after["W_enc"] / scale,
        "b_enc": after["b_enc"],
        "b_dec": after["b_dec"] * scale,
    }
    for name, p in parameters.items():
        moved, expected = unfold[name] - before_step[name], p.detach() - before_step[name]
        assert expected.norm() > 1e-3, name
        assert (moved - expected).norm() < 1e-3 * expected.norm(), name
    assert torch.equal(after["W_dec"], before["W_dec"])  # no squared error, no gradient


def test_the_encoder_learns_what_the_loss_asks_for(tmp_path):
    """y depends on 4 directions of x alone. With the encoder frozen, the embeddings cannot make up for it."""
    teacher = torch.from_numpy(
        np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0][:, :4]
    ).float()
    losses = {}
    for name, rate in (("trained", 0.003), ("frozen", 1e-12)):
        torch.manual_seed(0)
        encoder = Bottleneck(config(tmp_path, lr=rate), tmp_path / name, os.environ["ASSAY"])
        embeddings = torch.zeros(N, 4, requires_grad=True)
        optimiser = torch.optim.Adam([embeddings], lr=0.02)
        tail = []
        for t in range(400):
            x = activations(256, seed=t)
            optimiser.zero_grad()
            loss = (encoder(x).embed(embeddings) - ((x - 1) @ teacher).relu()).pow(2).mean()
            loss.backward()
            optimiser.step()
            tail.append(loss.item())
        encoder.close()
        losses[name] = np.mean(tail[-40:])
    assert losses["trained"] < 0.5 * losses["frozen"], losses


def test_wrong_uses_are_told(tmp_path):
    file = config(tmp_path)
    encoder = Bottleneck(file, tmp_path / "run", os.environ["ASSAY"])
    encoder(activations(16))
    with pytest.raises(RuntimeError, match="backward"):
        encoder(activations(16))
    encoder._process.stdin.close()
    assert encoder._process.wait() == 1 and not (tmp_path / "run" / "checkpoints").exists()

    def assay(*arguments, data=b""):
        return subprocess.run(
            [os.environ["ASSAY"], "bottleneck", file, "--out", tmp_path / "run", *arguments],
            input=data,
            capture_output=True,
        )

    done = assay("--set", "data.path=x")
    assert done.returncode == 2 and b"data.path" in done.stderr
    done = assay(data=np.array([-1, 5], "<i8").tobytes())
    assert done.returncode == 2 and b"-1 rows" in done.stderr
    done = assay(data=np.array([3, 5], "<i8").tobytes() + b"short")
    assert done.returncode == 1 and b"ended within a batch" in done.stderr
    done = assay(data=np.zeros(2, "<i8").tobytes())
    assert done.returncode == 2 and b"before the first batch" in done.stderr
    for step in ("soon", "-3", "7x"):
        done = assay("--resume", step)
        assert done.returncode == 2 and b"the step of a checkpoint" in done.stderr


class Learner:
    """Encoder and embeddings learn together; the batch of a step depends on the step alone."""

    def __init__(self, file, out, resume="auto", overrides=()):
        self.encoder = Bottleneck(
            file, out, os.environ["ASSAY"], error_weight=0.1, overrides=overrides, resume=resume
        )
        self.embeddings = torch.zeros(N, 4, requires_grad=True)
        self.optimiser = torch.optim.Adam([self.embeddings], lr=0.02)

    def loss(self):
        x = activations(128, seed=self.encoder.step)
        return (self.encoder(x).embed(self.embeddings) - x[:, :4].relu()).pow(2).mean()

    def learn(self, until):
        while self.encoder.step < until:
            self.optimiser.zero_grad()
            self.loss().backward()
            self.optimiser.step()

    def keep(self, path):
        """All of it, under one step."""
        torch.save(
            {
                "step": self.encoder.checkpoint(),
                "embeddings": self.embeddings.detach(),
                "optimiser": self.optimiser.state_dict(),
            },
            path,
        )

    def restore(self, path):
        kept = torch.load(path)
        self.embeddings.data = kept["embeddings"]
        self.optimiser.load_state_dict(kept["optimiser"])
        assert self.encoder.step == kept["step"]

    def follow(self, other):
        """Its embeddings, at the step where both stand."""
        self.embeddings.data = other.embeddings.detach()
        self.optimiser.load_state_dict(other.optimiser.state_dict())


def test_a_step_that_is_told_as_safe_stands(tmp_path):
    """Also where the checkpoint of that step is being written behind the run."""
    learner = Learner(config(tmp_path, steps=40, checkpoint_every=4), tmp_path / "run")
    for step in (4, 8, 12):
        learner.learn(step)
        assert learner.encoder.checkpoint() == step
        assert checkpoints(tmp_path / "run")[-1] == f"step-{step:010}"
    learner.encoder._process.kill()


@pytest.mark.parametrize("variant", ["topk", "batch_topk", "jumprelu"])
def test_killed_stopped_or_left_alone_it_ends_in_the_same_bits(tmp_path, variant):
    file = config(
        tmp_path,
        steps=60,
        warmup_steps=10,
        decay_fraction=0.5,
        checkpoint_every=7,
        keep_checkpoints=9,
        aux_coefficient=0.1,
        dead_after_tokens=500,
    )
    out, kept, choice = tmp_path / "run", tmp_path / "own.pt", [f"model.variant={variant}"]
    whole = Learner(file, tmp_path / "whole", "never", choice)
    whole.learn(60)
    assert whole.encoder.close() == 60

    killed = Learner(file, out, "auto", choice)
    killed.learn(23)
    killed.keep(kept)
    killed.learn(40)
    await_checkpoint(out, 35)
    killed.encoder._process.send_signal(signal.SIGKILL)
    with pytest.raises(RuntimeError, match="status -9"):
        killed.loss()
    assert checkpoints(out) == [f"step-{step:010}" for step in (7, 14, 21, 23, 28, 35)]
    with pytest.raises(RuntimeError, match="status 2"):
        Learner(file, out, 24, choice)
    stopped = Learner(file, out, 23, choice)  # the embeddings are of that step
    stopped.restore(kept)
    assert checkpoints(out)[-1] == "step-0000000023"

    stopped.learn(45)
    loss = stopped.loss()
    stopped.encoder._process.send_signal(signal.SIGTERM)
    assert (
        stopped.encoder._process.wait() == 75
    )  # without the gradient: step 46 is as if it had not begun
    with pytest.raises(Stopped):
        loss.backward()
    left = Learner(file, out, "auto", choice)
    assert left.encoder.step == 45
    left.follow(stopped)

    left.learn(52)
    left.loss()
    left.encoder._process.stdin.close()
    assert left.encoder._process.wait() == 1
    last = Learner(file, out, "auto", choice)
    assert last.encoder.step == 52
    last.follow(left)
    last.learn(60)
    assert last.encoder.close() == 60
    assert weights(out) == weights(tmp_path / "whole")
    end = Path("checkpoints") / "step-0000000060" / "state.safetensors"
    assert (out / end).read_bytes() == (tmp_path / "whole" / end).read_bytes()
    assert torch.equal(last.embeddings, whole.embeddings)
    for resume in ("auto", 45):
        again = Bottleneck(file, out, os.environ["ASSAY"], overrides=choice, resume=resume)
        assert again.step == 60 and again.close() == 60


def test_resuming_names_what_differs_and_passes_over_what_is_damaged(tmp_path, capfd):
    file, out = config(tmp_path, steps=20, checkpoint_every=4, keep_checkpoints=3), tmp_path / "run"
    learner = Learner(file, out)
    learner.learn(14)
    await_checkpoint(out, 12)
    learner.encoder._process.kill()
    assert learner.encoder._process.wait() == -signal.SIGKILL
    assert checkpoints(out) == [f"step-{step:010}" for step in (4, 8, 12)]
    before = files_of(out)
    for overrides, resume, message in (
        (["model.k=5", "train.lr=0.1"], "auto", "model.k is 4 there, 5 now"),
        ([], "never", "--resume auto"),
        ([], 5, "there are: 12, 8, 4"),
    ):
        with pytest.raises(RuntimeError, match="status 2"):
            Learner(file, out, resume, overrides)
        assert message in capfd.readouterr().err
    assert files_of(out) == before
    trainer = out / "checkpoints" / "step-0000000012" / "trainer.json"
    trainer.write_text(trainer.read_text().replace('"scale": ', '"scale": 1'))
    learner = Learner(file, out)
    assert learner.encoder.step == 8
    message = capfd.readouterr().err
    assert "step-0000000012" in message and "passing it over" in message
    learner.encoder._process.kill()
    assert Learner(file, out, 0).encoder.step == 0 and not checkpoints(out)
