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


def run(tmp_path, test_status):
    for name, text in (("assay", ASSAY), ("test_gpu", f"#!/bin/sh\nexit {test_status}\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if "cuda" not in p)
    return subprocess.run([SCRIPT, tmp_path, tmp_path / "table"], capture_output=True, text=True,
                          env={**os.environ, "PATH": path})


def test_one_row_a_size_with_the_devices_name(tmp_path):
    done = run(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert lines[0].startswith("Stand-in;")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
    assert len(rows) == 2 + 3 and len({len(row) for row in rows}) == 1
    assert [row[0] for row in rows[2:]] == ["2048, 384, 6144, 32", "2048, 768, 24576, 32", "1024, 2304, 65536, 32"]
    assert rows[2][1:4] == ["2.048", "0.82", "2.148"]
    assert rows[2][-1] == "2.048 (1700 GB/s, 85 % of a copy's)"
    summary = json.loads((tmp_path / "table.json").read_text())
    assert summary["device"] == "Stand-in" and len(summary["runs"]) == 3 * 7


def test_no_table_for_a_build_that_fails_its_tests(tmp_path):
    assert run(tmp_path, 1).returncode != 0
    assert not (tmp_path / "table.md").exists()
