"""The checks of the source tree find what they are for."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKS = Path(__file__).resolve().parent


def check(script, root):
    """Exit status and output lines of a check, on the tree at root."""
    command = [sys.executable, CHECKS / script, root]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert not result.stderr
    return result.returncode, result.stdout.splitlines()


def write(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    "source, target",
    [
        ("kernels/topk.h", "data/stream.h"),
        ("sae/member.cpp", "experiments/commands/config.h"),
        ("kernels/base/view.h", "kernels/topk.h"),
        ("kernels/topk.cpp", "kernels/cuda/machine.h"),
        ("data/base/sha256.cpp", "data/stream.h"),
        ("eval/statistics/stats.h", "eval/learners/linear.h"),
        ("eval/results/results.h", "eval/report/page.h"),
        ("eval/report/page.cpp", "eval/tasks/task.h"),
        ("eval/report/page.cpp", "eval/learners/linear.h"),
        ("eval/report/page.cpp", "sae/dictionary.h"),
        ("eval/tasks/run.cpp", "eval/tasks/core/core.h"),
        ("eval/tasks/core/core.cpp", "eval/tasks/spurious/scores.h"),
    ],
)
def test_an_include_that_goes_the_wrong_way_is_named(tmp_path, source, target):
    write(tmp_path, {source: f'#include <vector>\n#include "{target}"\n', target: ""})
    status, lines = check("layout.py", tmp_path)
    assert status == 1 and len(lines) == 1
    assert lines[0].startswith(f"{source}: includes {target}: ")


def test_includes_that_go_the_right_way_pass(tmp_path):
    lines = {
        "kernels/cuda/topk.cuh": '#include "kernels/topk.h"\n',
        "data/stream.h": '#include "data/base/sha256.h"\n#include "kernels/base/view.h"\n',
        "eval/report/page.h": '#include "eval/results/results.h"\n#include "data/base/sha256.h"\n',
        "eval/tasks/all.cpp": '#include "eval/tasks/core/core.h"\n',
        "eval/tasks/core/core.cpp": '#include "eval/tasks/core/core.h"\n#include "eval/tasks/task.h"\n',
        "eval/tasks/spurious/sample.h": '#include "eval/tasks/probing/sample.h"\n',
        "experiments/commands/main.cpp": '#include "eval/tasks/task.h"\n#include "fmt/format.h"\n',
    }
    write(tmp_path, lines)
    assert check("layout.py", tmp_path) == (0, [])


# The fault that the check is there for: two tables of scores, each with a destructor of its own.
TABLE = "#pragma once\nnamespace assay::eval {{\n/// struct of {0}\nstruct ScoreTable {{\n  {0} rows;\n}};\n}}\n"


def test_two_types_of_one_name_are_found(tmp_path):
    write(tmp_path, {"eval/compare.h": TABLE.format("A"), "eval/ood_scores.h": TABLE.format("B")})
    status, lines = check("odr.py", tmp_path)
    assert status == 1 and len(lines) == 1
    assert lines[0].startswith("assay::eval::ScoreTable: defined in eval/compare.h and in eval/ood")


@pytest.mark.parametrize(
    "kind", ["struct Row", "class Row final : public Base", "enum class Row : char"]
)
def test_every_kind_of_type_counts_in_sources_too(tmp_path, kind):
    text = f"namespace assay {{\nstruct Base;\n{kind} {{}};\n}}\n"
    write(tmp_path, {"sae/a.cpp": text, "tests/sae/b_test.cpp": text})
    assert check("odr.py", tmp_path)[0] == 1


def test_types_of_a_file_of_its_own_do_not_count(tmp_path):
    hidden = "namespace assay {\nnamespace {\nstruct Row { char brace = '}'; };\nconst char* s = \"}}\";\n}\n}\n"
    local = "namespace assay {\ninline void f() {\n  struct Row {\n    int x;\n  };\n}\n}\n"
    other = "namespace assay::probing {\nstruct Row {\n  struct Inner {};\n};\nstruct Forward;\n}\n"
    public = "namespace assay {\nstruct Row {\n};\nstruct Forward {\n};\n}\n"
    write(
        tmp_path, {"data/a.cpp": hidden, "data/b.h": local, "data/c.h": other, "data/d.h": public}
    )
    assert check("odr.py", tmp_path) == (0, [])


def test_programs_that_are_never_linked_together_may_share_a_name(tmp_path):
    text = "struct Fixture {\n};\n"
    write(tmp_path, {"tests/sae/a_test.cpp": text, "tests/data/b_test.cpp": text})
    assert check("odr.py", tmp_path) == (0, [])
