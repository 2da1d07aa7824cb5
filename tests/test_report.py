"""The page on a corpus: whole in itself, right in its numbers, whatever the ids are."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pytest
import soundfile as sf
from web_server import WebServer

import corpusdiff
from corpusdiff.driver import execute
from corpusdiff.errors import StoreError, UsageError
from corpusdiff.manifests import Reading, transport
from corpusdiff.report.choose import BEST, CHANGED, RANDOM, WORST, choose
from corpusdiff.report.collect import collect
from corpusdiff.report.listen import listen
from corpusdiff.report.write import write_report
from corpusdiff.request import RunRequest

EVIL = "<script>alert(1)</script>"


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
    for text in (
        "What failed",
        "Before and after",
        "What each rule did",
        "Look and listen",
        "The job as it was run",
        "Made by",
    ):
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
    """Each row once; best and worst by what they gained; the same for one seed; none that failed."""
    chosen = choose(corpus, 4)
    rows = dict(chosen)
    assert sorted(rows) == sorted([BEST, WORST, CHANGED, RANDOM])
    assert len(set(rows.values())) == 4
    assert all(corpus[row].status == "ok" for row in rows.values())
    assert chosen == choose(corpus, 4)
    gained = {i: corpus[i]["out_snr_db"] - corpus[i]["snr_db"] for i in range(len(corpus)) if corpus[i].status == "ok"}
    numbers = {row: gain for row, gain in gained.items() if np.isfinite(gain)}
    assert rows[BEST] == max(numbers, key=numbers.get)
    assert gained[rows[WORST]] == min(numbers.values())
    assert len(choose(corpus, 99)) == 5
    assert choose(corpus, 0) == []


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


def test_sources_behind_urls(tmp_path, monkeypatch):
    """They are fetched as a run fetches them; what is gone is said, and a server that is gone is asked once."""
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        x = 0.1 * np.random.default_rng(ord(name)).standard_normal(24000)
        sf.write(tmp_path / "in" / f"{name}.wav", x, 16000)
    with WebServer(tmp_path) as server:
        (tmp_path / "files.txt").write_text("".join(f"{server.url}/in/{name}.wav\n" for name in "abc"))
        reading = Reading((f"{server.url}/",))
        code = execute(RunRequest(str(tmp_path / "files.txt"), str(tmp_path / "out"), cluster="none", reading=reading))
        assert code == 0
        (tmp_path / "in" / "a.wav").unlink()
        samples = {sample.item.id[-5:]: sample for sample in heard(tmp_path / "out")}
        assert "cannot be read any more" in samples["a.wav"].problem
        assert samples["a.wav"].before is None
        assert {name: sample.problem for name, sample in samples.items() if sample.before} == {"b.wav": "", "c.wav": ""}
    monkeypatch.setattr(transport, "_PAUSES_S", (0.01,))
    samples = heard(tmp_path / "out")
    assert [sample.before for sample in samples] == [None] * 3
    assert len({sample.problem for sample in samples}) == 1


def heard(out):
    """What the page of a corpus plays."""
    transport._filesystem.cache_clear()
    corpus = corpusdiff.open(str(out))
    return list(listen(corpus, choose(corpus, 9)))


def test_rates_and_channels_that_no_browser_plays(tmp_path):
    """Ultrasound in six channels comes down to 48 kHz and two, before and after alike."""
    (tmp_path / "in").mkdir()
    x = 0.1 * np.random.default_rng(3).standard_normal((384000, 6))
    sf.write(tmp_path / "in" / "bat.wav", x, 384000)
    sets = ["source.sr=384000", "source.channels=6"]
    corpus = corpusdiff.run(str(tmp_path / "in"), str(tmp_path / "out"), cluster="none", sets=sets)
    (sample,) = listen(corpus, choose(corpus, 1))
    assert (corpus[0].sr, sample.sr, sample.problem) == (384000, 48000, "")
    for signal in (sample.before, sample.after):
        played, sr = sf.read(io.BytesIO(signal.ogg))
        assert (sr, played.shape) == (48000, (48000, 2))


def test_no_place_no_corpus(corpus, tmp_path):
    """Each is one clear error."""
    with pytest.raises(UsageError, match="cannot be written"):
        write_report(corpus.location, str(tmp_path / "no" / "page.html"))
    with pytest.raises(StoreError, match="no corpus here"):
        write_report(str(tmp_path / "nothing"))


def test_columns_are_those_of_the_table():
    """What the page asks for is in every corpus."""
    from corpusdiff.metrics import COLUMNS
    from corpusdiff.report.collect import CHANGES, METRICS

    names = {column.name for column in COLUMNS}
    assert {name for name, *_ in (*METRICS, *CHANGES)} | {f"out_{name}" for name, *_ in METRICS} <= names
