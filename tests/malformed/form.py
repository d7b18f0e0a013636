"""What every refusal looks like, whoever says it: the rules that the tests of this folder hold all programs to."""

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

FAILURE, USAGE = 1, 2
EITHER = (
    FAILURE,
    USAGE,
)  # an input that is missing, or no such thing: a command may call it either

# Text that belongs to a library or an interpreter and not into a message for people.
RAW = re.compile(
    r"Traceback|\[json\.exception|json\.exception|yaml-cpp|YAML::|H5[A-Z][A-Za-z]+\(|HDF5-DIAG|filesystem error|"
    r"basic_string|std::|bad_alloc|what\(\)|terminate called|KeyError|Errno|\d{40}|\x00"
)
# A line says what to do, or what was expected, which comes to the same.
REMEDY = re.compile(
    r"expected|must|needs?\b|required|at (most|least)|(give|name|choose|use|make|remove|write|copy|pass|repack|export|"
    r"install|see|run|wait|take|try|add|save|read|encode|tokenise|start|close|delete|correct|check|repeat|keep|leave)\b|"
    r"nearest|known|allowed|there are|takes|one of|the (file|folder|data|header) ha(s|ve)|only|instead|"
    r"missing|no tensor|the kinds are|this build reads|`assay \w+` writes|"
    r"[Nn]o such (file|folder|module)|Is a directory|Not a directory|Permission denied|too long",
)
LONGEST = 700  # characters of a line
DEEP = 100_000  # brackets: more than a parser's stack holds


def as_bytes(value):
    return value if isinstance(value, bytes) else value.encode()


@dataclass
class Case:
    """One malformed use of a program: `arguments` behind its name, "OUT" being a path that does not exist yet."""

    name: str
    arguments: list
    status: int  # FAILURE, USAGE or EITHER
    says: tuple = ()  # parts of the line: the file, key, option or row, and what is found there


@dataclass
class Outcome:
    status: int
    stdout: str
    stderr: str


def faults_of_form(program, log, case, outcome):
    """What is wrong with how `program` refused the case. Its line begins with its name, progress with `log`."""
    faults = []
    if outcome.status not in (case.status if case.status == EITHER else (case.status,)):
        faults.append(f"exit status {outcome.status}, expected {case.status}")
    lines = outcome.stderr.splitlines()
    while len(lines) > 1 and log and lines[0].startswith(f"{log}: "):  # marked progress
        lines.pop(0)
    if len(lines) != 1:
        faults.append(f"{len(lines)} lines on stderr")
    line = lines[-1] if lines else ""
    if not line.startswith(f"{program}: "):
        faults.append(f"the line does not begin with '{program}: '")
    if RAW.search(outcome.stderr):
        faults.append(f"raw text '{RAW.search(outcome.stderr)[0]}'")
    if not REMEDY.search(line):
        faults.append("does not say what to do")
    if len(line) > LONGEST:
        faults.append(f"{len(line)} characters")
    if any(ord(c) < 32 or ord(c) == 127 for c in line):
        faults.append("control characters")
    faults += [f"'{part}' is not named" for part in map(str, case.says) if part not in line]
    return faults


def contents(folder):
    """Hash of each file below, and which folders there are."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in sorted(Path(folder).rglob("*"))
        if not path.is_symlink()
    }


def changes(before, after):
    names = sorted(k for k in before.keys() | after.keys() if before.get(k) != after.get(k))
    return [f"{name} changed" for name in names]


def faults(run, name, log, case, folder):
    """Everything that is wrong with the outcome of one case; `folder` is new and takes its output."""
    folder.mkdir()
    arguments = [os.fspath(folder / "out") if a == "OUT" else os.fspath(a) for a in case.arguments]
    outcome = run(*arguments)
    found = faults_of_form(name, log, case, outcome)
    if outcome.stdout:
        found.append("something on stdout")
    left = contents(folder)
    if left:
        found.append(f"left behind: {', '.join(left)}")
    return [f"{case.name}: {'; '.join(found)}\n    {outcome.stderr.strip()[:900]}"] if found else []
