"""What a run leaves behind for those who watch it: a log of events, and how far it is, both under OUT/events.

``events/<run>.jsonl`` has one JSON object per line (an object store, which cannot append, gets numbered parts);
``events/<run>.status.json`` is replaced every few seconds. Nothing of it is in any digest, and nothing depends on it.
"""

from __future__ import annotations

import json
import os
import platform
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

from corpusdiff.errors import StoreError, UsageError
from corpusdiff.events import EventLog, event_line
from corpusdiff.progress import Snapshot
from corpusdiff.store.local import LocalObjects
from corpusdiff.store.objects import Objects, open_objects

FOLDER = "events"
_STATUS = ".status.json"

#: A driver that has said nothing for so long is taken for dead, in seconds.
SILENT_S = 90.0

#: How long the end of a run waits for its last words to reach an object store, in seconds.
_LAST_WORDS_S = 20.0


class RunLog:
    """Takes what a display is told, and keeps it.

    Parameters
    ----------
    objects : the corpus
    about : what to say of the run in its status (cluster, command ...), JSON-able
    """

    #: How often it wants a snapshot, in seconds.
    every_s = 5.0

    def __init__(self, objects: Objects, about: Mapping[str, object]) -> None:
        started = datetime.now(UTC)
        self.run = f"{started:%Y%m%dT%H%M%S}-{platform.node()}-{os.getpid()}"
        self._status: dict[str, Any] = {
            "run": self.run,
            "host": platform.node(),
            "pid": os.getpid(),
            "started": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "state": "running",
            **about,
        }
        self._objects = objects
        self._sink: _Sink = _File(objects, self.run) if isinstance(objects, LocalObjects) else _Parts(objects, self.run)

    def say(self, **facts: object) -> None:
        """Add to the status: the dashboard's address, the number of workers."""
        self._status |= facts
        self._sink.status(self._encoded({}))

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        self._sink.status(self._encoded(snapshot.to_json()))

    def note(self, text: str) -> None:
        """See `Display.note`."""
        self.event("note", {"text": text})

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`."""
        self._sink.event(name, fields)

    def close(self, state: str) -> None:
        """The run is over: ``done``, ``failed`` or ``interrupted``."""
        self._status["state"] = state
        self._sink.status(self._encoded({}))
        self._sink.close()

    def _encoded(self, progress: Mapping[str, object]) -> bytes:
        self._status |= progress
        self._status["updated"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        return json.dumps(self._status).encode()


def statuses(objects: Objects) -> Iterator[dict[str, Any]]:
    """What the runs on a corpus last said, each with ``silent_s``, seconds since then."""
    now = datetime.now(UTC)
    for key in objects.list(FOLDER):
        if not key.endswith(_STATUS):
            continue
        try:
            status = json.loads(objects.read(key))
            updated = datetime.fromisoformat(status["updated"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # it is being made, or is no status of ours
        yield status | {"silent_s": max(0.0, (now - updated).total_seconds())}


def others_running(objects: Objects, own: str) -> list[str]:
    """Drivers, other than our own run, that seem to be at work on the corpus: host and process."""
    return [
        f"{status.get('host')} (process {status.get('pid')})"
        for status in statuses(objects)
        if status.get("state") == "running" and status["silent_s"] < SILENT_S and status.get("run") != own
    ]


def check_idle(out: str) -> None:
    """Refuse to go on while a driver seems to be at work on a corpus. Raises UsageError."""
    busy = others_running(open_objects(out, write=False), "")
    if busy:
        raise UsageError(f"{out}: at work on it: {', '.join(busy)}; wait until that has ended, then try again")


class _Sink(Protocol):
    def event(self, name: str, fields: Mapping[str, object]) -> None: ...

    def status(self, data: bytes) -> None: ...

    def close(self) -> None: ...


class _File:
    """A file that grows beside the corpus, and a status that is swapped."""

    def __init__(self, objects: LocalObjects, run: str) -> None:
        self._objects = objects
        self._key = f"{FOLDER}/{run}{_STATUS}"
        self._log = EventLog(objects.root / FOLDER / f"{run}.jsonl")

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        self._log.write(name, **fields)

    def status(self, data: bytes) -> None:
        self._objects.replace(self._key, data)

    def close(self) -> None:
        """Nothing is held back."""


class _Parts:
    """Numbered objects, written by a thread: a store that is slow or away must not hold up the run."""

    every_s = 5.0

    def __init__(self, objects: Objects, run: str) -> None:
        self._objects = objects
        self._run = run
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._status: bytes | None = None
        self._n_parts = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="corpusdiff-events", daemon=True)
        self._thread.start()

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        with self._lock:
            self._lines.append(event_line(name, fields))

    def status(self, data: bytes) -> None:
        with self._lock:
            self._status = data

    def close(self) -> None:
        self._closing.set()
        self._thread.join(_LAST_WORDS_S)

    def _write(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self.every_s)
            with self._lock:
                lines, self._lines = self._lines, []
                status, self._status = self._status, None
            if lines:
                self._put(f"{self._run}-{self._n_parts:05d}.jsonl", "".join(lines).encode())
                self._n_parts += 1
            if status is not None:
                self._put(f"{self._run}{_STATUS}", status)

    def _put(self, name: str, data: bytes) -> None:
        try:
            self._objects.replace(f"{FOLDER}/{name}", data)
        except (OSError, StoreError):
            return  # the log has a gap; what is wrong with the store the shards will say
