"""What a manifest says of a track, for each of the rows that a job makes of it.

Trimming, cutting, speed and tempo move what was said in a recording. The fields that say when are known by their names
and shape: Lhotse's ``supervisions`` with their alignments, and lists of words, segments and the like whose items have a
start and an end in seconds, counted from where the track begins. The manifest as it was stands in the corpus' ``plan``,
under the track's id.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from corpusdiff.manifests.base import Track
from corpusdiff.manifests.timed import SAID, TIMED, is_length, said
from corpusdiff.manifests.times import Stretch, timed_supervisions, timed_value


@dataclass(frozen=True)
class Clock:
    """What a job does to the time of its tracks.

    Parameters
    ----------
    cuts : whether a row may be less than its track
    pace : so many times as fast, by speed and by tempo
    """

    cuts: bool
    pace: float

    @classmethod
    def of_job(cls, job: Mapping[str, Any]) -> Clock:
        """Of a job as `corpusdiff.job.Job.to_dict` has it."""
        source = job.get("source") or {}
        cuts = source.get("segment_s") is not None or job.get("vad") is not None
        return cls(cuts, source.get("speed", 1.0) * source.get("tempo", 1.0))

    def fields(self, track: Track, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, object]]:
        """The track's fields for each of its rows: times are those of the row's audio, all else is the same."""
        moves = self.cuts or self.pace != 1.0
        timeline = Timeline(track.fields, _length_s(track)) if moves else None
        for row in rows:
            if timeline is None or not row["sr"] or row["status"] == "failed":
                yield dict(track.fields)
            else:
                end_s = row["n_samples"] / row["sr"] if self.cuts else math.inf
                yield timeline.at(Stretch(row["start_s"] - track.offset_s, self.pace, end_s))


class Timeline:
    """A track's fields, of which those that say when are looked at once for all of its rows.

    Parameters
    ----------
    fields : the manifest's
    track_s : length of the track, where it is known: times far beyond it are no seconds
    """

    def __init__(self, fields: Mapping[str, object], track_s: float | None = None) -> None:
        self._fields = fields
        found = {name: timed_value(fields[name], track_s) for name in TIMED if name in fields}
        self._timed = {name: value for name, value in found.items() if value is not None}
        self._supervisions = timed_supervisions(fields.get("supervisions"))
        before = said(self._supervisions.items) if self._supervisions else {}
        self._said = [name for name in SAID if name in fields and fields[name] == before.get(name)]

    def at(self, stretch: Stretch) -> dict[str, object]:
        """The fields with all times moved, and with what the supervisions say as those say it that are left."""
        found = {**self._fields, **{name: value.moved(stretch) for name, value in self._timed.items()}}
        if self._supervisions is not None:
            left = self._supervisions.left(stretch)
            after = said(left)
            found |= {name: after.get(name) for name in self._said}
            found["supervisions"] = self._supervisions.packed(left)
        return found


def _length_s(track: Track) -> float | None:
    """Seconds of a track, as far as its row and its header say; the longer of two claims."""
    if track.duration_s is not None:
        return track.duration_s
    header = track.header_samples / track.header_sr if track.header_samples and track.header_sr else None
    claims = [value for value in (header, track.fields.get("duration")) if is_length(value)]
    return max(claims) - track.offset_s if claims else None  # type: ignore[type-var,operator]
