"""A file appears whole or not at all (written beside its name, fsynced, renamed), and never replaces another
kind of file or one that is read."""

import contextlib
import os
import sys
from pathlib import Path

from tool import SourceError, UsageError, make_folder


def guard(path, reads, ours):
    """Raises UsageError where writing `path` would replace one of the files `reads` (links to them
    included), or a file that is not `ours(path)`. An empty file is anybody's."""
    path = Path(path)
    for read in reads:
        for out in (path, path.with_name(path.name + ".part")):
            if out.exists() and Path(read).exists() and out.samefile(read):
                raise UsageError(
                    f"{path}: --out would replace {read}, which is read: choose another --out"
                )
    if not path.exists() or path.is_dir():  # a folder is refused when it is to be written
        return
    if not path.is_file():
        raise UsageError(f"{path}: --out names no ordinary file: choose another --out")
    if path.stat().st_size > 0 and not ours(path):
        raise UsageError(
            f"{path}: another kind of file is there: choose another --out, or delete it"
        )


def say(text):
    """Prints what has been done. Nobody may be there to read it: that is no failure of the work."""
    try:
        print(text, flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def has_attribute(name, value=None):
    """Whether a file is HDF5 with this root attribute, for `guard`."""

    def ours(path):
        import h5py

        try:
            with h5py.File(path) as file:
                found = file.attrs.get(name)
        except OSError:
            return False
        return found is not None and (value is None or found == value)

    return ours


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
