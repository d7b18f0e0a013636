"""Do the tests notice? Changes one place of the evaluation at a time, builds and tests, and lists what survives.

    .venv/bin/python tests/mutate.py --out mutations.json [--count 150] [--seed 0] [--workers 2] [FILE …]

FILEs are sources below eval/; without any, those that compute statistics, learn probes and make scores. A mutation
swaps an operator, a bound, a constant, a function or a condition. It is killed if a test fails; one that does not
compile does not count. The work is done in copies of the repository beside --out, one a worker, at the commit that is
checked out. A later run goes on with what was killed, in files that have not changed since, and tries survivors again.
A change after which the tests do not end is killed too, once they have taken four times as long as without it; so
nothing else that is heavy may run beside it.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
FOLDERS = ("eval/statistics", "eval/results/compare", "eval/results/families", "eval/learners")
SCORES = re.compile(
    r"eval/tasks/\w+/(scores|numbers|removal_scores|probes|methods|fixes|arms|sample)\.cpp$"
)

# What is found, what takes its place. One place of a line at a time.
OPERATORS = [
    (r" < ", " <= "),
    (r" <= ", " < "),
    (r" > ", " >= "),
    (r" >= ", " > "),
    (r" == ", " != "),
    (r" != ", " == "),
    (r" && ", " || "),
    (r" \|\| ", " && "),
    (r" \+ ", " - "),
    (r" - ", " + "),
    (r" \* ", " / "),
    (r" / ", " * "),
    (r" \+= ", " -= "),
    (r" -= ", " += "),
    (r"std::max\b", "std::min"),
    (r"std::min\b", "std::max"),
    (r"std::sqrt\(", "("),
    (r"std::abs\(", "("),
    (r"\btrue\b", "false"),
    (r"\bfalse\b", "true"),
    (r"\b1\b", "2"),
    (r"\b2\b", "1"),
    (r"\b0\b", "1"),
    (r"(?<![\w.])\.5\b", ".6"),
    (r"\b0\.5\b", "0.6"),
    (r"if \((.+)\)(?= \{$| [a-z])", r"if (!(\1))"),
    (r"^( +)(continue|break);", r"\1;"),
]
# Lines on which a change says nothing of a number.
SILENT = re.compile(
    r"^\s*(//|#|namespace|using |static_assert)|fmt::|Error\(|->description|reserve\("
    r"|\b(arm|metric|part|task)_label\(|table_title\(|\.(label|title) ="
)

UNBUILT = "does not compile"
ENDLESS = "the time limit"


@dataclass
class Mutation:
    file: str
    line: int  # from 1
    before: str
    after: str
    outcome: str = ""  # "killed by …", "survived", "does not compile"


def sources(given):
    if given:
        return [str(Path(name)) for name in given]
    listed = subprocess.run(
        ["git", "ls-files", "eval/*.cpp"], cwd=REPO, capture_output=True, text=True, check=True
    ).stdout.split()
    return [f for f in listed if f.startswith(FOLDERS) or SCORES.search(f)]


def mutations_of(file, text):
    """Every single change of a file."""
    for number, line in enumerate(text.splitlines(), 1):
        if SILENT.search(line):
            continue
        code = line.split("  //")[0]
        for pattern, replacement in OPERATORS:
            for match in re.finditer(pattern, code):
                after = code[: match.start()] + match.expand(replacement) + code[match.end() :]
                if after != code:
                    yield Mutation(file, number, line.strip(), after.strip())


def shuffled(files, root, seed):
    """All of them, in an order drawn by the seed."""
    every = [m for file in files for m in mutations_of(file, (root / file).read_text())]
    random.Random(seed).shuffle(every)
    return every


class Workshop:
    """A copy of the repository with a build of the tests."""

    def __init__(self, folder):
        self.root = folder
        if not self.root.exists():
            subprocess.run(["git", "clone", "-q", REPO, self.root], check=True)
        self.commit = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=REPO, capture_output=True, text=True, check=True
        ).stdout.strip()
        for command in (["fetch", "-q", REPO, self.commit], ["checkout", "-qf", self.commit]):
            subprocess.run(["git", *command], cwd=self.root, check=True)
        (self.root / ".venv").exists() or (self.root / ".venv").symlink_to(REPO / ".venv")
        if self.run("cmake", "--preset", "default", "-DASSAY_TESTS=ON").returncode:
            sys.exit(
                f"mutate.py: {self.root} cannot be configured: run bash cmake/setup.sh --tests"
            )

    def run(self, *command, limit=1200):
        return subprocess.run(
            command, cwd=self.root, capture_output=True, text=True, errors="replace", timeout=limit
        )

    def build(self):
        return self.run("cmake", "--build", "build", "--target", "test_eval", "-j1")

    def first_failure(self, tests, limit):
        """The name of a test that fails, "" if none does."""
        try:
            done = self.run(
                "build/test_eval", "--gtest_brief=1", "--gtest_fail_fast", f"--gtest_filter={tests}", limit=limit
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return ENDLESS
        if done.returncode == 0:
            return ""
        failed = re.search(r"\[  FAILED  \] ([\w./]+)", done.stdout)
        return failed[1] if failed else f"exit status {done.returncode}"

    def outcome(self, mutation, limit):
        path = self.root / mutation.file
        text = path.read_text()
        lines = text.splitlines(keepends=True)
        line = lines[mutation.line - 1]
        code = line.split("  //")[0].rstrip("\n")
        indent = code[: len(code) - len(code.lstrip())]
        lines[mutation.line - 1] = indent + mutation.after + "\n"
        try:
            path.write_text("".join(lines))
            if self.build().returncode:
                return UNBUILT
            # Those of its own folder first: they are few, and mostly enough.
            for tests in (self.nearest(mutation.file), "*"):
                if failure := self.first_failure(tests, limit):
                    return f"killed by {failure}"
            return "survived"
        finally:
            path.write_text(text)

    def nearest(self, file):
        """A filter for the suites of the tests beside the file's place."""
        folder = self.root / "tests" / Path(file).parent
        suites = set()
        for test in folder.glob("*_test.cpp"):
            suites |= set(re.findall(r"^TEST(?:_[FP])?\((\w+),", test.read_text(), re.M))
        return ":".join(f"*{suite}.*" for suite in sorted(suites)) or "*"


