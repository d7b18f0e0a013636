"""Malformed inputs to every command: the form of the line, the exit status, and that no file changed.

The commands come from the program's own help: one without cases fails.
"""

import itertools
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from content_cases import content_cases
from form import Outcome, changes, contents, faults
from option_cases import misuse_cases, option_cases
from path_cases import GOOD, fill, make_bad_paths, path_cases

ASSAY = os.environ["ASSAY"]


def run(*arguments):
    done = subprocess.run(
        [ASSAY, *arguments], capture_output=True, timeout=120, stdin=subprocess.DEVNULL
    )
    return Outcome(
        done.returncode, *(o.decode(errors="replace") for o in (done.stdout, done.stderr))
    )


def commands():
    listed = run("--help").stdout.split("Subcommands:")[1].splitlines()
    return [line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "]


@pytest.fixture(scope="module")
def cases(world, tmp_path_factory):
    """All cases of each command."""
    folder = tmp_path_factory.mktemp("bad")
    bad_paths = make_bad_paths(folder / "paths")
    places = {}
    for command, good in GOOD.items():
        slots = [i for i, a in enumerate(good) if a.endswith(".yaml}")]
        if slots:
            places[command] = fill(good, world), slots[0]
    of = {command: [] for command in GOOD}
    for command, good in GOOD.items():
        of[command] += option_cases(run(command, "--help").stdout, fill(good, world))
        of[command] += path_cases(command, world, bad_paths)
    contents_of = content_cases(folder / "contents", world, places)
    for command, case in itertools.chain(contents_of, misuse_cases(world)):
        of[command].append(case)
    return of


@pytest.mark.parametrize("command", commands())
def test_command_refuses_in_one_line(command, cases, world, tmp_path):
    assert cases.get(command), f"no malformed inputs for assay {command}: add them to this folder"
    root = world["shards"].parent
    before = contents(root)
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda numbered: faults(
                partial(run, command), "assay", command, numbered[1], tmp_path / str(numbered[0])
            ),
            enumerate(cases[command]),
        )
        wrong = [fault for each in found for fault in each]
    wrong += changes(before, contents(root))
    assert not wrong, f"{len(wrong)} of {len(cases[command])} cases:\n" + "\n".join(wrong)
