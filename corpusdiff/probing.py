"""Reading the headers of many files, in child processes: they are the first to meet hostile ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from corpusdiff.errors import TrackError
from corpusdiff.isolate import TRIES, ChildDied, Stalled, own_child
from corpusdiff.manifests.base import Track
from corpusdiff.shards import RunOptions

#: Fewer headers than this are read sooner by one child than further ones start.
_PROBES_WORTH_CHILDREN = 2000


def probe_many(
    tracks: Iterator[Track], absolute: Callable[[Track], str], n_children: int, options: RunOptions
) -> Iterator[Track]:
    """Tracks in their order with what their headers claim; a header that cannot be read stays unknown."""

    def probed(track: Track) -> Track:
        return _probed(track, absolute(track), options)

    with ThreadPoolExecutor(n_children) as pool:
        for batch in _batches(tracks, 4 * _PROBES_WORTH_CHILDREN):
            yield from (pool.map if len(batch) > _PROBES_WORTH_CHILDREN else map)(probed, batch)


def _probed(track: Track, path: str, options: RunOptions) -> Track:
    header = _header(path, options)
    if header is None:
        return track
    return replace(
        track,
        header_sr=header["sr"],
        header_channels=header["n_channels"],
        header_samples=header["n_samples"],
    )


def _header(path: str, options: RunOptions) -> dict[str, Any] | None:
    """What a header claims, None where it cannot be read; a child killed from outside must not change the plan."""
    for _ in range(TRIES):
        try:
            return own_child(options, {}).probe(path)
        except TrackError:
            return None
        except (ChildDied, Stalled):
            continue
    return None


def _batches(tracks: Iterator[Track], size: int) -> Iterator[Sequence[Track]]:
    batch: list[Track] = []
    for track in tracks:
        batch.append(track)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
