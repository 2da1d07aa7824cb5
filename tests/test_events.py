"""The event log: one line an event, whoever writes."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from corpusdiff.events import EventLog

#: A process that writes 300 events of a few hundred bytes to a few thousand.
WRITER = """
import sys
from pathlib import Path
from corpusdiff.events import EventLog

log = EventLog(Path(sys.argv[1]))
for i in range(300):
    log.write("shard", writer=sys.argv[2], number=i, text=sys.argv[2] * (100 + 37 * (i % 100)))
"""


def read(path: Path) -> list[dict]:
    """All events of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_is_a_line_with_its_time_and_fields(tmp_path: Path) -> None:
    """Events come back in order, with the time in UTC; the folder is made."""
    path = tmp_path / "events" / "run.jsonl"
    log = EventLog(path)
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    log.write("start", shards=3)
    log.write("shard", id="è\n中", ok=True)
    after = datetime.now(UTC)
    first, second = read(path)
    time = datetime.fromisoformat(first.pop("time"))
    assert before <= time <= after
    assert time.utcoffset() == timedelta(0)
    assert first == {"event": "start", "shards": 3}
    assert (second["id"], second["ok"]) == ("è\n中", True)


def test_a_log_that_is_there_is_continued(tmp_path: Path) -> None:
    """Opening a log again keeps what it holds."""
    path = tmp_path / "run.jsonl"
    EventLog(path).write("one")
    EventLog(path).write("two")
    assert [event["event"] for event in read(path)] == ["one", "two"]


def test_processes_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Four processes that write at once leave every event whole, each one's in its order."""
    path = tmp_path / "run.jsonl"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path, name]) for name in "abcd"]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    events = read(path)
    assert len(events) == 1200
    for name in "abcd":
        own = [event for event in events if event["writer"] == name]
        assert [event["number"] for event in own] == list(range(300))
        assert all(set(event["text"]) == {name} for event in own)
