"""The report in a real browser: every chart is drawn, nothing is fetched, hostile names stay text."""

import html.parser
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest
import report_support as support

ASSAY = os.environ["ASSAY"]
HOSTILE = (
    "<script>document.title='owned'</script>\"'><img src=x onerror=alert(1)>\u2028</script><!--"
)


def run(*arguments):
    return subprocess.run([ASSAY, *map(str, arguments)], capture_output=True, text=True)


def report(folder: pathlib.Path, *runs) -> str:
    done = run("report", *runs, "--out", folder / "out", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["report"] == str(folder / "out" / "report.html")
    return (folder / "out" / "report.html").read_text()


def browse(folder: pathlib.Path, page: pathlib.Path | None = None):
    """The page's DOM after its scripts ran, the addresses that it asked for, and the browser's console."""
    browser = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert browser, (
        "no Chromium found: install the package chromium; this test opens the report in it"
    )
    log = folder / "net.json"
    done = subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-extensions",
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}",
            "--virtual-time-budget=20000",
            f"--log-net-log={log}",
            "--dump-dom",
            (page or folder / "out" / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "<html" in done.stdout, done.stderr[-2000:]
    events = json.loads(log.read_text())["events"]
    # The browser's own errands (updates, spelling) have no origin; a page's requests do.
    asked = [
        e["params"]["url"]
        for e in events
        if "url" in e.get("params", {})
        and e["params"].get("initiator", "not an origin") != "not an origin"
    ]
    return done.stdout, asked, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


class Outline(html.parser.HTMLParser):
    """Tags, ids and attributes of a document as a browser would see them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.text, self._script = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if not self._script:
            self.text += data


def body_of(dom: str) -> str:
    return dom[dom.index("<main>") : dom.index("</main>")]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    support.write_run(folder / "run")
    page = report(folder, folder / "run")
    return page, *browse(folder)


def test_every_chart_is_drawn(drawn):
    page, dom, _, _ = drawn
    specs = json.loads(
        re.search(r'<script id="assay-charts" type="application/json">(.*?)</script>', page).group(
            1
        )
    )
    # Training curves, frontiers (probing, FVU), density, arms by dictionary, over k, differences,
    # classes.
    assert len(specs) == 4 + 2 + 1 + 3 + 1 + 1 + 1
    assert 'data-charts="done"' in dom
    charts = re.split(r'id="chart-\d+"', body_of(dom))[1:]
    assert len(charts) == len(specs)
    for chart in charts:
        assert 'data-state="drawn"' in chart and "<svg" in chart
        # Marks with data, not axes alone: each path or rule carries an accessible description.
        assert (
            len(re.findall(r'aria-roledescription="(?:point|bar|line mark|rect|rule)', chart)) >= 1
        ), chart[:3000]
    assert 'data-state="failed"' not in dom and "could not be drawn" not in body_of(dom)
    assert "NaN" not in body_of(dom) and "undefined" not in body_of(dom)


def test_every_value_is_a_point(drawn):
    _, dom, _, _ = drawn
    points = len(re.findall(r'aria-roledescription="point"', body_of(dom)))
    probing = support.results()["tasks"][1]["numbers"]
    frontiers = 2 * len(support.results()["dictionaries"])
    over_k = sum(
        "_top" in n["method"] and n["part"] == "ood" and n["metric"] == "auroc" for n in probing
    )
    assert points == len(probing) + frontiers + over_k


def test_nothing_is_fetched(drawn):
    page, _, asked, console = drawn
    assert asked == []
    assert console == []  # a request that the policy blocks would stand here
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}=' 'sha256-[A-Za-z0-9+/]{43}=';", policy)
    for _, attributes in Outline(page).tags:
        assert "src" not in attributes and "href" not in attributes


def test_this_test_would_see_a_request(tmp_path):
    page = tmp_path / "asks.html"
    page.write_text("<html><script>fetch('http://127.0.0.1:9/asked')</script>")
    _, asked, console = browse(tmp_path, page)
    assert "http://127.0.0.1:9/asked" in asked and console


def test_says_who_asks_and_who_wins(drawn):
    page, _, _, _ = drawn
    text = Outline(page).text
    assert "Dictionaries of synthetic-model, layer 4, on synthetic-texts" in text
    for task in support.results()["tasks"]:
        assert task["question"] in text
    assert re.search(
        r"A simple baseline wins here: .*0\.80\d against 128 latents 0\.7\d\d, difference −0\.02",
        text,
    )
    assert "How far each metric can be trusted" in text and "Score card: synthetic" in text
    assert "1 of 1 metrics passed their own checks on this run" in text
    assert "Follows the truth" in text and "settings are ranked from 3 training seeds on" in text
    for number in support.results()["tasks"][1]["numbers"][:4]:
        assert f"[{number['interval'][0]:.3f}, {number['interval'][1]:.3f}]" in text


def test_what_is_drawn_follows_from_the_file_alone(tmp_path):
    """Tasks, arms and metrics of other names are drawn and worded just so; undeclared ones by name."""
    text = json.dumps(support.results())
    for old, new in (("latents_top4", "zeta"), ("auroc", "eta"), ("ood", "theta")):
        text = text.replace(f'"{old}"', f'"{new}"')
    content = json.loads(text)
    content["tasks"][0]["name"], content["tasks"][1]["name"] = "alpha", "beta"
    content["tasks"][1]["arms"] = [a for a in content["tasks"][1]["arms"] if a["name"] != "lda"]
    support.write_run(tmp_path / "run", content)
    support.write_run(tmp_path / "plain")
    charts = [
        json.loads(re.search(r'<script id="assay-charts" [^>]*>(.*?)</script>', page).group(1))
        for page in (report(tmp_path, tmp_path / name) for name in ("plain", "run"))
    ]
    rows = [[value.get("row") for value in chart["data"]["values"]] for chart in charts[1]]
    assert [len(c["data"]["values"]) for c in charts[0]] == [len(r) for r in rows]
    drawn = {row for panel in rows for row in panel}
    assert {"lda", "4 latents", "16 latents"} <= drawn and "zeta" not in drawn


def test_no_name_is_cut_off(tmp_path):
    long = "a_dictionary_with_a_rather_long_name, trained on many tokens of several models"
    content = support.results(trained=long)
    for arm in content["tasks"][1]["arms"]:
        arm["label"] += ", and what else there is to say of this arm in a label for people"
    support.write_run(tmp_path / "run", content)
    report(tmp_path, tmp_path / "run")
    dom, _, _ = browse(tmp_path)
    texts = re.findall(r"<(?:text|tspan)[^>]*>([^<]*)</", body_of(dom))
    assert len(texts) > 100 and not any("…" in text for text in texts)
    drawn = " ".join(texts)
    assert "kNN, and what else there" in drawn and "label for people" in drawn


def test_the_report_knows_no_task():
    listed = run("eval", "--list").stdout.splitlines()
    names = [line.split()[0] for line in listed if line and line[0] != " "]
    assert len(names) > 10
    folder = pathlib.Path(__file__).parents[3] / "eval" / "report"
    for file in [*folder.glob("*.h"), *folder.glob("*.cpp")]:
        text = file.read_text()
        known = [name for name in names if re.search(rf"\b{name}\b", text)]
        assert not known, f"{file}: names {known}; what it draws stands in the results"


def test_same_inputs_same_bytes(tmp_path):
    support.write_run(tmp_path / "run")
    assert report(tmp_path, tmp_path / "run") == report(tmp_path, tmp_path / "run")


def test_hostile_names_stay_text(tmp_path):
    content = support.results(trained=HOSTILE, control="control " + HOSTILE)
    content["model"] = content["hook"] = content["dataset"] = HOSTILE
    for task in content["tasks"]:
        task["title"] = task["question"] = task["reason"] = HOSTILE
        task["checks"].append({"name": HOSTILE, "passed": False, "detail": HOSTILE})
        task["details"][HOSTILE] = [{HOSTILE: HOSTILE}]
        for said in [*task["metrics"], *task["parts"], *task["arms"][:2]]:
            said["label"] = HOSTILE + said["name"]
        for figure in task["figures"]:
            figure["caption"] = figure["title"] = figure["x_title"] = HOSTILE
    for number in content["tasks"][1]["numbers"]:
        if number["dictionary"] == "" and number["method"] == "knn":
            number["method"] = HOSTILE
    support.write_run(tmp_path / "run", content)
    page = report(tmp_path, tmp_path / "run")
    outline = Outline(page)
    assert sum(tag == "script" for tag, _ in outline.tags) == 3
    assert not any(tag == "img" for tag, _ in outline.tags)
    dom, asked, console = browse(tmp_path)
    after = Outline(dom)
    assert sum(tag == "script" for tag, _ in after.tags) == 3
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in after.tags)
    assert "<title>owned" not in dom
    assert 'data-charts="done"' in dom and 'data-state="failed"' not in dom
    assert asked == [] and console == []


def test_a_run_without_results_and_several_runs(tmp_path):
    support.write_run(tmp_path / "a")
    support.write_run(tmp_path / "b" / "a")
    (tmp_path / "a" / "results.json").unlink()
    page = report(tmp_path, tmp_path / "a")
    assert "Training of a" in page
    page = report(tmp_path, tmp_path / "a", tmp_path / "b" / "a")
    assert "a, a (2)" in page


def test_an_unfinished_last_line_is_left_out_and_said(tmp_path):
    folder = support.write_run(tmp_path / "run")
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"step": 99')
    assert "ends in the middle of a line" in report(tmp_path, folder)


def test_withheld_tasks_give_no_summary(tmp_path):
    content = support.results()
    content["tasks"][1].update(status="withheld", reason="label null is not at chance")
    support.write_run(tmp_path / "run", content)
    text = Outline(report(tmp_path, tmp_path / "run")).text
    assert "Out-of-distribution probing is withheld: label null is not at chance" in text
    assert "A simple baseline wins here" not in text


@pytest.mark.parametrize(
    "fault, status, message",
    [
        (lambda f: shutil.rmtree(f), 2, "no such folder"),
        (
            lambda f: [(f / n).unlink() for n in ("results.json", "metrics.jsonl")],
            2,
            "expected metrics.jsonl or results",
        ),
        (
            lambda f: (f / "results.json").write_text('{"schema": 1'),
            1,
            "results.json: not valid JSON",
        ),
        (lambda f: (f / "results.json").write_text("[" * 100000), 1, "results.json: nested deeper"),
        (
            lambda f: (f / "metrics.jsonl").write_text('{"tokens": 1}\n{"tokens": "x"}\n'),
            1,
            "metrics.jsonl:2: 'tokens'",
        ),
        (
            lambda f: (f / "metrics.jsonl").write_text('{"tokens": 1, "loss": {}}\n'),
            1,
            "metrics.jsonl:1: expected numbers",
        ),
    ],
)
def test_bad_input_gets_one_line(tmp_path, fault, status, message):
    folder = support.write_run(tmp_path / "run")
    fault(folder)
    done = run("report", folder, "--out", tmp_path / "out")
    assert done.returncode == status
    assert message in done.stderr and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert not (tmp_path / "out" / "report.html").exists()
