"""The documentation as readers get it: docs/build.sh builds it strictly, pages fit a narrow dark window, nothing is
fetched from elsewhere, and the search answers on a page that was opened as a file."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ["index.html", "docs/evaluation.html", "docs/measurements/training_step.html"]
LOOK = """<!doctype html><body><pre id=seen></pre><script>
const look = (page, width) => new Promise((resolve) => {
  const frame = document.createElement("iframe");
  frame.style.width = width + "px"; frame.style.height = "800px";
  frame.onload = () => setTimeout(() => {
    const inside = frame.contentDocument, body = inside.body;
    const light = getComputedStyle(body).backgroundColor.match(/[\\d.]+/g).map(Number);
    resolve({page, width: frame.contentWindow.innerWidth, needs: inside.documentElement.scrollWidth,
      title: inside.title, heading: inside.querySelector("h1").innerText,
      scheme: body.dataset.mdColorScheme, light: (light[0] + light[1] + light[2]) / 3});
  }, 300);
  frame.src = page; document.body.append(frame);
});
Promise.all(PAGES.map((page) => look(page, 400))).then((all) => {
  document.getElementById("seen").textContent = JSON.stringify(all); document.title = "done";
});
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("docs")
    done = subprocess.run(
        ["bash", ROOT / "docs/build.sh", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout + done.stderr
    return out / "site"


def browse(address, *options):
    """The page's HTML after its scripts have run, in a browser that prefers dark pages."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    assert browser, "no Chromium found: install the package chromium; this test opens the pages"
    return subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", *options]
        + ["--blink-settings=preferredColorScheme=0", "--virtual-time-budget=5000", address],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


def test_pages_fit_a_narrow_dark_window(site):
    (site / "look.html").write_text(LOOK.replace("PAGES", json.dumps(PAGES)))
    handler = functools.partial(Quiet, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = browse(f"http://127.0.0.1:{server.server_port}/look.html")
        server.shutdown()
    seen = json.loads(re.search(r'<pre id="seen">(.*?)</pre>', page)[1])
    assert [s["page"] for s in seen] == PAGES
    for s in seen:
        assert s["width"] == 400 and s["needs"] <= 400, s
        source = ROOT / s["page"].replace("index.html", "README.html").replace(".html", ".md")
        assert source.read_text().startswith(f"# {s['heading'].rstrip('¶').strip()}\n"), s
        assert s["title"].endswith("Assay"), s
        assert s["scheme"] == "slate" and s["light"] < 80, s


def test_nothing_comes_from_another_host(site):
    fetched = re.compile(
        r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'> ]*)"
    )
    pages = [p for p in site.rglob("*.html") if p.name != "look.html"]
    assert len(pages) > 30
    for page in pages:
        assert not fetched.findall(page.read_text()), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", sheet.read_text()), sheet


def test_the_search_answers_without_a_server(site):
    page = browse(f"file://{site}/index.html?q=matryoshka")
    results = re.findall(r'class="md-search-result__link"', page)
    assert results and "variants.html" in page[page.index("md-search-result__list") :]