def known_outcomes(out, commit):
    """What an earlier run found in files that are still the same, by place and change."""
    if not out.exists():
        return {}
    earlier = json.loads(out.read_text())
    changed = subprocess.run(
        ["git", "diff", "--name-only", earlier["commit"], commit, "--", "eval"],
        cwd=REPO, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return {
        (m["file"], m["line"], m["after"]): m
        for m in earlier["mutations"]
        if m["file"] not in changed
    }


def write(out, commit, known):
    beside = out.with_suffix(".tmp")
    beside.write_text(
        json.dumps({"commit": commit, "mutations": list(known.values())}, indent=1) + "\n"
    )
    beside.replace(out)


def report(mutations):
    done = [m for m in mutations if m.outcome != UNBUILT]
    survivors = [m for m in done if m.outcome == "survived"]
    for m in survivors:
        print(f"{m.file}:{m.line}\n  - {m.before}\n  + {m.after}")
    print(
        f"{len(done) - len(survivors)} of {len(done)} mutations were killed, {len(survivors)} survived"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", metavar="FILE")
    parser.add_argument("--out", type=Path, required=True, help="outcomes, a JSON list")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="mutations at a time")
    options = parser.parse_args()
    out = options.out.resolve()
    shops = [Workshop(out.with_suffix("") / f"worker{i}") for i in range(options.workers)]
    known = known_outcomes(out, shops[0].commit)
    with ThreadPoolExecutor(options.workers) as pool:
        failed = [
            shop for shop, built in zip(shops, pool.map(Workshop.build, shops)) if built.returncode
        ]
    began = time.monotonic()
    failure = "the build" if failed else shops[0].first_failure("*", 1200)
    limit = 4 * (time.monotonic() - began)
    if failure:
        sys.exit(f"mutate.py: it fails before anything is changed: {failure}")
    waiting = iter(shuffled(sources(options.files), shops[0].root, options.seed))
    done, lock = [], threading.Lock()

    def work(shop):
        while True:
            with lock:
                counted = sum(m.outcome != UNBUILT for m in done)
                mutation = next(waiting, None) if counted < options.count else None
                if mutation is None:
                    return
                done.append(mutation)
            key = (mutation.file, mutation.line, mutation.after)
            before = known.get(key, {}).get("outcome", "survived")
            again = before == "survived" or before.endswith(ENDLESS)
            mutation.outcome = shop.outcome(mutation, limit) if again else before
            with lock:
                print(f"{len(done)} {mutation.file}:{mutation.line} {mutation.outcome}", flush=True)
                known[key] = asdict(mutation)
                write(out, shop.commit, known)

    with ThreadPoolExecutor(options.workers) as pool:
        list(pool.map(work, shops))
    report(done)


if __name__ == "__main__":
    main()
