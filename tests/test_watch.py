"""What a run leaves for those who watch it: its log, its status, its numbers for Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from fault_runs import Run, make_recordings, wait_for

from corpusdiff.describe import describe_status, status_lines
from corpusdiff.errors import UsageError
from corpusdiff.exporter import Exporter, serve
from corpusdiff.progress import Snapshot
from corpusdiff.runlog import SILENT_S, RunLog, check_idle, others_running, statuses
from corpusdiff.store.objects import open_objects

SNAPSHOT = Snapshot(6, 10, 1, 60.0, 100.0, 12.0, 3.3, {"decode": 1}, shards_done=2, shards=4, shards_running=2)


@pytest.fixture
def objects(tmp_path):
    """An empty OUT."""
    return open_objects(str(tmp_path / "out"))


def events(out: Path) -> list[dict]:
    """All lines of all logs."""
    return [json.loads(line) for path in sorted(out.glob("events/*.jsonl")) for line in path.read_text().splitlines()]


def test_a_log_and_a_status(objects):
    """Events are lines, the status is the last one told, and its end is told too."""
    log = RunLog(objects, {"cluster": "local"})
    log.event("start", {"shards": 4})
    log.note("two workers")
    log.say(dashboard="http://here/status")
    log.update(SNAPSHOT)
    (status,) = statuses(objects)
    assert (status["state"], status["cluster"], status["dashboard"]) == ("running", "local", "http://here/status")
    assert (status["tracks_done"], status["shards_running"], status["reasons"]) == (6, 2, {"decode": 1})
    assert 0 <= status["silent_s"] < 60
    log.close("done")
    (status,) = statuses(objects)
    assert status["state"] == "done"
    assert [event["event"] for event in events(objects.root)] == ["start", "note"]


def test_only_others_that_run_and_talk_are_others(objects):
    """A finished driver, one silent for long and our own are not in the way."""
    own, other, done = (RunLog(objects, {"cluster": name}) for name in ("local", "slurm", "none"))
    other.run = f"{other.run}-b"  # the three would share a name, being made by one process in one second
    for log, name in ((own, "a"), (other, "b"), (done, "c")):
        log._sink._key = f"events/{name}.status.json"
        log._status["run"] = name
        log.update(SNAPSHOT)
    done.close("done")
    assert others_running(objects, "a") == [f"{other._status['host']} (process {os.getpid()})"]
    text = objects.read("events/b.status.json").decode()
    past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 2 * SILENT_S))
    old = json.loads(text) | {"updated": past}
    objects.replace("events/b.status.json", json.dumps(old).encode())
    assert others_running(objects, "a") == []
    objects.replace("events/d.status.json", b"{half")
    assert len(list(statuses(objects))) == 3


def test_the_numbers_for_prometheus():
    """What is served is the last snapshot, in Prometheus' own text format."""
    with serve(str(free_port())) as exporter:
        exporter.update(SNAPSHOT)
        address = f"http://127.0.0.1:{exporter.port}/metrics"
        text = urllib.request.urlopen(address, timeout=10).read().decode()
    lines = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert lines['corpusdiff_tracks_total{status="failed"}'] == "1.0"
    assert lines['corpusdiff_tracks_total{status="ok"}'] == "5.0"
    assert lines['corpusdiff_failures_total{reason="decode"}'] == "1.0"
    assert lines["corpusdiff_audio_seconds_total"] == "60.0"
    assert lines["corpusdiff_shards_running"] == "2.0"
    assert lines["corpusdiff_eta_seconds"] == "3.3"


def free_port() -> int:
    """A port that was free a moment ago."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("address", ["", "x", "70000", "1.2.3.4:"])
def test_no_address(address):
    """What is no port is refused."""
    with pytest.raises(UsageError, match="expected PORT or HOST:PORT"), serve(address):
        pass


def test_a_port_that_is_taken():
    """It is named, before anything runs."""
    port = free_port()
    with serve(str(port)), pytest.raises(UsageError, match="choose another"), serve(str(port)):
        pass


def test_nothing_was_told_yet():
    """A scrape before the first snapshot finds nothing, and no error."""
    assert list(Exporter().collect()) == []


def test_a_run_is_watched_from_another_process(tmp_path):
    """While it runs, `status` names the driver, speed and shards; after it, that it is done."""
    source = make_recordings(tmp_path / "recordings", 40)
    with Run(source, tmp_path / "out", "--workers", "2", hook="slow") as run:
        run.await_commits(1)
        wait_for(lambda: len(list(statuses(open_objects(str(run.out), write=False)))) == 1, "a status")
        found = json.loads(told(run.out, "--json"))
        (said,) = found["runs"]
        assert (said["state"], said["pid"], said["cluster"]) == ("running", run.process.pid, "local")
        assert said["dashboard"].startswith("http://")
        assert f"process {run.process.pid}" in told(run.out)
        assert run.finish() == 0, run.said
    found = describe_status(str(run.out))
    assert [said["state"] for said in found["runs"]] == ["done"]
    assert any("done" in line for line in status_lines(found))
    kinds = [event["event"] for event in events(run.out)]
    assert kinds[0] == "start"
    assert kinds.count("shard") == found["shards"]


def test_nothing_is_collected_beside_a_run(objects):
    """`verify --gc` takes what is not committed yet for orphans: it waits for the end of the run."""
    log = RunLog(objects, {"cluster": "local"})
    log.update(SNAPSHOT)
    with pytest.raises(UsageError, match="at work on it"):
        check_idle(str(objects.root))
    log.close("done")
    check_idle(str(objects.root))


def told(out: Path, *options: str) -> str:
    """What `corpusdiff status` prints."""
    command = [sys.executable, "-m", "corpusdiff.cli", "status", str(out), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
