"""`assay eval --plan` against the results of the evaluation that it plans."""

import json

import pytest

from tests.eval.planted_eval import assay, make_planted


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    make_planted(folder)
    return folder


def evaluate(folder, *arguments, config=None):
    return assay(
        "eval",
        folder / "dict",
        "--data",
        folder / "shards",
        "--config",
        config or folder / "eval.yaml",
        "--tasks",
        "core,ood_probing,probe_regimes",
        *arguments,
    )


@pytest.fixture(scope="module")
def done(planted):
    run = evaluate(planted, "--out", planted / "out")
    assert run.returncode == 0, run.stderr
    return planted / "out" / "results.json", run.stderr


def plan(folder, *arguments):
    run = evaluate(folder, "--plan", "--json", *arguments)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_tables_are_those_of_the_evaluation(planted, done):
    scored = {}
    for task in json.loads(done[0].read_text())["tasks"]:
        for score in task.get("scores", []):
            units, runs = zip(*[cell[:2] for cell in score["cells"]])
            scored[task["name"], score["metric"], score["part"]] = len(set(units)), len(set(runs))
    rows = plan(planted)
    assert {
        (r["task"], r["metric"], r["part"]): (r["units"], r["runs"]) for r in rows
    } == scored and len(rows) == 4
    assert all(r["unit"] == "classes" and r["detectable"] is None for r in rows)


def test_spreads_come_from_results_that_are_named(planted, done):
    assert all(r["units_for_05"] is None or r["units_for_05"] >= 8 for r in plan(planted))
    like = plan(planted, "--like", done[0])
    # Three classes vary by more than the fifteen of the published table.
    assert [r["units_for_05"] for r in like] != [r["units_for_05"] for r in plan(planted)]


def test_nothing_is_encoded_or_written(planted):
    before = sorted(planted.rglob("*"))
    run = evaluate(planted, "--plan")
    assert run.returncode == 0, run.stderr
    assert "encod" not in run.stderr and sorted(planted.rglob("*")) == before
    assert "ood_probing" in run.stdout and "describe" in run.stdout


def test_an_evaluation_says_before_the_work_what_it_will_tell(done):
    lines = done[1].splitlines()
    told = next(i for i, line in enumerate(lines) if "classes × 2 runs describe" in line)
    assert told < next(i for i, line in enumerate(lines) if "encoding for" in line)


def test_a_task_that_cannot_run_is_named(planted, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("eval:\n  ood_probing:\n    filter_label: ''\n    source: gloss\n")
    run = evaluate(planted, "--plan", config=config)
    assert run.returncode == 1
    assert "tasks cannot run: ood_probing (" in run.stderr


def test_the_first_lines_go_by_the_same_results(planted, done, tmp_path):
    (row,) = [r for r in plan(planted, "--like", done[0]) if r["task"] == "ood_probing"]
    run = evaluate(planted, "--like", done[0], "--out", tmp_path / "out")
    assert run.returncode == 0, run.stderr
    assert f"0.05 takes {row['units_for_05'] or 'more runs'}" in run.stderr


def test_results_that_are_not_there_are_named(planted):
    run = evaluate(planted, "--plan", "--like", "nothing.json")
    assert run.returncode == 1 and "nothing.json" in run.stderr
