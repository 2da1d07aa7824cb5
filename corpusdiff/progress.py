"""How far a run has come: pure sums over reports and events. Drawing them is `display`'s work."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from corpusdiff.shards import Progress, ShardReport

#: Failed tracks kept for each reason, as examples.
EXAMPLES = 3


@dataclass(frozen=True)
class Totals:
    """What a run has before it: all of the plan, and what earlier runs did of it.

    Parameters
    ----------
    tracks, shards : how many the plan has
    seconds : audio of the plan as foretold, in seconds; 0 or NaN when nothing is known
    tracks_before, failed_before, seconds_before, shards_before : what is committed already
    """

    tracks: int
    shards: int
    seconds: float = 0.0
    tracks_before: int = 0
    failed_before: int = 0
    seconds_before: float = 0.0
    shards_before: int = 0


@dataclass(frozen=True)
class Snapshot:
    """A run at one moment. Counts include what earlier runs did; speed is this run's.

    Parameters
    ----------
    tracks_done, failed : tracks with an outcome, and those of them that failed
    tracks : of the plan
    seconds_done, seconds : audio processed and foretold, in seconds; 0 when nothing is known
    speed : seconds of audio per second of time; 0 before anything is done
    eta_s : seconds until the end at this speed; None while unknown
    reasons : failed tracks of this run's finished shards by reason
    shards_done, shards : committed, and of the plan
    shards_running : of which something was heard and no end yet
    """

    tracks_done: int
    tracks: int
    failed: int
    seconds_done: float
    seconds: float
    speed: float
    eta_s: float | None
    reasons: Mapping[str, int]
    shards_done: int = 0
    shards: int = 0
    shards_running: int = 0

    def to_json(self) -> dict[str, object]:
        """Plain values, for ``--json``."""
        return asdict(self)


@dataclass
class Tally:
    """Sums up finished shards and what is told of those that run.

    An attempt's `Progress` replaces what was told before of the same shard, and its report removes it: a
    shard that is tried again counts once. Nothing is kept of a finished shard.

    Parameters
    ----------
    totals : what there is to do
    started : time at which the run began, in seconds of the clock that `snapshot` is given

    >>> tally = Tally(Totals(tracks=10, shards=1, seconds=100.0), started=0.0)
    >>> tally.add_progress(Progress(shard=0, done=5, failed=1, seconds=50.0))
    >>> now = tally.snapshot(10.0)
    >>> now.tracks_done, now.speed, now.eta_s
    (5, 5.0, 10.0)
    """

    totals: Totals
    started: float
    ok: int = 0
    failed: int = 0
    filtered: int = 0
    seconds: float = 0.0
    cpu_s: float = 0.0
    shards: int = 0
    duplicates: int = 0
    differing: int = 0
    n_changed: int = 0
    changed: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    costs: Counter[str] = field(default_factory=Counter)
    _running: dict[int, Progress] = field(default_factory=dict)

    def add_progress(self, progress: Progress) -> None:
        """A shard that runs has come so far."""
        self._running[progress.shard] = progress

    def add_report(self, report: ShardReport) -> None:
        """A shard is committed."""
        self._running.pop(report.shard, None)
        self.shards += 1
        self.ok += report.n_ok
        self.failed += report.n_failed
        self.filtered += report.n_filtered
        self.seconds += report.seconds
        self.cpu_s += report.cpu_s
        self.duplicates += report.duplicate
        self.differing += report.differing
        self.n_changed += report.n_changed
        self.changed = self.changed or list(report.changed)
        self.reasons.update(report.reasons)
        self.costs.update(report.costs)
        for track, reason, error in report.examples:
            kept = self.examples.setdefault(reason, [])
            if len(kept) < EXAMPLES:
                kept.append((track, error))

    @property
    def tracks(self) -> int:
        """Tracks of finished shards."""
        return self.ok + self.failed + self.filtered

    def snapshot(self, now: float) -> Snapshot:
        """The run at the time `now`, in seconds of the clock of `started`."""
        totals = self.totals
        tracks = self.tracks + sum(progress.done for progress in self._running.values())
        seconds = self.seconds + sum(progress.seconds for progress in self._running.values())
        failed = self.failed + sum(progress.failed for progress in self._running.values())
        elapsed = max(now - self.started, 1e-9)
        return Snapshot(
            tracks_done=totals.tracks_before + tracks,
            tracks=totals.tracks,
            failed=totals.failed_before + failed,
            seconds_done=totals.seconds_before + seconds,
            seconds=totals.seconds if totals.seconds > 0 else 0.0,
            speed=seconds / elapsed,
            eta_s=self._eta_s(tracks, seconds, elapsed),
            reasons=dict(self.reasons),
            shards_done=totals.shards_before + self.shards,
            shards=totals.shards,
            shards_running=len(self._running),
        )

    def _eta_s(self, tracks: int, seconds: float, elapsed: float) -> float | None:
        """By the audio that is left; by tracks where lengths were not foretold, or foretold too short."""
        totals = self.totals
        tracks_left = totals.tracks - totals.tracks_before - tracks
        seconds_left = totals.seconds - totals.seconds_before - seconds
        if tracks_left <= 0:
            return 0.0
        if seconds_left > 0 and seconds > 0:
            return seconds_left * elapsed / seconds
        return tracks_left * elapsed / tracks if tracks else None


def summary_lines(tally: Tally, elapsed_s: float) -> list[str]:
    """What a run ends with: its counts, and its failures by reason with examples.

    Parameters
    ----------
    tally : of the finished run
    elapsed_s : how long it took, in seconds
    """
    speed = tally.seconds / elapsed_s if elapsed_s > 0 else 0.0
    counts = f"{tally.ok} ok, {tally.failed} failed"
    if tally.filtered:
        counts += f", {tally.filtered} filtered"
    lines = [
        f"{tally.tracks} tracks: {counts}; {format_hours(tally.seconds)} of audio "
        f"in {format_time(elapsed_s)} ({speed:.0f} x real time)"
    ]
    if tally.totals.tracks_before:
        lines.append(f"{tally.totals.tracks_before} tracks were done before, {tally.totals.failed_before} failed")
    if tally.duplicates:
        lines.append(f"{tally.duplicates} shards had been committed by another worker with the same rows")
    if tally.differing:
        lines.append(f"{tally.differing} shards had been committed by another worker with OTHER rows; those stay")
    if tally.n_changed:
        lines.append(
            f"{tally.n_changed} sources had changed since the plan was made ({', '.join(tally.changed)}"
            f"{', ...' if tally.n_changed > len(tally.changed) else ''}): what is there now was processed"
        )
    for reason, n in tally.reasons.most_common():
        lines.append(f"failed, {reason}: {n}")
        shown = tally.examples.get(reason, [])
        lines += [f"    {track}: {error}" for track, error in shown]
        if n > len(shown):
            lines.append(f"    ... and {n - len(shown)} more")
    return lines


def next_steps(out: str, n_ok: int, n_failed: int) -> list[str]:
    r"""Commands that come after a run.

    >>> print(*next_steps("my corpus", 5, 1), sep="\n")
    what failed:       corpusdiff table 'my corpus' --where 'status == "failed"' --columns id,reason,error
    look and listen:   corpusdiff report 'my corpus'
    to other formats:  corpusdiff export 'my corpus' DEST --to FORMAT   (corpusdiff export --help lists them)
    """
    name = shlex.quote(out)
    failed = f"what failed:       corpusdiff table {name} --where 'status == \"failed\"' --columns id,reason,error"
    further = [
        f"look and listen:   corpusdiff report {name}",
        f"to other formats:  corpusdiff export {name} DEST --to FORMAT   (corpusdiff export --help lists them)",
    ]
    return [failed] * bool(n_failed) + further * bool(n_ok)


def format_time(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> format_time(3725.4), format_time(62.0)
    ('1:02:05', '1:02')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_hours(seconds: float) -> str:
    """Length of audio in the unit that suits it.

    >>> format_hours(90.0), format_hours(5400.0), format_hours(3.6e7)
    ('1.5 min', '1.50 h', '10,000 h')
    """
    hours = seconds / 3600
    if hours < 1:
        return f"{seconds / 60:.1f} min"
    return f"{hours:.2f} h" if hours < 100 else f"{hours:,.0f} h"
