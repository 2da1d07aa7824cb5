"""Showing a run: a bar on a terminal, a line that changes in a notebook, plain lines elsewhere, JSON for programs."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from corpusdiff.notebook import cell_line
from corpusdiff.progress import Snapshot, Tally, format_hours, format_time
from corpusdiff.shards import Progress, ShardReport

if TYPE_CHECKING:
    from rich.console import Console

#: Seconds between two plain lines.
LINE_EVERY_S = 10.0

#: Seconds between two progress objects of ``--json``.
JSON_EVERY_S = 2.0


#: Held by whoever speaks to displays: two lines at once would be none.
DISPLAYS = threading.RLock()


class Display(Protocol):
    """What shows a run."""

    #: Seconds between two updates that it wants.
    every_s: float

    def update(self, snapshot: Snapshot) -> None:
        """Show how far the run is."""
        ...

    def note(self, text: str) -> None:
        """Show a notice."""
        ...

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """Tell a program something; people see nothing of it."""
        ...


class LineDisplay:
    """A line now and then, for logs.

    Parameters
    ----------
    stream : where to
    every_s : seconds between two lines
    """

    def __init__(self, stream: TextIO, every_s: float = LINE_EVERY_S) -> None:
        self.every_s = every_s
        self._stream = stream

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        print(progress_line(snapshot), file=self._stream, flush=True)

    def note(self, text: str) -> None:
        """See `Display.note`."""
        print(text, file=self._stream, flush=True)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`."""


class JsonDisplay:
    """One JSON object per line, each with its kind in ``event``.

    Parameters
    ----------
    stream : where to
    every_s : seconds between two of kind ``progress``
    """

    def __init__(self, stream: TextIO, every_s: float = JSON_EVERY_S) -> None:
        self.every_s = every_s
        self._stream = stream

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        self.event("progress", snapshot.to_json())

    def note(self, text: str) -> None:
        """See `Display.note`."""
        self.event("note", {"text": text})

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`."""
        print(json.dumps({"event": name, **fields}), file=self._stream, flush=True)


class BarDisplay:
    """A bar that moves, on a terminal. Colours are rich's, which heeds NO_COLOR.

    Parameters
    ----------
    console : the terminal
    """

    every_s = 0.2

    def __init__(self, console: Console) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar
        from rich.table import Column

        self._console = console
        line = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
        self._bar = Bar(BarColumn(bar_width=16), line, console=console, transient=True)
        self._task = self._bar.add_task("starting", total=None)

    def __enter__(self) -> BarDisplay:
        self._bar.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._bar.stop()

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        from rich.markup import escape

        self._bar.update(
            self._task,
            total=snapshot.tracks,
            completed=snapshot.tracks_done,
            description=escape(progress_line(snapshot)),
        )

    def note(self, text: str) -> None:
        """See `Display.note`."""
        self._console.print(text, markup=False, highlight=False)

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`."""


class NotebookDisplay(LineDisplay):
    """A line that changes in its place, in a cell of a notebook; notices stay below it.

    Parameters
    ----------
    stream : where notices go
    show : puts a text into the cell and returns what changes it
    """

    def __init__(self, stream: TextIO, show: Callable[[str], Callable[[str], None]]) -> None:
        super().__init__(stream, every_s=0.5)
        self._show = show
        self._change: Callable[[str], None] | None = None

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""
        line = progress_line(snapshot)
        if self._change is None:
            self._change = self._show(line)
        else:
            self._change(line)


class QuietDisplay:
    """Nothing: errors are said by whoever meets them."""

    every_s = 3600.0

    def update(self, snapshot: Snapshot) -> None:
        """See `Display.update`."""

    def note(self, text: str) -> None:
        """See `Display.note`."""

    def event(self, name: str, fields: Mapping[str, object]) -> None:
        """See `Display.event`."""


@contextmanager
def open_display(
    *, as_json: bool, quiet: bool = False, stream: TextIO | None = None, out: TextIO | None = None
) -> Iterator[Display]:
    """The display that suits where the output goes.

    Parameters
    ----------
    as_json : JSON lines on `out`, and nothing for people
    quiet : nothing for people
    stream : where people read; None for stderr
    out : where programs read; None for stdout
    """
    stream = stream or sys.stderr
    if as_json:
        yield JsonDisplay(out or sys.stdout)
    elif quiet:
        yield QuietDisplay()
    elif stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from rich.console import Console

        with BarDisplay(Console(file=stream)) as display:
            yield display
    elif (show := cell_line()) is not None:
        yield NotebookDisplay(stream, show)
    else:
        yield LineDisplay(stream)


class Monitor:
    """Keeps a tally and shows it as often as each display wants.

    Parameters
    ----------
    tally : takes what runners tell
    displays : show it
    clock : seconds; the one by which the tally was started
    """

    def __init__(self, tally: Tally, displays: Sequence[Display], clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._displays = tuple(displays)
        self._clock = clock
        self._next = [clock() + display.every_s for display in self._displays]

    def on_progress(self, progress: Progress) -> None:
        """A shard that runs has come so far."""
        self._tally.add_progress(progress)
        self._show()

    def on_report(self, report: ShardReport) -> None:
        """A shard is committed."""
        self._tally.add_report(report)
        with DISPLAYS:
            for display in self._displays:
                display.event("shard", report_json(report))
        self._show()

    def finish(self) -> None:
        """Show how it ends, whatever was shown last."""
        with DISPLAYS:
            for display in self._displays:
                display.update(self._tally.snapshot(self._clock()))

    def _show(self) -> None:
        now = self._clock()
        for i, display in enumerate(self._displays):
            if now >= self._next[i]:
                self._next[i] = now + display.every_s
                with DISPLAYS:
                    display.update(self._tally.snapshot(now))


def report_json(report: ShardReport) -> dict[str, object]:
    """A report as plain values: counts, and a few of the tracks that failed."""
    return {
        "shard": report.shard,
        "ok": report.n_ok,
        "failed": report.n_failed,
        "filtered": report.n_filtered,
        "seconds": report.seconds,
        "reasons": report.reasons,
        "cpu_s": report.cpu_s,
        "wall_s": report.wall_s,
        "attempt": report.attempt,
        "duplicate": report.duplicate,
        "differing": report.differing,
        "examples": [{"id": track, "reason": reason, "error": error} for track, reason, error in report.examples],
        "changed": list(report.changed),
    }


def progress_line(snapshot: Snapshot) -> str:
    """A run in one line.

    >>> progress_line(Snapshot(5, 10, 1, 1800.0, 3600.0, 500.0, 3.6, {"decode": 1}))
    '5/10 tracks, 30.0 min of 1.00 h, 500 x real time, 0:04 left, 1 failed (decode 1)'
    """
    hours = format_hours(snapshot.seconds_done)
    if snapshot.seconds > 0:
        hours += f" of {format_hours(snapshot.seconds)}"
    parts = [f"{snapshot.tracks_done}/{snapshot.tracks} tracks", hours, f"{snapshot.speed:.0f} x real time"]
    if snapshot.eta_s is not None:
        parts.append(f"{format_time(snapshot.eta_s)} left")
    if snapshot.failed:
        reasons = ", ".join(f"{reason} {n}" for reason, n in sorted(snapshot.reasons.items()))
        parts.append(f"{snapshot.failed} failed" + (f" ({reasons})" if reasons else ""))
    return ", ".join(parts)
