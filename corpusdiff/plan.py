"""From the lengths of a manifest's tracks to shards. Pure: no clock, no files, no randomness."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Seconds of audio in a shard, about.
SHARD_S = 600.0

#: Tracks in a shard, at most.
SHARD_TRACKS = 1000

#: Tracks that `shard_bounds` looks at together.
_LOOKED_AT = 1 << 16

#: A track that is longer is processed in pieces, in seconds, and how long these are, about.
CUT_S = 3 * 3600.0
PIECE_S = 600.0

#: What a track of unknown length counts for, in seconds.
UNKNOWN_S = 10.0

#: Bounds of the length of an encoded chunk, in samples.
MIN_CHUNK, MAX_CHUNK = 1 << 12, 1 << 18


@dataclass(frozen=True)
class Piece:
    """A stretch of a track that is processed in one go; nearly always all of it.

    Parameters
    ----------
    track : index in the frozen manifest
    start, stop : samples of the track; stop None for up to its end
    warm_up : samples before `start` that are processed and dropped
    """

    track: int
    start: int = 0
    stop: int | None = None
    warm_up: int = 0


@dataclass(frozen=True)
class Shard:
    """One task's work: pieces in order, one writer."""

    index: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Plan:
    """What one generation of a corpus is made of.

    Parameters
    ----------
    generation : 0 for the first
    source, kind, root : of the manifest
    manifest_digest : sha256 of the frozen manifest's bytes
    n_tracks : rows of the manifest
    fields : the manifest's own columns and their types
    job : canonical form of the job
    job_digest : sha256 of what of it changes results
    bounds : shard i holds the tracks bounds[i] to bounds[i + 1]
    chunk : samples of an encoded chunk, a power of two
    arrays : (sr, n_channels) pairs that headers foretell
    seconds : of audio, as foretold
    portable : whether workers keep to baseline instructions
    cut_s : seconds; a longer track is processed in pieces. 0 where there is none
    piece_s : seconds of such a piece, about
    """

    generation: int
    source: str
    kind: str
    root: str
    manifest_digest: str
    n_tracks: int
    fields: Mapping[str, str]
    job: Mapping[str, Any]
    job_digest: str
    bounds: tuple[int, ...]
    chunk: int
    arrays: tuple[tuple[int, int], ...]
    seconds: float
    portable: bool = False
    cut_s: float = 0.0
    piece_s: float = PIECE_S

    @property
    def n_shards(self) -> int:
        """Number of shards."""
        return len(self.bounds) - 1

    @cached_property
    def digest(self) -> str:
        """sha256 of everything here, in hexadecimal."""
        document = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(document.encode()).hexdigest()

    def shard(self, index: int) -> Shard:
        """The pieces of a shard."""
        return Shard(index, tuple(Piece(track) for track in range(self.bounds[index], self.bounds[index + 1])))

    def to_dict(self) -> dict[str, Any]:
        """JSON types only."""
        document = {**asdict(self), "bounds": list(self.bounds), "arrays": [list(pair) for pair in self.arrays]}
        if not self.cut_s:  # so that plans from before there were pieces keep their digests
            del document["cut_s"], document["piece_s"]
        return document

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Plan:
        """Inverse of `to_dict`. Raises TypeError, KeyError or ValueError for anything else."""
        bounds = tuple(int(bound) for bound in document["bounds"])
        arrays = tuple((int(sr), int(n_channels)) for sr, n_channels in document["arrays"])
        return cls(**{**document, "bounds": bounds, "arrays": arrays})


def shard_bounds(lengths_s: ArrayLike, shard_s: float = SHARD_S, max_tracks: int = SHARD_TRACKS) -> tuple[int, ...]:
    """Cut tracks, in their order, into stretches of at most `shard_s` seconds and `max_tracks` tracks.

    A stretch takes tracks while they fit; a track longer than `shard_s` is a stretch of its own.

    Parameters
    ----------
    lengths_s : (n,) seconds per track, NaN where unknown; counted in whole microseconds

    Returns
    -------
    first track of each stretch, then n

    >>> shard_bounds([400.0, 100.0, 200.0, 900.0, 10.0])
    (0, 2, 3, 4, 5)
    """
    most = round(shard_s * 1e6)
    # whole microseconds add up without rounding; a track too long for any shard counts as just that
    lengths = np.rint(np.minimum(known_lengths(lengths_s), shard_s + 1.0) * 1e6).astype(np.int64)
    ends = np.cumsum(lengths)
    n = len(lengths)
    bounds = [0]
    for first in range(0, n, _LOOKED_AT):  # not all at once, for the sake of memory
        tracks = np.arange(first, min(first + _LOOKED_AT, n))
        stops = np.searchsorted(ends, ends[tracks] - lengths[tracks] + most, side="right")  # of a stretch begun at each
        stops = np.clip(stops, tracks + 1, np.minimum(tracks + max_tracks, n))
        while bounds[-1] <= tracks[-1]:
            bounds.append(int(stops[bounds[-1] - first]))
    return tuple(bounds)


def chunk_length(lengths_s: ArrayLike, sr: int) -> int:
    """Samples of an encoded chunk: the least power of two that holds 95 of 100 tracks whole, within bounds.

    Parameters
    ----------
    lengths_s : (n,) seconds per track, at least one; NaN where unknown
    sr : rate in Hz of what is encoded

    >>> chunk_length([0.4] * 100, 16000), chunk_length([3600.0], 16000)
    (8192, 262144)
    """
    longest_s = float(np.quantile(known_lengths(lengths_s), 0.95, method="inverted_cdf"))
    longest = min(max(round(longest_s * sr), MIN_CHUNK), MAX_CHUNK)
    return 1 << (longest - 1).bit_length()


def known_lengths(lengths_s: ArrayLike) -> NDArray[np.float64]:
    """(n,) float64 seconds, none of them NaN or negative."""
    lengths = np.asarray(lengths_s, np.float64)
    return np.where(np.isfinite(lengths) & (lengths >= 0), lengths, UNKNOWN_S)
