"""Every command in the documentation works, or says why no test runs it. A fence of shell lines carries a mark:
<!-- run --> (run here, page by page, on tiny data), or <!-- not run: REASON --> (--help must know its options).
<!-- file: NAME --> before a fence writes it to that file for the commands that follow, its sizes cut down."""

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tiny_wordnet
import yaml
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
ASSAY = Path(os.environ["ASSAY"]).resolve()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"\s*(build/assay|assay|bash|cmake|ctest|\.venv\S*/bin/python|python) \S")
LARGEST = {"n": 64, "k": 4, "steps": 40, "batch": 256, "warmup_steps": 4}


class Block(NamedTuple):
    mark: str  # the comment before it, "" where there is none
    language: str  # "" for an indented block
    text: str


def blocks(page):
    """The page's fences, and its indented blocks outside of lists."""
    found, lines, mark = [], page.read_text().splitlines(), ""
    at = 0
    while at < len(lines):
        line = lines[at]
        if fence := re.fullmatch(r"```(\w*)", line):
            end = lines.index("```", at + 1)
            found.append(Block(mark, fence[1], "\n".join(lines[at + 1 : end]) + "\n"))
            at = end
        elif line.startswith("    ") and COMMAND.match(line):
            found.append(Block(mark, "", line + "\n"))
        comment = re.fullmatch(r"<!-- (.*) -->", line)
        mark = comment[1] if comment else ""
        at += 1
    return found


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_is_marked(page):
    for block in blocks(page):
        if any(map(COMMAND.match, block.text.splitlines())) and block.language != "text":
            assert block.language == "sh", f"commands outside of a fence of sh:\n{block.text}"
        if block.language == "sh":
            assert block.mark == "run" or re.fullmatch(r"not run: .{8,}", block.mark), (
                f"needs <!-- run --> or <!-- not run: REASON --> before it:\n{block.text}"
            )


@cache
def options_of(command):
    """What `assay COMMAND --help` lists."""
    done = subprocess.run([ASSAY, command, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"there is no command `assay {command}`"
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", done.stdout)) | {"-h"}


def check_options(line):
    """That the program a shell line runs is there and has the options it is given."""
    words = line.split()
    options = {w.split("=")[0] for w in words if w.startswith("--")}
    if words[0] in ("build/assay", "assay"):
        if len(words) > 1 and re.fullmatch(r"[a-z-]+", words[1]):
            known = (
                options_of(words[1]) if not words[1].startswith("-") else {"--help", "--version"}
            )
            assert options <= known, f"{line}: {options - known} not in assay {words[1]} --help"
    elif re.fullmatch(r"bash|\.venv\S*/bin/python", words[0]) and words[1] != "-m":
        script = ROOT / words[1]
        assert script.is_file(), f"{line}: there is no {words[1]}"
        unknown = [o for o in options if o not in script.read_text()]
        assert not unknown, f"{line}: {unknown} not in {words[1]}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_options_of_commands_that_are_not_run(page):
    for block in blocks(page):
        if block.mark.startswith("not run"):
            for line in re.split(r"[\n;]|&&", block.text.replace("\\\n", " ")):
                if COMMAND.match(line):
                    check_options(line.strip().rstrip("&"))
    for span in re.findall(r"(?<!`)`((?:build/)?assay [^`]+)`(?!`)", page.read_text()):
        check_options(" ".join(span.split()))


def test_every_task_has_its_page():
    listed = subprocess.run([ASSAY, "eval", "--list"], capture_output=True, text=True, check=True)
    tasks = re.findall(r"^(\w+)", listed.stdout, re.M)
    assert len(tasks) > 10
    for task in tasks:
        page = (ROOT / f"docs/tasks/{task}.md").read_text()
        assert page.startswith(f"# {task}: "), task
        parts = re.findall(r"^## (.*)", page, re.M)
        assert parts == ["What it answers and how to run it", "Protocol", "Measured"], task
        assert f"docs/tasks/{task}.md" in (ROOT / "docs/mkdocs.yml").read_text(), task
        assert f"(tasks/{task}.md)" in (ROOT / "docs/evaluation.md").read_text(), task


def test_every_command_is_introduced():
    help_text = subprocess.run([ASSAY, "--help"], capture_output=True, text=True, check=True).stdout
    commands = re.findall(r"^  ([a-z-]+) ", help_text.split("Subcommands:")[1], re.M)
    introduced = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs/start.md").read_text()))
    assert len(commands) > 10 and set(commands) <= introduced, set(commands) - introduced


def shrunk(text):
    """A configuration with its sizes cut to the tiny data; parsing it checks it too."""
    config = yaml.safe_load(text)
    for section in ("model", "train"):
        for key, value in config.get(section, {}).items():
            config[section][key] = min(value, LARGEST[key]) if key in LARGEST else value
    config["data"] = {"lanes": 4, **config["data"]}
    return yaml.safe_dump(config)


def place(folder):
    """The repository's programs as the pages name them; experiments/quickstart.yaml is shrunk."""
    (folder / "build").mkdir()
    (folder / "build/assay").symlink_to(ASSAY)
    for entry in (".venv", "data", "sae", "tests"):
        (folder / entry).symlink_to(ROOT / entry)
    (folder / "experiments").mkdir()
    for entry in (ROOT / "experiments").iterdir():
        if entry.name != "quickstart.yaml":
            (folder / "experiments" / entry.name).symlink_to(entry)
    quickstart = (ROOT / "experiments/quickstart.yaml").read_text()
    (folder / "experiments/quickstart.yaml").write_text(shrunk(quickstart))


def shell(folder, text):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """A finished quickstart on tiny data, and a few files to index."""
    folder = tmp_path_factory.mktemp("prepared")
    place(folder)
    run = folder / "runs/quickstart"
    (run / "shards").mkdir(parents=True)
    tiny_wordnet.write(run / "shards")
    shell(folder, "cd runs/quickstart; ../../build/assay index shards/shard-*.h5 --out shards")
    shell(folder, "build/assay train experiments/quickstart.yaml --out runs/trained")
    for part in (folder / "runs/trained").iterdir():
        part.rename(run / part.name)
    (folder / "runs/trained").rmdir()
    rows = np.random.default_rng(1).standard_normal((5, 4096, 32)).astype(np.float32)
    for file, x in zip(("mine.h5", "other.h5"), rows):
        tiny_wordnet.write_rows(folder / file, x)
    np.save(folder / "a.npy", rows[2])
    np.save(folder / "b.npy", rows[3])
    save_file({"acts": rows[4]}, folder / "x.safetensors")
    return folder


RUN = [page for page in PAGES if any(block.mark == "run" for block in blocks(page))]


@pytest.mark.parametrize("page", RUN, ids=name)
def test_commands_run(page, prepared, tmp_path):
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder, symlinks=True)
    for block in blocks(page):
        if block.mark.startswith("file: "):
            text = shrunk(block.text) if block.language == "yaml" else block.text
            (folder / block.mark.removeprefix("file: ")).write_text(text)
        elif block.mark == "run":
            shell(folder, block.text)
