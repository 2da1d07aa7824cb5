"""What happened and when, as JSON lines. Outside every digest."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path


class EventLog:
    """Appends events to a file; several processes may.

    Parameters
    ----------
    path : the file; its folder is made
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def write(self, event: str, **fields: object) -> None:
        """Append one line: the time (UTC), the event's name and its fields, which are JSON types."""
        line = json.dumps({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), "event": event, **fields})
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        try:
            os.write(descriptor, f"{line}\n".encode())  # one write, so that lines of two processes never mix
        finally:
            os.close(descriptor)
