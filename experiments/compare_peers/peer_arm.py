"""A peer's arm of the comparison, or the dense reference's: told over stdin when to run a burst of steps.

    peer_arm.py NAME PROBLEM [--threads N]     NAME: see ARMS
The protocol is compare_arm's (arm.cpp). Every arm takes the same batches, learning rate, Adam constants (fused Adam),
k and initial weights; each keeps its own loss, its own AuxK and its own bookkeeping.
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from tool import Parser, as_tool, read_json  # noqa: E402


class Problem:
    def __init__(self, folder: Path, device: str = "cpu"):
        self.folder, self.device = folder, device
        for key, value in read_json(folder / "problem.json").items():
            setattr(self, key, value)
        self.x = np.memmap(folder / "x.bin", np.float32, "r").reshape(-1, self.rows, self.d)

    def batch(self, t: int) -> torch.Tensor:
        return torch.from_numpy(np.array(self.x[t % self.batches]))

    def tensor(self, name: str, *shape: int) -> torch.Tensor:
        return (
            torch.from_numpy(np.fromfile(self.folder / name, np.float32))
            .view(*shape)
            .to(self.device)
        )

    def w_enc(self) -> torch.Tensor:
        return self.tensor("w_enc.bin", self.n, self.d)

    def w_dec(self) -> torch.Tensor:
        return self.tensor("w_dec.bin", self.n, self.d)

    def b_dec(self) -> torch.Tensor:
        return self.tensor("b_dec.bin", self.d)

    def dead(self) -> torch.Tensor:
        return (
            torch.from_numpy(np.fromfile(self.folder / "dead.bin", np.uint8)).bool().to(self.device)
        )

    def adam(self, parameters) -> torch.optim.Adam:
        return torch.optim.Adam(
            parameters, lr=self.lr, betas=(0.9, 0.999), eps=self.eps, fused=True
        )


def precision(bf16: bool, device: str = "cpu"):
    return torch.autocast(device, torch.bfloat16) if bf16 else contextlib.nullcontext()


class Sparsify:
    """The step of sparsify's Trainer around its SparseCoder (the Trainer itself wants a language model)."""

    def __init__(self, p: Problem, bf16: bool):
        if p.device == "cpu":
            os.environ["SPARSIFY_DISABLE_TRITON"] = "1"
        from sparsify import SparseCoder, SparseCoderConfig

        torch.set_float32_matmul_precision("high")  # as its Trainer does
        self.p, self.bf16 = p, bf16
        config = SparseCoderConfig(num_latents=p.n, k=p.k)
        self.coder = SparseCoder(p.d, config, device=p.device, dtype=torch.float32)
        with torch.no_grad():
            self.coder.encoder.weight.copy_(p.w_enc())
            self.coder.W_dec.copy_(p.w_dec())
            self.coder.b_dec.copy_(p.b_dec())
        self.adam = p.adam(self.coder.parameters())
        self.silent = p.dead().long() * (p.dead_after + 1)

    def step(self, x: torch.Tensor) -> None:
        coder = self.coder
        coder.set_decoder_norm_to_unit_norm()
        with precision(self.bf16, self.p.device):
            variance = (x - x.mean(0)).pow(2).sum()
            out = coder(x, dead_mask=self.silent > self.p.dead_after, total_variance=variance)
            loss = out.fvu + self.p.aux_coefficient * out.auxk_loss
        loss.backward()
        fired = torch.zeros(self.p.n, dtype=torch.bool, device=x.device)
        fired[out.latent_indices.flatten()] = True
        coder.remove_gradient_parallel_to_decoder_directions()
        self.adam.step()
        self.adam.zero_grad()
        self.silent += len(x)
        self.silent[fired] = 0

    def dead(self) -> int:
        return int((self.silent > self.p.dead_after).sum())

    def weights(self) -> dict[str, torch.Tensor]:
        coder = self.coder
        coder.set_decoder_norm_to_unit_norm()
        return dict(
            w_enc=coder.encoder.weight,
            w_dec=coder.W_dec,
            b_enc=coder.encoder.bias,
            b_dec=coder.b_dec,
        )


