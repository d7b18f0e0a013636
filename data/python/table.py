"""CSV and TSV files, read strictly: what does not fit is an error with its line, never shifted or swallowed."""

import csv

DELIMITERS = ",;\t"  # of a .csv, whichever splits the header so that a column is `text`
LONGEST_FIELD = 2**31 - 1  # the module's own limit is 128 KiB


class TableError(ValueError):
    """`LINE: what is wrong and what to do`."""


def read_table(file, suffix):
    """The line on which each record begins, and the record as a dictionary by column.

    `file` is open with newline="". A column without a name (an index that was saved along) is left out.
    """
    start = file.tell()
    header = file.readline()
    file.seek(start)
    csv.field_size_limit(LONGEST_FIELD)
    lines = csv.reader(file, delimiter=delimiter_of(header, suffix), strict=True)
    rows = numbered(lines)
    _, names = next(rows, (1, []))
    check_names(names)
    for number, row in rows:
        if not row:  # a blank line
            continue
        if len(row) != len(names):
            raise TableError(
                f"{number}: {len(row)} fields where the header has {len(names)}; quote fields that hold the delimiter"
            )
        yield number, {name: field for name, field in zip(names, row) if name}


def delimiter_of(header, suffix):
    if suffix == ".tsv":
        return "\t"
    fitting = [d for d in DELIMITERS if "text" in next(csv.reader([header], delimiter=d), [])]
    return fitting[0] if fitting else ","


def numbered(lines):
    """Each row with the line on which it begins."""
    number = 1
    try:
        for row in lines:
            yield number, row
            number = lines.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise TableError(f"{number}: a quote opens here and is never closed") from error
        raise TableError(
            f"{number}: {error}; quote the field, and double quotes inside it"
        ) from error


def check_names(names):
    repeated = sorted({name for name in names if name and names.count(name) > 1})
    if repeated:
        raise TableError(f"1: column {repeated[0]!r} appears twice; rename one")
    if "text" not in names:
        raise TableError(
            f"1: no column `text`; the header has {', '.join(names)[:200] or 'nothing'}"
        )
