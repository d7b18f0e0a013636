"""One name, one type. `python tests/checks/odr.py [ROOT]` prints every type that two files define under one name.

Such types link without a word, and one's destructor runs for the other. The scan reads namespaces and braces, which
is enough for formatted code: types in unnamed namespaces and in functions are their file's own and do not count.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path

LAYERS = ["kernels", "data", "sae", "eval", "experiments"]
NOISE = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"([^(\s]*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|^[ \t]*#(?:\\\n|[^\n])*',
    re.DOTALL | re.MULTILINE,
)
NAMESPACE = re.compile(r"\bnamespace\s*([\w:\s]*)$")
TYPE = re.compile(
    r"\b(?:struct|class|union|enum(?:\s+(?:class|struct))?)\s+(?:alignas\s*\([^)]*\)\s*|\[\[[^\]]*\]\]\s*)*"
    r"([A-Za-z_]\w*)\s*(?:final\s*)?(?::(?!:)[^;={}]*)?$"
)


def opening(text):
    """What a brace opens, by the text between it and the last brace or semicolon: (kind, name)."""
    text = text.strip()
    if match := NAMESPACE.search(text):
        return "namespace", re.sub(r"\s|inline", "", match.group(1))
    # A template's parameter list names no type of its own; a specialisation (Name<…>) does not match TYPE.
    if (match := TYPE.search(text)) and "(" not in text.split(match.group(0))[0].split(">")[-1]:
        return "type", match.group(1)
    return "other", ""


def types(source):
    """Qualified names of the types that the text defines for everybody."""
    source = NOISE.sub(" ", source)
    stack, start = [], 0
    for match in re.finditer(r"[{};]", source):
        text, start = source[start : match.start()], match.end()
        if match.group() == "{":
            kind, name = opening(text)
            stack.append((kind, name))
            outer = [k for k, _ in stack[:-1]]
            unnamed = ("namespace", "") in stack
            if kind == "type" and "other" not in outer and not unnamed:
                yield "::".join(n for _, n in stack)
        elif match.group() == "}" and stack:
            stack.pop()


def programs(root):
    """The sources of every program: the libraries, and with them each folder of tests."""
    files = [p for layer in LAYERS for p in (root / layer).rglob("*")]
    support = list((root / "tests" / "support").rglob("*"))
    yield files
    for layer in LAYERS[:-1]:
        yield files + support + list((root / "tests" / layer).rglob("*"))


def collisions(root):
    seen = {}
    for files in programs(root):
        places = defaultdict(set)
        for path in files:
            if path.suffix not in {".h", ".cpp", ".cuh", ".cu"}:
                continue
            if path not in seen:
                seen[path] = set(types(path.read_text()))
            for name in seen[path]:
                places[name].add(path.relative_to(root).as_posix())
        for name, where in places.items():
            if len(where) > 1:
                yield f"{name}: defined in {' and in '.join(sorted(where))}: give one of them another name or namespace"


def main():
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2]
    found = sorted(set(collisions(root)))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
