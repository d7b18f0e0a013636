"""Malformed inputs to every Python tool: the form of the line, the exit status, and that no file changed.

The tools are all programs in the source tree: one without cases fails.
"""

import os
import runpy
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path

import pytest
from form import Outcome, changes, contents, faults
from tool_cases import tool_cases

ROOT = Path(__file__).resolve().parents[2]
ONLY_OPTIONS = {  # they read nothing of the user's before hours of work, or need another environment
    "experiments/compare_peers/render.py",
    "experiments/compare_peers/sparsify_on_device.py",
}


def tools():
    """Every program of ours in Python."""
    folders = ("data/python", "sae/python", "experiments")
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return [str(f.relative_to(ROOT)) for f in files if '__name__ == "__main__"' in f.read_text()]


def run_tool(tool, *arguments):
    """The tool in a process of its own: forked, for the packages that it imports take seconds to load."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            os._exit(as_program(ROOT / tool, arguments))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [(file.seek(0), file.read().decode(errors="replace"))[1] for file in (out, err)]
    return Outcome(status, *texts)


def as_program(path, arguments):
    """Runs the file as `python FILE ARGUMENTS` would, and returns the exit status."""
    sys.argv = [str(path), *map(str, arguments)]
    sys.path.insert(0, str(path.parent))
    sys.stdout, sys.stderr = (open(fd, "w", closefd=False) for fd in (1, 2))
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    try:
        runpy.run_path(str(path), run_name="__main__")
        status = 0
    except SystemExit as stopped:
        status = stopped.code or 0
        if not isinstance(status, int):
            print(status, file=sys.stderr)
            status = 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return status


@pytest.fixture(scope="module")
def cases_of_tools(world, tmp_path_factory):
    """All cases of each tool, and the folder that holds their inputs."""
    folder = tmp_path_factory.mktemp("tools")
    of = {tool: [] for tool in tools()}
    for tool, case in tool_cases(folder, world, tools()):
        of[tool].append(case)
    return of, folder


@pytest.mark.parametrize("tool", tools())
def test_tool_refuses_in_one_line(tool, cases_of_tools, tmp_path):
    cases, inputs = cases_of_tools[0][tool], cases_of_tools[1]
    before = contents(inputs)
    own = [case for case in cases if case.arguments not in (["--zzzzzz"], ["--hel"])]
    assert own or tool in ONLY_OPTIONS, f"no malformed inputs for {tool}: add them to tool_cases.py"
    wrong, name = [], Path(tool).stem
    for number, case in enumerate(cases):
        wrong += faults(partial(run_tool, tool), name, None, case, tmp_path / str(number))
    wrong += changes(before, contents(inputs))
    assert not wrong, f"{len(wrong)} of {len(cases)} cases:\n" + "\n".join(wrong)
