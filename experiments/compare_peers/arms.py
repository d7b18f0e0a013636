"""Arms as processes that wait for a command: ours (compare_arm) and the peers' (peer_arm.py in its environment)."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "data" / "python"))
from tool import SourceError  # noqa: E402

PEERS = ROOT / ".venv-peers/bin/python"


BUSY = 0.1  # a measurement is taken again where others used more of the processors
TRIES = 5


class ArmFailed(SourceError):
    """One line: which arm, and why."""


class Arm:
    """A running arm. What it writes to stderr is kept for the message of a failure."""

    def __init__(
        self,
        name: str,
        problem: Path,
        threads: int,
        build: Path = ROOT / "build",
        python: Path = PEERS,
    ):
        self.name = name
        command = [build / "compare_arm", problem]
        if name != "ours":
            command = [python, HERE / "peer_arm.py", name, problem]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            [*map(str, command), "--threads", str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            bufsize=1,
        )
        self.read()

    def read(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.log.seek(0)
            tail = self.log.read().strip().splitlines()[-1:] or ["nothing on stderr"]
            cause = (
                "killed, most likely for want of memory"
                if status == -9
                else f"exit status {status}: {tail[0]}"
            )
            raise ArmFailed(f"{self.name}: {cause}")
        return json.loads(line)

    def ask(self, command: str) -> dict:
        try:
            print(command, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass  # read() says why
        return self.read()

    def run(self, first: int, count: int) -> dict:
        time.sleep(0.05)  # the other arm's threads spin for a while before they sleep
        return self.ask(f"run {first} {count}")

    def weights(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        self.ask(f"save {folder}")
        return folder

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.log.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Others:
    """The share of the processors that anybody but the given processes and finished children uses, until share()."""

    def __init__(self, processes: list[int]):
        self.processes = processes
        self.begin = time.monotonic(), self.spent()

    def spent(self) -> float:
        """Seconds spent on this machine (stolen by its host too) less those of the processes."""
        busy = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        times = os.times()
        own = (times.children_user + times.children_system) * os.sysconf("SC_CLK_TCK")
        for process in self.processes:
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
            own += int(fields[11]) + int(fields[12])
        return (sum(busy) - busy[3] - busy[4] - own) / os.sysconf("SC_CLK_TCK")

    def share(self) -> float:
        wall, spent = time.monotonic() - self.begin[0], self.spent() - self.begin[1]
        return spent / (wall * os.cpu_count())


def bench(build: Path, what: str, size: dict, repeats: int, threads: int) -> dict:
    """The answer of `assay bench` on a machine otherwise idle: taken again while others use much of it."""
    command = [build / "assay", "bench", what, "--json", "--repeats", repeats, "--threads", threads]
    for key, value in size.items():
        command += [f"--{key}", value]
    for _ in range(TRIES):
        others = Others([])
        output = subprocess.run(
            list(map(str, command)), check=True, capture_output=True, text=True
        ).stdout
        if others.share() <= BUSY:
            return json.loads(output.splitlines()[-1])
    raise ArmFailed(
        f"the machine is busy: others used more than {BUSY:.0%} of it in {TRIES} runs; try again"
    )


def available_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/meminfo: no MemAvailable")


def machine() -> dict:
    """What the numbers depend on."""
    cpu, flags = "unknown", set()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
        if line.startswith("flags"):
            flags = set(line.split(":", 1)[1].split())
    wanted = ["avx2", "avx512f", "avx512_bf16", "amx_bf16"]
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "has": [f for f in wanted if f in flags],
        "lacks": [f for f in wanted if f not in flags],
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "python": sys.version.split()[0],
    }


def versions(build: Path, python: Path = PEERS) -> dict:
    code = (
        "import json; from importlib.metadata import version as v;"
        "print(json.dumps({n: v(n) for n in ['torch', 'eai-sparsify', 'dictionary_learning', 'sae-lens']}))"
    )
    found = json.loads(
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    )
    commit = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True
    )
    version = subprocess.run([build / "assay", "--version"], capture_output=True, text=True)
    return {"assay": f"{version.stdout.strip()} ({commit.stdout.strip()})"} | found
