"""The command line itself: help, version, usage errors, and the generated reference."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ASSAY = os.environ["ASSAY"]
ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    return subprocess.run([ASSAY, *arguments], capture_output=True, text=True, timeout=60)


def listed_commands():
    """The commands that `assay --help` lists."""
    lines = run("--help").stdout.split("\nSubcommands:\n")[1].splitlines()
    return [line.split()[0] for line in lines if re.match(r"  \w", line)]


COMMANDS = listed_commands()


def test_help_lists_every_command_file():
    sources = (ROOT / "experiments" / "commands").glob("*.cpp")
    files = {file.stem for file in sources if f"void register_{file.stem}(" in file.read_text()}
    assert len(files) > 15 and len(COMMANDS) == len(set(COMMANDS)) == len(files)


def test_help_and_version_are_plain():
    result = run("--help")
    assert result.returncode == 0 and not result.stderr
    version = run("--version")
    assert (
        version.returncode == 0
        and version.stdout.startswith("assay ")
        and len(version.stdout.splitlines()) == 1
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself(command):
    result = run(command, "--help")
    assert result.returncode == 0 and not result.stderr
    assert result.stdout.count("\n") > 3


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["train"],
        ["train", "x.yaml"],
        ["bench", "--rows", "-1"],
        ["bench", "--k", "9", "--latents", "8"],
        ["bench", "--device", "cuda"],
    ],
)
def test_usage_errors_exit_with_2(arguments):
    result = run(*arguments)
    assert result.returncode == 2 and result.stderr, arguments


@pytest.mark.parametrize("arguments", [["step", "--threads", "2"], ["topk", "--dead", "0.1"]])
def test_what_a_device_cannot_heed_is_refused_by_its_name(arguments):
    result = run("bench", *arguments, "--device", "cuda")
    assert result.returncode == 2 and result.stderr.startswith(f"assay: bench: {arguments[1]} is ")


def test_the_committed_reference_is_what_the_program_generates():
    assert run("config", "--reference").stdout == (ROOT / "docs" / "config.md").read_text(), (
        "docs/config.md is out of date: build/assay config --reference > docs/config.md"
    )
