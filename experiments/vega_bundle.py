"""Write the charts' runtime (Vega, Vega-Lite, Vega-Embed in one script) that `assay report` puts into its page.

python experiments/vega_bundle.py OUT.js
"""

import sys
from pathlib import Path

import vl_convert

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "data" / "python"))
from safe_write import write_beside  # noqa: E402
from tool import Parser, SourceError, as_tool  # noqa: E402


@as_tool
def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("out", type=Path, help="script to write")
    out = parser.parse_args().out
    bundle = vl_convert.javascript_bundle()
    # What an HTML parser would end the script at, or change, and with it the hash that the page's policy names.
    for forbidden in ("</script", "<!--", "\r", "\0"):
        if forbidden in bundle.lower():
            raise SourceError(
                f"the bundle of vl-convert-python {vl_convert.__version__} holds {forbidden!r}: "
                "it cannot stand inside a page"
            )
    header = f"/* Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), from vl-convert-python {vl_convert.__version__} */\n"
    with write_beside(out) as part:
        part.write_text(header + bundle, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
