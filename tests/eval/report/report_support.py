"""A small, clearly synthetic results.json and metrics.jsonl for the report's tests."""

import json
import math
import pathlib
import random

BASELINES = {
    "dense_lr": (0.96, 0.80),
    "diff_means": (0.93, 0.78),
    "lda": (0.95, 0.785),
    "pca_lr": (0.94, 0.77),
    "knn": (0.955, 0.804),
    "tfidf_lr": (0.93, 0.66),
    "neurons_top1": (0.81, 0.63),
    "neurons_top4": (0.90, 0.72),
    "neurons_top16": (0.93, 0.76),
    "neurons_top128": (0.955, 0.79),
}
ARMS = {
    "latents_top1": (0.87, 0.69),
    "latents_top4": (0.92, 0.75),
    "latents_top16": (0.94, 0.76),
    "latents_top128": (0.955, 0.78),
    "latents_all": (0.968, 0.789),
    "latents_l1": (0.962, 0.775),
    "reconstruction_lr": (0.957, 0.79),
}
CLASSES = [f"noun.synthetic{i}" for i in range(8)]
LABELS = {"knn": "kNN", "dense_lr": "logistic regression"}


def arm(name):
    """What a task says of an arm of this name."""
    space, _, k = name.partition("_top")
    entry = {
        "name": name,
        "label": LABELS.get(name, f"{k} {space}" if k else name.replace("_", " ")),
        "role": "headline"
        if name == "latents_top4"
        else "difference"
        if " - " in name
        else "baseline"
        if name in BASELINES
        else "",
        "space": space if k else "activations",
        "method": "logistic_regression",
    }
    return {**entry, "k": int(k)} if k.isdigit() else entry


def metric(name, label, better="", **more):
    return {"name": name, "label": label, "better": better, **more}


def part_entry(name, label):
    return {"name": name, "label": label}


def figure(kind, metrics=(), caption="Read it so.", **more):
    return {"kind": kind, "caption": caption, "metrics": list(metrics), **more}


def number(
    metric,
    value,
    *,
    method="",
    dictionary="",
    part="validation",
    half=0.01,
    n=1000,
    n_unit="tokens",
    control="",
):
    return {
        "metric": metric,
        "method": method,
        "dictionary": dictionary,
        "part": part,
        "value": value,
        "interval": [value - half, value + half],
        "interval_kind": "synthetic",
        "n": n,
        "n_unit": n_unit,
        "unit": "",
        "test_seen_in_training": False if dictionary else None,
        "control": control,
    }


def entry(name, null_kind="", parent=""):
    return {
        "name": name,
        "path": f"runs/{name}",
        "hash": "0123456789abcdef" * 4,
        "variant": null_kind or "topk",
        "null_kind": null_kind,
        "d": 384,
        "n": 6144,
        "k": 32,
        "tokens": 0 if null_kind else 4_096_000,
        "seed": 0,
        "same_data": not null_kind,
        "parent": parent,
    }


def core(trained, control):
    numbers, histogram = [], {}
    for name, fvu, dead, centre in ((trained, 0.155, 0.011, -2.6), (control, 0.747, 0.0, -2.2)):
        for part, shift in (("validation", 0.004), ("train", 0.0)):
            numbers += [
                number("fvu", fvu + shift, dictionary=name, part=part, half=0.003),
                number("l0", 31.97, dictionary=name, part=part, half=0.01),
                number("cosine", 1 - fvu / 2, dictionary=name, part=part),
                number("l2_ratio", 0.95, dictionary=name, part=part),
                number("dead_share", dead, dictionary=name, part=part, n=6144, n_unit="latents"),
            ]
        histogram[name] = [
            {
                "log10_low": b / 4,
                "log10_high": (b + 1) / 4,
                "count": round(1500 * math.exp(-(((b / 4 - centre) / 0.5) ** 2))),
            }
            for b in range(-20, 0)
        ]
    return {
        "name": "core",
        "title": "Reconstruction and latent use",
        "question": "Does it reconstruct?",
        "status": "ok",
        "reason": "",
        "seconds": 12.5,
        "numbers": numbers,
        "scores": [],
        "checks": [],
        "arms": [],
        "metrics": [
            metric("fvu", "FVU", "lower", summary_part="validation"),
            metric("l0", "L0", summary_part="validation"),
            metric("dead_share", "dead share", "lower", summary_part="validation"),
            metric("cosine", "cosine", "higher"),
            metric("l2_ratio", "norm ratio"),
        ],
        "parts": [part_entry("validation", "validation"), part_entry("train", "train")],
        "figures": [
            figure("table", ["fvu", "l0", "cosine", "l2_ratio", "dead_share"]),
            figure("frontier", ["l0", "fvu"], title="Reconstruction", parts=["validation"]),
            figure(
                "histogram",
                title="Firing density",
                details="density_histogram",
                fields=["log10_low", "log10_high", "count"],
                x_title="log10 of the share of tokens",
            ),
        ],
        "details": {"density_histogram": histogram, "dead": {trained: 67, control: 0}},
    }