class DictionaryLearning:
    """dictionary_learning's TopKTrainer.update, whole."""

    def __init__(self, p: Problem, bf16: bool):
        from dictionary_learning.trainers.top_k import TopKTrainer

        self.p, self.bf16 = p, bf16
        self.trainer = TopKTrainer(
            steps=1 << 30,
            activation_dim=p.d,
            dict_size=p.n,
            k=p.k,
            layer=0,
            lm_name="none",
            lr=p.lr,
            auxk_alpha=p.aux_coefficient,
            warmup_steps=0,
            device="cpu",
        )
        self.trainer.dead_feature_threshold = p.dead_after
        ae = self.trainer.ae
        with torch.no_grad():
            ae.encoder.weight.copy_(p.w_enc())
            ae.decoder.weight.copy_(p.w_dec().T)
            ae.b_dec.copy_(p.b_dec())
        ae.decoder.weight.grad = ae.encoder.weight.grad = None
        self.trainer.optimizer = p.adam(ae.parameters())
        self.trainer.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.trainer.optimizer, lambda _: 1.0
        )
        self.trainer.num_tokens_since_fired += p.dead().long() * p.dead_after
        self.steps = 1  # its step 0 would set b_dec anew

    def step(self, x: torch.Tensor) -> None:
        with precision(self.bf16):
            self.trainer.update(self.steps, x)
        self.steps += 1

    def dead(self) -> int:
        return int((self.trainer.num_tokens_since_fired >= self.p.dead_after).sum())

    def weights(self) -> dict[str, torch.Tensor]:
        ae = self.trainer.ae
        return dict(
            w_enc=ae.encoder.weight,
            w_dec=ae.decoder.weight.T,
            b_enc=ae.encoder.bias,
            b_dec=ae.b_dec,
        )


class SaeLens:
    """SAELens's SAETrainer.step, whole. It leaves decoder rows free instead of renormalising them."""

    def __init__(self, p: Problem, bf16: bool, sparse: bool = False):
        from sae_lens import TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import LoggingConfig, SAETrainerConfig
        from sae_lens.training.sae_trainer import SAETrainer

        self.p = p
        sae = TopKTrainingSAE(
            TopKTrainingSAEConfig(
                d_in=p.d,
                d_sae=p.n,
                k=p.k,
                use_sparse_activations=sparse,
                aux_loss_coefficient=p.aux_coefficient,
                rescale_acts_by_decoder_norm=False,
                apply_b_dec_to_input=True,
                normalize_activations="none",
            )
        )
        with torch.no_grad():
            sae.W_enc.copy_(p.w_enc().T)
            sae.W_dec.copy_(p.w_dec())
            sae.b_dec.copy_(p.b_dec())
        config = SAETrainerConfig(
            total_training_samples=1 << 50,
            train_batch_size_samples=p.rows,
            lr=p.lr,
            lr_end=p.lr,
            autocast=bf16,
            logger=LoggingConfig(log_to_wandb=False),
        )
        self.trainer = SAETrainer(config, sae, iter(()))
        self.trainer.optimizer = p.adam(sae.parameters())
        self.trainer.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.trainer.optimizer, lambda _: 1.0
        )
        self.trainer.n_forward_passes_since_fired += p.dead() * (config.dead_feature_window + 1)

    def step(self, x: torch.Tensor) -> None:
        self.trainer.step(x)
        self.trainer.n_training_steps += 1

    def dead(self) -> int:
        return int(self.trainer.dead_neurons.sum())

    def weights(self) -> dict[str, torch.Tensor]:
        sae = self.trainer.sae
        return dict(w_enc=sae.W_enc.T, w_dec=sae.W_dec, b_enc=sae.b_enc, b_dec=sae.b_dec)


