"""The page on a corpus: whole in itself, drawn and playing in a real browser, whatever the ids are."""

from __future__ import annotations

import json
import re
import subprocess
import time

import numpy as np
import pytest
import soundfile as sf
from needs import needs

import corpusdiff
from corpusdiff.errors import StoreError, UsageError
from corpusdiff.report.collect import choose, collect
from corpusdiff.report.write import write_report

EVIL = "<script>alert(1)</script>"

#: Looks at the page from inside, once it is drawn, and leaves what it found in the document.
PROBE = """<script>
window.onerror = message => { document.title = "error " + message; };
window.addEventListener("load", () => setTimeout(async () => {
  const players = [...document.querySelectorAll("audio")];
  await Promise.all(players.map(player => player.readyState ? null : new Promise(done => {
    player.addEventListener("loadedmetadata", done); player.addEventListener("error", done); player.load();
  })));
  const roots = Bokeh.documents.flatMap(document => document.roots());
  document.body.innerHTML = "<pre id=found>" + JSON.stringify({
    roots: roots.length,
    idle: Bokeh.documents.every(document => document.is_idle),
    durations: players.map(player => player.duration),
    errors: players.filter(player => player.error).length,
  }) + "</pre>";
}, 3000));
</script>"""


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Six tracks, one of them silent, one broken, one with an id that is HTML."""
    folder = tmp_path_factory.mktemp("report")
    rng = np.random.default_rng(11)
    rows = []
    for i, track in enumerate([EVIL, "b", "c", "silent", "broken", "long"]):
        n = 16000 * (14 if track == "long" else 1)
        x = 0.1 * rng.standard_normal(n) * (1 + np.sin(np.arange(n) / 900))
        sf.write(folder / f"{i}.wav", 0 * x if track == "silent" else x, 16000)
        rows.append(json.dumps({"id": track, "audio_filepath": f"{i}.wav"}) + "\n")
    (folder / "4.wav").write_bytes(b"RIFF<b>no sound</b>")
    (folder / "m.jsonl").write_text("".join(rows))
    return corpusdiff.run(str(folder / "m.jsonl"), str(folder / "out"), cluster="none")


def test_the_page(corpus, tmp_path):
    """Everything inside, nothing fetched, no id or error of a file read as HTML."""
    path = write_report(corpus.location, str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    assert path == str(tmp_path / "page.html")
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>no sound" not in page
    assert not re.search(r'(?:src|href)="(?!data:)', page[page.rindex("<body>") :])
    assert len(page) < 8e6
    for text in ("What failed", "Before and after", "What each rule did", "Listen", "The job as it was run", "Made by"):
        assert f"<h2>{text}</h2>" in page
    assert page.count("<audio") == 2 * 5


def test_numbers(corpus):
    """Rows by status, hours, failures with examples, histograms that count every track."""
    found = collect(corpus)
    assert found.counts == {"ok": 5, "failed": 1}
    assert found.hours == pytest.approx((4 + 14) / 3600, rel=1e-3)
    (failure,) = found.failures
    assert [track for track, _ in failure.examples] == ["broken"]
    length = found.histograms[0]
    assert (length.title, length.before.sum(), length.after.sum()) == ("Length", 5, 5)
    assert sum(use.tracks for use in found.rules) == 5


def test_the_choice(corpus):
    """Each row once, those by chance the same for one seed, none that failed."""
    chosen = choose(corpus, 4)
    rows = [row for _, row in chosen]
    assert len(set(rows)) == 4
    assert all(corpus[row].status == "ok" for row in rows)
    assert chosen == choose(corpus, 4)
    assert len(choose(corpus, 99)) == 5


def test_sources_that_are_gone(tmp_path):
    """The page says so, and plays what the corpus has."""
    (tmp_path / "in").mkdir()
    sf.write(tmp_path / "in" / "a.wav", 0.1 * np.random.default_rng(1).standard_normal(9000), 8000)
    corpusdiff.run(str(tmp_path / "in"), str(tmp_path / "out"), cluster="none")
    (tmp_path / "in" / "a.wav").unlink()
    path = write_report(str(tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert path == str(tmp_path / "out" / "report.html")
    assert page.count("<audio") == 1
    assert "there is no file" in page


def test_no_place_no_corpus(corpus, tmp_path):
    """Each is one clear error."""
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(corpus.location, str(tmp_path / "no" / "page.html"))
    with pytest.raises(StoreError, match="no corpus here"):
        write_report(str(tmp_path / "nothing"))


class Million:
    """A table of a million rows, made up."""

    def __init__(self, n=1_000_000):
        self._n = n

    def __len__(self):
        return self._n

    def column(self, name):
        """A whole column."""
        rng = np.random.default_rng(len(name))
        if name == "status":
            return np.where(np.arange(self._n) % 100 == 0, "failed", "ok").astype(object)
        if name in {"reason", "rule"}:
            return np.array(["decode", "crash", "empty"], object)[np.arange(self._n) % 3]
        return rng.normal(0, 10, self._n).astype(np.float32)

    def value(self, name, row):
        """One value."""
        return f"{name} {row}"


def test_a_million_tracks_take_seconds():
    """The numbers of the page do not need a row in Python each; the time is compared to that of one loop over them."""
    started = time.process_time()
    for value in Million().column("reason").tolist() * 3:
        str(value)
    loop_s = time.process_time() - started
    started = time.process_time()
    found = collect(Million())
    assert time.process_time() - started < 30 * loop_s
    assert sum(found.counts.values()) == 1_000_000
    assert len(found.failures[0].examples) == 5


@needs("chromium")
def test_in_a_browser(corpus, tmp_path):
    """All plots are there, all players know their length, the console has no error."""
    write_report(corpus.location, str(tmp_path / "page.html"))
    page = (tmp_path / "page.html").read_text()
    (tmp_path / "probed.html").write_text(page.replace("</body>", f"{PROBE}</body>"))
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--timeout=60000",
        "--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", (tmp_path / "probed.html").as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=True)
    found = json.loads(re.search(r'<pre id="found">(.*?)</pre>', done.stdout).group(1))
    assert found["roots"] == 9 + 5
    assert found["idle"]
    assert found["errors"] == 0
    assert [round(seconds) for seconds in found["durations"]].count(10) == 2
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line and "bokeh" not in line]
    assert said == []


def test_columns_are_those_of_the_table():
    """What the page asks for is in every corpus."""
    from corpusdiff.metrics import COLUMNS
    from corpusdiff.report.collect import CHANGES, METRICS

    names = {column.name for column in COLUMNS}
    assert {name for name, *_ in (*METRICS, *CHANGES)} | {f"out_{name}" for name, *_ in METRICS} <= names
