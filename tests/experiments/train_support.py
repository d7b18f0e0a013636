"""What the tests of `assay train` share."""

import json
import os
import subprocess
import time
from pathlib import Path

ASSAY = os.environ["ASSAY"]


def run(*arguments, **options):
    return subprocess.run(
        [ASSAY, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options
    )


def limited(kilobytes, *arguments):
    """`run` where no file may grow beyond that, which fails like a full disk."""
    command = [
        "bash",
        "-c",
        f'ulimit -f {kilobytes}; exec "$@"',
        "bash",
        ASSAY,
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def kill_and_finish(*arguments, kills=3, after=0.3):
    """`run`, killed so often and so many seconds after each start, then once to the end."""
    for _ in range(kills):
        process = subprocess.Popen(
            [ASSAY, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(after)
        process.kill()
        process.wait()
    result = run(*arguments)
    assert result.returncode == 0, result.stderr


def weights(folder):
    return (Path(folder) / "dictionary" / "dictionary.safetensors").read_bytes()


def metrics(folder):
    """Without the times."""
    lines = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["tokens_per_s"]
    return lines


def checkpoints(folder):
    return sorted(path.name for path in (Path(folder) / "checkpoints").iterdir())


def await_that(condition, what, process=None):
    """Until it holds; fails after a minute, or once the process that would bring it about has ended."""
    deadline = time.time() + 60
    while not condition():
        assert process is None or process.poll() is None, f"{what}: {process.communicate()[1]}"
        assert time.time() < deadline, f"{what}: not within a minute"
        time.sleep(0.01)


def await_checkpoint(folder, step):
    """It is written behind the run's back."""
    path = Path(folder) / "checkpoints" / f"step-{step:010}"
    await_that(path.is_dir, path)


def files_of(folder):
    """All files but the lease, which a kill leaves behind."""
    return {
        path.relative_to(folder): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "assay.lease"
    }
