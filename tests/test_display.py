"""What people and programs see of a run."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from corpusdiff.display import JsonDisplay, LineDisplay, Monitor, open_display, progress_line
from corpusdiff.progress import Snapshot, Tally, Totals
from corpusdiff.shards import Progress, ShardTask

sys.path.insert(0, str(Path(__file__).parent))
import fake_shards

HALF = Snapshot(5, 10, 1, 1800.0, 3600.0, 500.0, 3.6, {"decode": 1})


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 200 columns."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Terminal()


def test_logs_get_plain_lines():
    """Where no terminal is, a line has no control characters."""
    stream = io.StringIO()
    with open_display(as_json=False, stream=stream) as display:
        assert isinstance(display, LineDisplay)
        display.update(HALF)
        display.note("2 workers")
        display.event("shard", {"shard": 1})
    assert stream.getvalue() == f"{progress_line(HALF)}\n2 workers\n"


def test_programs_get_json_lines_and_people_nothing():
    """With --json every line on stdout is an object with its kind, and stderr stays empty."""
    stream, out = io.StringIO(), io.StringIO()
    with open_display(as_json=True, stream=stream, out=out) as display:
        display.update(Snapshot(0, 10, 0, 0.0, 0.0, 0.0, None, {}))
        display.note('say "no"\nmore')
        display.event("shard", {"shard": 1, "reasons": {"decode": 2}})
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [found["event"] for found in objects] == ["progress", "note", "shard"]
    assert objects[0]["eta_s"] is None
    assert objects[1]["text"] == 'say "no"\nmore'
    assert objects[2]["reasons"] == {"decode": 2}
    assert stream.getvalue() == ""


def test_a_terminal_gets_a_bar(terminal):
    """On a terminal a bar shows tracks, audio, speed, time left and failures by reason."""
    with open_display(as_json=False, stream=terminal) as display:
        display.update(HALF)
        display.note("shard 3: [its] worker died")
    shown = terminal.getvalue()
    assert "\x1b[" in shown
    assert progress_line(HALF) in shown
    assert "shard 3: [its] worker died" in shown


def test_no_color_is_heeded(terminal, monkeypatch):
    """With NO_COLOR the bar sends no colours."""
    monkeypatch.setenv("NO_COLOR", "1")
    with open_display(as_json=False, stream=terminal) as display:
        display.update(HALF)
    assert "\x1b[38" not in terminal.getvalue()
    assert progress_line(HALF) in terminal.getvalue()


def test_a_narrow_terminal_keeps_one_line(terminal, monkeypatch):
    """What does not fit is cut off, so that the bar never fills the screen."""
    monkeypatch.setenv("COLUMNS", "60")
    with open_display(as_json=False, stream=terminal) as display:
        display.update(HALF)
    assert "…" in terminal.getvalue()


def test_a_monitor_shows_no_more_often_than_wanted():
    """Of many events only those a display's interval apart are shown, and the last state at the end."""
    now = [0.0]
    stream = io.StringIO()
    tally = Tally(Totals(tracks=1000, shards=100), started=0.0)
    monitor = Monitor(tally, [LineDisplay(stream, every_s=10.0)], clock=lambda: now[0])
    for second in range(100):
        now[0] = second / 3
        monitor.on_progress(Progress(0, second, 0, float(second)))
    assert [line.split("/")[0] for line in stream.getvalue().splitlines()] == ["30", "60", "90"]
    monitor.on_report(fake_shards.report(ShardTask("out", 0, "digest", 0)))
    monitor.finish()
    assert stream.getvalue().splitlines()[-1].startswith("10/1000 tracks")


def test_every_shard_is_told_to_programs():
    """Reports go out one by one, whatever the interval."""
    out = io.StringIO()
    monitor = Monitor(Tally(Totals(100, 10), started=0.0), [JsonDisplay(out)], clock=lambda: 0.0)
    for shard in range(10):
        monitor.on_report(fake_shards.report(ShardTask("out", 0, "digest", shard)))
    objects = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [found["shard"] for found in objects if found["event"] == "shard"] == list(range(10))
    assert objects[0]["failed"] == 1
