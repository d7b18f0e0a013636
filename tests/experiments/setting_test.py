"""The hash by which dictionaries count as reseeds of one another."""

import json

import pytest
from tiny_data import assay, rows, write_activations


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    folder = tmp_path_factory.mktemp("setting")
    write_activations(folder / "x.h5", rows(600))
    for place in ("set", "elsewhere"):
        assay("index", folder / "x.h5", "--out", folder / place)
    config = folder / "config.yaml"
    config.write_text(
        f"data: {{path: {folder / 'set'}}}\nmodel: {{n: 32, k: 4}}\ntrain: {{steps: 4, batch: 64}}\n"
    )

    def setting(name, *changes):
        out = folder / name
        arguments = [a for change in changes for a in ("--set", change.format(folder=folder))]
        assay("train", config, "--out", out, *arguments)
        return json.loads((out / "dictionary" / "cfg.json").read_text())["setting"]

    return setting


def test_seeds_and_places_are_no_setting(train):
    first = train("first")
    assert len(first) == 64
    assert first == train("seed", "train.seed=7")
    assert first == train("order", "data.order_seed=7")
    assert first == train("threads", "train.threads=1", "train.log_every=2", "data.readers=1")
    assert first == train("place", "data.path={folder}/elsewhere")


@pytest.mark.parametrize("change", ["train.lr=0.01", "model.k=5", "train.steps=5", "data.test=0.3"])
def test_all_else_is(train, change):
    assert train("base of " + change.replace("=", " ")) != train(change.replace("=", " "), change)
