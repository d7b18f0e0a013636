"""An Assay encoder as a sparse bottleneck inside a torch model, trained by the gradient that reaches its codes.

    encoder = Bottleneck("config.yaml", "run", assay="build/assay")
    for x, target in batches:                        # x: [B, d] float32 activations
        codes = encoder(x)
        loss = loss_of(codes.embed(embeddings), target)
        loss.backward()                              # the encoder takes its step here
    encoder.close()                                  # run/dictionary

One backward pass for each forward pass; x gets no gradient.

With resume="auto" a run that was killed goes on from its newest checkpoint: encoder.step says how many batches it has
learnt from, and the next one belongs after them. A caller that trains something of its own beside the encoder calls
encoder.checkpoint(), keeps its own state under the step that it returns, and goes on with resume=that step.
"""

import subprocess
from dataclasses import dataclass

import numpy as np
import torch

REQUEUE = 75  # the exit status after a signal


@dataclass
class Codes:
    offsets: torch.Tensor  # [B + 1] int64: row i has pairs offsets[i] to offsets[i + 1]
    indices: torch.Tensor  # [pairs] int64, which latent
    values: torch.Tensor  # [pairs] float32, differentiable

    def embed(self, embeddings):
        """[n, width] -> [B, width]: each row's sum of value times the latent's embedding."""
        return torch.nn.functional.embedding_bag(
            self.indices, embeddings, self.offsets[:-1], mode="sum", per_sample_weights=self.values
        )


class _Values(torch.autograd.Function):
    @staticmethod
    def forward(ctx, anchor, bottleneck, values):
        ctx.bottleneck = bottleneck
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        ctx.bottleneck._answer(gradient)
        return None, None, None


class Stopped(RuntimeError):
    """assay bottleneck got a signal to stop: a checkpoint stands, and resume="auto" goes on from it."""


class Bottleneck:
    """error_weight: how much of the dictionary's own squared error joins the loss.
    resume: "never" (refuse a folder that holds a run), "auto" (go on from its newest checkpoint, or start) or the step
    of a checkpoint (0: from the start), which removes later ones unless the run is finished.
    step: optimiser steps taken; at train.steps, or where the run is finished, only close() is left."""

    def __init__(self, config, out, assay="assay", error_weight=0.0, overrides=(), resume="never"):
        command = [
            str(assay),
            "bottleneck",
            str(config),
            "--out",
            str(out),
            "--resume",
            str(resume),
        ]
        for override in overrides:
            command += ["--set", override]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._anchor = torch.zeros((), requires_grad=True)
        self._error_weight = error_weight
        self._waiting = False
        self.step = self._receive_step()

    def __call__(self, x):
        self._require_no_wait()
        x = np.ascontiguousarray(x.detach().cpu().numpy(), dtype="<f4")
        self._send(np.array(x.shape, "<i8"), x)
        rows, pairs = self._receive("<i8", 2)
        offsets, indices, values = (
            self._receive(*part) for part in (("<i8", rows + 1), ("<i4", pairs), ("<f4", pairs))
        )
        self._waiting = True
        values = _Values.apply(self._anchor, self, torch.from_numpy(values))
        return Codes(torch.from_numpy(offsets), torch.from_numpy(indices.astype(np.int64)), values)

    def checkpoint(self):
        """Returns the step, when its checkpoint is safe on disk."""
        self._require_no_wait()
        self._send(np.array([0, 1], "<i8"))
        self.step = self._receive_step()
        return self.step

    def close(self):
        """Saves the dictionary; returns the steps taken."""
        self._require_no_wait()
        self._send(np.zeros(2, "<i8"))
        self.step = self._receive_step()
        self._process.stdin.close()
        if self._process.wait() != 0:
            raise self._ended()
        return self.step

    def _answer(self, gradient):
        gradient = np.ascontiguousarray(gradient.cpu().numpy(), dtype="<f4")
        self._send(
            np.array([0, self._error_weight], "<f8"), np.array([gradient.size], "<i8"), gradient
        )
        self.step = self._receive_step()
        self._waiting = False

    def _require_no_wait(self):
        if self._waiting:
            raise RuntimeError("the last codes' gradient has not come back: call backward() first")

    def _receive_step(self):
        return int(self._receive("<i8", 1)[0])

    def _ended(self):
        self._process.stdout.close()
        status = self._process.wait()
        if status == REQUEUE:
            return Stopped("assay bottleneck was stopped by a signal; a checkpoint stands")
        return RuntimeError(
            f"assay bottleneck has ended with status {status}; its message is on stderr"
        )

    def _send(self, *arrays):
        try:
            for array in arrays:
                self._process.stdin.write(array.tobytes())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._ended() from None

    def _receive(self, dtype, count):
        size = int(count) * np.dtype(dtype).itemsize
        data = self._process.stdout.read(size)
        if len(data) != size:
            raise self._ended()
        return np.frombuffer(bytearray(data), dtype)
