"""The exported halves that tests share: made once (half a minute), kept in $ASSAY_TEST_CACHE or REPO/.cache.

As a program: prints the folder of the halves and the trust list that names them.
"""

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
TOOLS = REPO / "data" / "python"


def cached_model(layer=4):
    """(folder, trust list). Exported again when the exporter changed."""
    cache = Path(os.environ.get("ASSAY_TEST_CACHE") or REPO / ".cache")
    cache.mkdir(parents=True, exist_ok=True)
    folder, stamp, trust = (
        cache / f"minilm-l{layer}",
        cache / f"minilm-l{layer}.stamp",
        cache / "trusted-models",
    )
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        sources = b"".join(
            (TOOLS / name).read_bytes()
            for name in ("export_halves.py", "halves.py", "model_source.py")
        )
        machine = Path("/proc/cpuinfo").read_bytes().split(b"flags")[1].split(b"\n")[0]
        version = hashlib.sha256(sources + sys.version.encode() + machine).hexdigest()
        manifest = folder / "manifest.json"
        known = trust.read_text().split() if trust.exists() else []
        fresh = manifest.exists() and hashlib.sha256(manifest.read_bytes()).hexdigest() in known
        if not fresh or not stamp.exists() or stamp.read_text() != version:
            subprocess.run(
                [
                    sys.executable,
                    TOOLS / "export_halves.py",
                    "--layer",
                    str(layer),
                    "--out",
                    folder,
                ],
                env={**os.environ, "ASSAY_TRUST_FILE": str(trust)},
                check=True,
                stdout=sys.stderr,
            )
            stamp.write_text(version)
    return folder, trust


if __name__ == "__main__":
    print(*cached_model(), sep="\n")
