"""Texts and labels of one's own, as CSV: the docstrings of Python's standard library, which every machine has.

    python experiments/own_data/docstrings.py --out DOCSTRINGS.csv

Columns: `text` (a docstring's first paragraph), `document` (module and top-level name, so that a class and its methods
stay together), `topic` (what the module is for) and `kind` (function or method). Probes learn a topic on functions and
are tested on methods.
"""

import csv
import importlib
import inspect
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data" / "python"))
from safe_write import write_beside  # noqa: E402
from tool import Parser, as_tool  # noqa: E402

TOPICS = {
    "network": [
        "socket",
        "ssl",
        "http.client",
        "http.server",
        "http.cookiejar",
        "urllib.request",
        "urllib.parse",
        "ftplib",
        "smtplib",
        "imaplib",
        "poplib",
        "socketserver",
        "xmlrpc.client",
        "ipaddress",
        "selectors",
    ],
    "files": [
        "os",
        "os.path",
        "shutil",
        "pathlib",
        "tempfile",
        "zipfile",
        "tarfile",
        "glob",
        "fileinput",
        "gzip",
        "bz2",
        "lzma",
        "mimetypes",
        "filecmp",
        "stat",
    ],
    "numbers": [
        "fractions",
        "decimal",
        "statistics",
        "random",
        "math",
        "cmath",
        "numbers",
        "datetime",
        "calendar",
        "colorsys",
        "heapq",
        "bisect",
        "operator",
        "itertools",
    ],
    "text": [
        "string",
        "textwrap",
        "difflib",
        "re",
        "email.message",
        "email.header",
        "email.utils",
        "html.parser",
        "json.encoder",
        "json.decoder",
        "csv",
        "configparser",
        "gettext",
        "locale",
        "codecs",
        "pprint",
        "shlex",
    ],
    "processes": [
        "subprocess",
        "threading",
        "multiprocessing.pool",
        "multiprocessing.context",
        "multiprocessing.queues",
        "concurrent.futures",
        "asyncio.events",
        "asyncio.streams",
        "asyncio.subprocess",
        "asyncio.tasks",
        "signal",
        "sched",
        "queue",
        "contextlib",
    ],
    "code": [
        "ast",
        "inspect",
        "dis",
        "tokenize",
        "importlib.util",
        "importlib.machinery",
        "pdb",
        "bdb",
        "traceback",
        "trace",
        "unittest.case",
        "unittest.mock",
        "doctest",
        "pydoc",
        "types",
        "typing",
        "dataclasses",
        "functools",
    ],
}


@as_tool
def main():
    parser = Parser(__doc__)
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args()
    rows, seen = [], set()
    for topic, modules in TOPICS.items():
        for name in modules:
            for row in docstrings(importlib.import_module(name), name):
                if row[0] in seen:
                    continue
                seen.add(row[0])
                rows.append((*row, topic))
    with write_beside(args.out) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "document", "kind", "topic"])
        writer.writerows(rows)
    print(f"wrote {args.out}: {len(rows)} texts")


def docstrings(module, name):
    for own, value in sorted(vars(module).items()):
        if getattr(value, "__module__", None) != name:
            continue
        if inspect.isroutine(value):
            yield from text_of(value, f"{name}.{own}", "function")
        elif inspect.isclass(value):
            for member in (m for _, m in sorted(vars(value).items()) if inspect.isroutine(m)):
                yield from text_of(member, f"{name}.{own}", "method")


def text_of(value, document, kind):
    text = " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())
    if 20 <= len(text) <= 400:
        yield text, document, kind


if __name__ == "__main__":
    main()
