"""What every Python tool shares: its command line, and how it fails.

One line on stderr, `TOOL: what is wrong and what to do`; exit status 2 for unusable arguments, 1 for a failure. Only
what can be expected to go wrong is caught (arguments, files, packages, models); anything else is a bug of the tool and
shows its traceback.
"""

import argparse
import contextlib
import difflib
import functools
import json
import subprocess
import sys
from pathlib import Path


class SourceError(Exception):
    """One line for the user: what is wrong and what to do."""


class UsageError(SourceError):
    """The arguments cannot be used as given."""


class Parser(argparse.ArgumentParser):
    """Takes its description from the tool's docstring; options are not abbreviated."""

    def __init__(self, doc):
        super().__init__(
            description=doc,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message):
        raise UsageError(f"{message}; see --help")

    def parse_args(self):
        """A misspelt option is named before what is missing for want of it."""
        known = [option for action in self._actions for option in action.option_strings]
        for given in (argument.split("=")[0] for argument in sys.argv[1:]):
            if given.startswith("--") and given not in (*known, "--"):
                near = difflib.get_close_matches(given, known, 1)
                hint = f" (nearest: {near[0]})" if near else ""
                raise UsageError(f"unknown option {given}{hint}; see --help")
        return super().parse_args()


def integer(least, most=2**31 - 1):
    """For an option's `type`: an integer from `least` to `most`."""

    def parse(text):
        with contextlib.suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise argparse.ArgumentTypeError(f"{text!r}: expected an integer from {least} to {most}")

    return parse


def as_tool(main):
    """Decorates a tool's main: expected errors become one line and the exit status."""
    name = Path(main.__code__.co_filename).stem

    @functools.wraps(main)
    def run():
        try:
            main()
        except UsageError as error:
            print(f"{name}: {one_line(error)}", file=sys.stderr)
            sys.exit(2)
        except (SourceError, OSError, ImportError, subprocess.CalledProcessError) as error:
            sys.exit(f"{name}: {one_line(error)}")

    return run


def one_line(error):
    if isinstance(error, ModuleNotFoundError):
        text = f"the Python package {error.name} is not installed: install it, or use the environment that has it"
    elif isinstance(error, OSError) and error.strerror and error.filename is not None:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, subprocess.CalledProcessError):
        last = ((error.stderr or "").strip().splitlines() or ["it said nothing"])[-1]
        text = f"{error.cmd[0]} failed with status {error.returncode}: {last}"
    else:
        text = str(error).strip()
    text = text.splitlines()[0] if text else type(error).__name__
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown.encode(errors="replace").decode()


# --- files and folders


def make_folder(path):
    """The folder and those above it."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SourceError(
            f"{path}: cannot be a folder, a file is in its way; name another --out"
        ) from error


def parse_json(text, where):
    """The value of a JSON text in which no object has a key twice."""
    try:
        value = json.loads(text, object_pairs_hook=functools.partial(without_repeats, where))
        if "\\ud" in text.lower():  # an escape may stand for half a character
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])[1:-1]
        raise SourceError(
            f"{where}: {half} is half of a surrogate pair and no character; remove it"
        ) from error
    except RecursionError as error:
        raise SourceError(f"{where}: nested too deep; write it flatter") from error
    except json.JSONDecodeError as error:
        raise SourceError(f"{where}: not JSON: {error}; correct it, or write it anew") from error
    except ValueError as error:
        raise SourceError(f"{where}: a number is too long; at most 4300 digits are read") from error


def without_repeats(where, pairs):
    value = dict(pairs)
    if len(value) == len(pairs):
        return value
    keys = [key for key, _ in pairs]
    repeated = next(key for key in keys if keys.count(key) > 1)
    raise SourceError(f"{where}: the key {repeated!r} appears twice; remove one")


def read_json(path, kind=dict, default=None):
    """The object (or list, as `kind` says) of a JSON file; where there is none, `default` unless that is None."""
    if default is not None and not Path(path).is_file():
        return default
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not UTF-8 (byte {error.start}); expected JSON") from error
    value = parse_json(text, path)
    if not isinstance(value, kind):
        raise SourceError(f"{path}: expected a JSON {'object' if kind is dict else 'list'}")
    return value


@contextlib.contextmanager
def open_h5(path, *needed):
    """An HDF5 file for reading, which must hold the data sets `needed`."""
    import h5py

    if not Path(path).is_file():
        raise SourceError(f"{path}: no such file")
    try:
        file = h5py.File(path)
    except OSError as error:
        raise SourceError(f"{path}: cannot be read as HDF5 ({error}); write it anew") from error
    with file:
        for name in needed:
            if not isinstance(file.get(name), h5py.Dataset):
                raise SourceError(f"{path}: no data set /{name}; name a file that has it")
        yield file


def shard_files(folder):
    """The HDF5 files of a data set, in order, without its texts."""
    files = sorted(folder.glob("shard-*.h5")) or sorted(
        path for path in folder.glob("*.h5") if path.stem != "texts"
    )
    if not files:
        raise SourceError(f"{folder}: no HDF5 shards here; name a folder that assay index wrote")
    return files
