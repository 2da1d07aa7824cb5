"""What happened and when, as JSON lines. Outside every digest."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from corpusdiff.errors import StoreError


class EventLog:
    """Appends events to a file; several processes may.

    Parameters
    ----------
    path : the file; it and its folder are made by the first event
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: str, **fields: object) -> None:
        """Append one line: the time (UTC), the event's name and its fields, which are JSON types.

        Raises StoreError where the file cannot be written.
        """
        line = event_line(event, fields)
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                os.write(descriptor, line.encode())  # one write, so that lines of two processes never mix
            finally:
                os.close(descriptor)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(
                f"{self._path}: cannot be written ({error.strerror}); when it can, run the same command again: it "
                "goes on where it stopped"
            ) from error


def event_line(event: str, fields: Mapping[str, object]) -> str:
    """One line of a log: the time (UTC), the event's name and its fields."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, "event": event, **fields}) + "\n"
