"""Fixtures that run the peers, in the environment that `setup.sh` makes."""

import hashlib
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
ENVIRONMENT = HERE.parents[2] / ".venv-formats"


@pytest.fixture(scope="session")
def command():
    """`peers.py` of this folder, by the interpreter that sees the peers."""
    stamp = ENVIRONMENT / "requirements.sha256"
    wanted = hashlib.sha256((HERE / "requirements.txt").read_bytes()).hexdigest()
    if not stamp.is_file() or stamp.read_text().strip() != wanted:
        pytest.fail("the peers are not installed: run bash tests/sae/formats/setup.sh")
    return [ENVIRONMENT / "bin" / "python", "-B", HERE / "peers.py"]


@pytest.fixture(scope="session")
def published(command, tmp_path_factory):
    """A folder per kind, with the files that its peer published and what it makes of some rows."""
    folder = tmp_path_factory.mktemp("published")
    done = subprocess.run([*command, "make-all", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


class Peers:
    """One process for all questions, since importing the peers takes seconds."""

    def __init__(self, command, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            [*command, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, *words):
        self.process.stdin.write(shlex.join(map(str, words)) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if answer != "ok":
            pytest.fail(answer or "the peers' process has ended")

    def run(self, format_name, folder, x, k=0):
        """Codes and reconstruction by the peer's own loader."""
        np.save(self.folder / "x.npy", x)
        self.ask("run", format_name, folder, self.folder / "x.npy", self.folder / "out.npz", k)
        with np.load(self.folder / "out.npz") as found:
            return found["codes"], found["reconstruction"]


@pytest.fixture(scope="session")
def peers(command, tmp_path_factory):
    peers = Peers(command, tmp_path_factory.mktemp("peers"))
    yield peers
    peers.process.stdin.close()
    peers.process.wait()
