"""experiments/gpu_table.sh on stand-ins for the test program and the bench: what it runs, and the table it makes."""

import json
import os
import pathlib
import stat
import subprocess

SCRIPT = pathlib.Path(__file__).parents[2] / "experiments" / "gpu_table.sh"

ASSAY = """#!/usr/bin/env python3
import json, sys
words = sys.argv[1:]
what = words[1]
values = {name: words[words.index(name) + 1] for name in ("--rows", "--dims", "--latents", "--k")}
dead = float(words[words.index("--dead") + 1]) if "--dead" in words else 0
assert words[0] == "bench" and "--json" in words and words[words.index("--device") + 1] == "cuda"
timing = {"median": int(values["--rows"]) / 1000 + dead, "min": 0, "max": 9}
run = {"rows": int(values["--rows"]), "d": int(values["--dims"]), "n": int(values["--latents"]), "k": 32,
       "device": "cuda", "device_name": "Stand-in", "dead": dead, "copied_gb_per_s": 2000, "ms": {what: timing}}
if what == "topk":
    timing.update(gb_per_s=1700, share_of_copied=0.85)
if what == "step":
    run["ms"]["floor: bf16 product"] = run["ms"]["floor: Adam streaming"] = {"median": 1.25, "min": 1, "max": 2}
    run["step_over_floor"] = timing["median"] / 2.5
print(json.dumps(run))
"""

PEER = """#!/usr/bin/env python3
import json, sys
assert sys.argv[1] == "experiments/compare_peers/sparsify_on_device.py"
rows, d, n, k = (int(sys.argv[sys.argv.index(name) + 1]) for name in ("--rows", "--dims", "--latents", "--k"))
ms = {"sparsify-fp32": {"median": 9.0}, "sparsify-bf16": {"median": rows / 250}}
print(json.dumps({"rows": rows, "d": d, "n": n, "k": k, "dead": 0, "ms": ms, "triton": True, "sparsify": "0"}))
"""


def run(tmp_path, test_status, peers=False):
    programs = {"assay": ASSAY, "test_gpu": f"#!/bin/sh\nexit {test_status}\n"}
    if peers:
        programs[".venv-peers/bin/python"] = PEER
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if "cuda" not in p)
    return subprocess.run(
        [SCRIPT, tmp_path, tmp_path / "table"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
    )


def test_one_row_a_size_with_the_devices_name(tmp_path):
    done = run(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].startswith("Stand-in;")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert len(rows) == 2 + 3 and len({len(row) for row in rows}) == 1
    assert [row[0] for row in rows[2:]] == [
        "2048, 384, 6144, 32",
        "2048, 768, 24576, 32",
        "1024, 2304, 65536, 32",
    ]
    assert rows[2][1:5] == ["2.048", "0.82", "not measured: no .venv-peers", "2.148"]
    assert rows[2][-1] == "2.048 (1700 GB/s, 85 % of a copy's)"
    summary = json.loads((tmp_path / "table.json").read_text())
    assert summary["device"] == "Stand-in" and len(summary["runs"]) == 3 * 7


def test_no_table_for_a_build_that_fails_its_tests(tmp_path):
    assert run(tmp_path, 1).returncode != 0
    assert not (tmp_path / "table.md").exists()


def test_sparsify_is_beside_us_where_the_peers_are_installed(tmp_path):
    done = run(tmp_path, 0, peers=True)
    assert done.returncode == 0, done.stderr
    assert (
        "| 2.048 | 0.82 | 4.00 (sparsify-bf16, Triton on) |" in (tmp_path / "table.md").read_text()
    )
    assert len(json.loads((tmp_path / "table.json").read_text())["peers"]) == 3