class Reference:
    """Our loss and update, dense, in fp32 torch: what the sparse path must reproduce."""

    def __init__(self, p: Problem, bf16: bool):
        self.p = p
        self.parameters = dict(
            w_enc=p.w_enc(), w_dec=p.w_dec(), b_enc=torch.zeros(p.n), b_dec=p.b_dec()
        )
        for value in self.parameters.values():
            value.requires_grad_(True)
        self.adam = p.adam(self.parameters.values())
        self.silent = p.dead().long() * p.dead_after

    def step(self, x: torch.Tensor) -> None:
        p, w_dec = self.p, self.parameters["w_dec"]
        scores = torch.addmm(
            self.parameters["b_enc"], x - self.parameters["b_dec"], self.parameters["w_enc"].T
        )
        codes = self.relu_top(scores, p.k)
        residual = x - codes @ w_dec - self.parameters["b_dec"]
        loss = residual.pow(2).sum(1).mean() / p.variance
        self.silent = torch.where((codes > 0).any(0), 0, self.silent + len(x))
        dead = self.silent >= p.dead_after
        if dead.any():
            target = residual.detach()
            aux = self.relu_top(
                scores.masked_fill(~dead, -torch.inf), min(p.d // 2, int(dead.sum()))
            )
            variance = (target - target.mean(0)).pow(2).sum(1).mean()
            loss = loss + p.aux_coefficient * (target - aux @ w_dec).pow(2).sum(1).mean() / variance
        self.adam.zero_grad()
        loss.backward()
        with torch.no_grad():
            w_dec.grad -= (w_dec.grad * w_dec).sum(1, keepdim=True) * w_dec
            self.adam.step()
            w_dec /= w_dec.norm(dim=1, keepdim=True)

    @staticmethod
    def relu_top(scores: torch.Tensor, k: int) -> torch.Tensor:
        values, indices = scores.topk(k, dim=1, sorted=False)
        return torch.zeros_like(scores).scatter(1, indices, values.relu())

    def dead(self) -> int:
        return int((self.silent >= self.p.dead_after).sum())

    def weights(self) -> dict[str, torch.Tensor]:
        return self.parameters


ARMS = {
    "sparsify-fp32": lambda p: Sparsify(p, False),
    "sparsify-bf16": lambda p: Sparsify(p, True),
    "dictionary_learning-fp32": lambda p: DictionaryLearning(p, False),
    "dictionary_learning-bf16": lambda p: DictionaryLearning(p, True),
    "saelens-fp32": lambda p: SaeLens(p, False),
    "saelens-sparse": lambda p: SaeLens(p, False, sparse=True),
    "saelens-bf16": lambda p: SaeLens(p, True),
    "reference": lambda p: Reference(p, False),
}


def resident(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status: no {field}")


def answer(arm, problem: Problem, words: list[str], start: int) -> dict:
    match words:
        case ["run", first, count]:
            ms = []
            for t in range(int(first), int(first) + int(count)):
                x = problem.batch(t)
                begin = time.perf_counter()
                arm.step(x)
                ms.append((time.perf_counter() - begin) * 1e3)
            return {"ms": ms, "dead": arm.dead()}
        case ["save", folder]:
            for name, value in arm.weights().items():
                value.detach().contiguous().numpy().tofile(Path(folder) / f"{name}.bin")
            return {}
        case ["memory"]:
            return {
                "peak": resident("VmHWM"),
                "start": start,
                "state": sum(12 * v.numel() for v in arm.weights().values()) + 8 * problem.n,
            }
    raise ValueError(
        f"unknown command {' '.join(words)!r}; known: run FIRST COUNT, save DIR, memory"
    )


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("name", choices=ARMS)
    parser.add_argument("problem", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    torch.set_num_threads(options.threads)
    problem = Problem(options.problem)
    arm = ARMS[options.name](problem)
    start = resident("VmRSS") - 4 * sum(v.numel() for v in arm.weights().values())
    print("{}", file=replies)
    for line in sys.stdin:
        print(json.dumps(answer(arm, problem, line.split(), start)), file=replies)


if __name__ == "__main__":
    main()
