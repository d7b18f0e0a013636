"""Write the charts' runtime (Vega, Vega-Lite, Vega-Embed in one script) that `assay report` puts into its page.

python experiments/vega_bundle.py OUT.js
"""

import os
import sys

import vl_convert


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: vega_bundle.py OUT.js")
    out = sys.argv[1]
    bundle = vl_convert.javascript_bundle()
    # What an HTML parser would end the script at, or change, and with it the hash that the page's policy names.
    for forbidden in ("</script", "<!--", "\r", "\0"):
        if forbidden in bundle.lower():
            sys.exit(
                f"the bundle of vl-convert-python {vl_convert.__version__} holds {forbidden!r}: "
                "it cannot stand inside a page"
            )
    header = f"/* Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), from vl-convert-python {vl_convert.__version__} */\n"
    part = out + ".part"
    with open(part, "w", encoding="utf-8", newline="\n") as file:
        file.write(header + bundle)
    os.replace(part, out)


if __name__ == "__main__":
    main()
