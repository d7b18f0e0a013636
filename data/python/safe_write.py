"""A file appears whole or not at all: written beside its name, fsynced, renamed."""

import contextlib
import os
from pathlib import Path

from tool import SourceError, make_folder


@contextlib.contextmanager
def write_beside(path):
    """Yields the path to write; on success it becomes `path`, on an error nothing is left."""
    path = Path(path)
    if path.is_dir():
        raise SourceError(f"{path}: is a folder; name a file with --out")
    make_folder(path.parent)
    part = path.with_name(path.name + ".part")
    try:
        yield part
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