def probing(trained, control):
    rng = random.Random(1)
    numbers, per_class = [], []
    arms = [("", m, v) for m, v in BASELINES.items()] + [(trained, m, v) for m, v in ARMS.items()]
    arms += [(control, m, (i - 0.09, o - 0.14)) for m, (i, o) in ARMS.items()]
    for dictionary, method, values in arms:
        for part, value in zip(("id", "ood"), values):
            numbers.append(
                number(
                    "auroc",
                    value,
                    method=method,
                    dictionary=dictionary,
                    part=part,
                    half=0.015 if part == "id" else 0.04,
                    n=8,
                    n_unit="classes",
                )
            )
        per_class += [
            {
                "class": c,
                "method": method,
                "dictionary": dictionary,
                "id": values[0],
                "ood": min(1, max(0, values[1] + rng.gauss(0, 0.08))),
            }
            for c in CLASSES
        ]
    for method, value in (
        ("latents_top4 - random_top4", 0.13),
        ("latents_top4 - neurons_top4", 0.03),
        ("latents_top4 - knn", -0.054),
        ("latents_top4 - dense_lr", -0.05),
        ("reconstruction_lr - dense_lr", -0.01),
    ):
        numbers.append(
            number(
                "auroc_difference",
                value,
                method=method,
                dictionary=trained,
                part="ood",
                half=0.03,
                n=8,
                n_unit="classes",
                control=method.split(" - ")[1],
            )
        )
    scores = [
        {
            "metric": "auroc",
            "part": "ood",
            "method": method,
            "dictionary": dictionary,
            "headline": method == "latents_top4",
            "higher_is_better": True,
            "cells": [
                [c, run, values[1] + rng.gauss(0, 0.01)]
                for c in range(len(CLASSES))
                for run in range(4)
            ],
        }
        for dictionary, method, values in arms
        if not dictionary or method.startswith("latents_top")
    ]
    checks = [
        {"name": f"label null: {m}", "passed": True, "detail": "AUROC 0.502 [0.480, 0.524]"}
        for m in ("dense_lr id", "dense_lr ood", f"latents_top4 of {trained} ood")
    ]
    return {
        "name": "ood_probing",
        "title": "Out-of-distribution probing",
        "question": "Does a probe carry over?",
        "status": "ok",
        "reason": "",
        "seconds": 61.0,
        "numbers": numbers,
        "scores": scores,
        "checks": checks,
        "arms": [arm(m) for m in [*BASELINES, *ARMS]]
        + [arm(n["method"]) for n in numbers if n["metric"] == "auroc_difference"],
        "metrics": [
            metric("auroc", "AUROC", "higher", chance=0.5),
            metric("auroc_difference", "difference of AUROC", "higher"),
        ],
        "parts": [part_entry("id", "in distribution"), part_entry("ood", "out of distribution")],
        "figures": [
            figure(
                "dots",
                ["auroc"],
                parts=["id", "ood"],
                panels="dictionary",
                order="best_first",
                caption="An arm a row.",
            ),
            figure(
                "curve",
                ["auroc"],
                parts=["ood"],
                arms=[m for m in [*BASELINES, *ARMS] if "_top" in m],
                x="k",
                x_title="latents or neurons",
            ),
            figure(
                "dots",
                ["auroc_difference"],
                parts=["ood"],
                panels="dictionary",
                references=[{"value": 0, "label": "no difference"}],
            ),
            figure(
                "matrix",
                ["auroc"],
                arms=["dense_lr", "knn", "neurons_top4", "latents_top4", "latents_all"],
                details="per_class",
                fields=["class", "ood"],
            ),
        ],
        "details": {"per_class": per_class, "runs": 4},
    }


def results(trained="synthetic", control="synthetic-random"):
    return {
        "schema": 4,
        "version": "0.1.0",
        "dataset": "shards/synthetic-texts",
        "dataset_hash": "ab" * 32,
        "model": "synthetic-model",
        "hook": "layer 4",
        "split_rule": "validation=0.05,test=0.05,seed=0",
        "seed": 3,
        "dictionaries": [entry(trained), entry(control, "random", trained)],
        "tasks": [core(trained, control), probing(trained, control)],
    }


def log_lines(count=120):
    for i in range(1, count + 1):
        loss = 0.15 + 0.7 * math.exp(-i / 15)
        yield {
            "step": i * 10,
            "tokens": i * 20480,
            "loss": loss,
            "fvu": loss,
            "aux_loss": 0.3 * math.exp(-i / 30),
            "l0": 31.9 + 0.1 * math.sin(i),
            "dead": max(0, 300 - 4 * i),
            "lr": 2e-4,
            "tokens_per_s": 90000.0,
        }


def write_run(folder: pathlib.Path, content=None, lines=None):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content or results()))
    text = "".join(json.dumps(line) + "\n" for line in (lines or log_lines()))
    (folder / "metrics.jsonl").write_text(text)
    return folder
