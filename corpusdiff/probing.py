"""Reading the headers of many files, in child processes: they are the first to meet hostile ones."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import IO, Any

from corpusdiff.errors import CorpusdiffError, ManifestError, TrackError
from corpusdiff.isolate import TRIES, ChildDied, Stalled, own_child
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.manifests.heads import fetch_ends
from corpusdiff.manifests.members import container_of, members
from corpusdiff.manifests.remote import CONCURRENCY, ahead
from corpusdiff.manifests.transport import scheme_of, state_of
from corpusdiff.shards import RunOptions

#: Fewer headers than this are read sooner by one child than further ones start.
_PROBES_WORTH_CHILDREN = 2000


def probe_many(tracks: Iterator[Track], root: str, n_children: int, options: RunOptions) -> Iterator[Track]:
    """Tracks in their order with what their headers claim; a header that makes no sense stays unknown.

    Relative paths are below `root`. Of files behind URLs, and of those inside others, the ends are fetched, many at
    once; those of a Parquet table stay unknown, for to see one the audio must be decoded. Raises CorpusdiffError where
    a disk or a server fails: the plan must not depend on it.
    """

    def fetched(track: Track) -> tuple[Track, str | IO[bytes] | None]:
        if track.inside is not None:
            return track, _readable_member(track, container_of(track, root), options)
        return track, _readable(track, absolute_path(track.path, root), options)

    def probed(pair: tuple[Track, str | IO[bytes] | None]) -> Track:
        return _probed(*pair, options)

    with ThreadPoolExecutor(n_children) as pool:
        for batch in _batches(tracks, 4 * _PROBES_WORTH_CHILDREN):
            is_remote = any(scheme_of(absolute_path(track.path, root)) or track.inside for track in batch)
            files = ahead(fetched, batch, CONCURRENCY) if is_remote else map(fetched, batch)
            if len(batch) <= _PROBES_WORTH_CHILDREN:
                yield from map(probed, files)
            elif is_remote:
                yield from ahead(probed, files, n_children)
            else:
                yield from pool.map(probed, files)


def _readable(track: Track, path: str, options: RunOptions) -> str | IO[bytes] | None:
    """What can be read in place of a file: its path, or the ends of what is behind a URL; None where nothing is."""
    if not scheme_of(path):
        return path
    try:
        size = state_of(path).size if track.size is None else track.size
        return None if size is None else fetch_ends(path, size, options.spool, threading.Event())
    except (FileNotFoundError, PermissionError, ManifestError):
        return None  # its row will say so
    except OSError as error:
        raise CorpusdiffError(f"{error}; nothing is planned yet: give the same command again") from error


def _readable_member(track: Track, place: str, options: RunOptions) -> IO[bytes] | None:
    """The ends of what lies inside another file; None of a table's row."""
    kind, _, start = (track.inside or "").partition(":")
    if kind != "byte" or track.size is None:
        return None
    try:
        if scheme_of(place):
            return fetch_ends(place, track.size, options.spool, threading.Event(), at=int(start))
        with members(options.spool) as reader:
            return reader.copy(track, place, threading.Event())
    except (FileNotFoundError, PermissionError, ManifestError, TrackError):
        return None  # its row will say so
    except OSError as error:
        raise CorpusdiffError(f"{error}; nothing is planned yet: give the same command again") from error


def _probed(track: Track, file: str | IO[bytes] | None, options: RunOptions) -> Track:
    if file is None:
        return track
    if isinstance(file, str):
        header = _header(file, options)
    else:
        with file:
            header = _header(f"/proc/{os.getpid()}/fd/{file.fileno()}", options)
    if header is None:
        return track
    return replace(
        track,
        header_sr=header["sr"],
        header_channels=header["n_channels"],
        header_samples=header["n_samples"],
    )


def _header(path: str, options: RunOptions) -> dict[str, Any] | None:
    """What a header claims, None where it makes no sense; a child killed from outside must not change the plan."""
    trouble: OSError | None = None
    for _ in range(TRIES):
        try:
            return own_child(options, {}).probe(path)
        except TrackError:
            return None
        except (ChildDied, Stalled):
            continue
        except OSError as error:
            trouble = error
    if trouble is not None:
        raise CorpusdiffError(
            f"{trouble}; nothing is planned yet: look at that disk, then give the same command again"
        ) from trouble
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
