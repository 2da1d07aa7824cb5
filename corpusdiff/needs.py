"""What the tracks of a shard need that is not on this disk as a file of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from corpusdiff.manifests.base import Track, absolute_path, path_below
from corpusdiff.manifests.members import MARK, container_of
from corpusdiff.manifests.stretch import Wanted
from corpusdiff.manifests.transport import scheme_of
from corpusdiff.source import BLOCK

#: Of files at least so long, in bytes, a track of a stretch does not need all.
_WORTH_CUTTING = 4 * 2**20


class Need(NamedTuple):
    """A file of a track: the track's name for it, where it is, how it was listed, and whether it is the far end.

    Of a member of a larger file `url` is that file's path or URL, and `member` the track. `stretch` is the part of a
    long recording that is enough.
    """

    name: str
    url: str
    size: int | None
    version: str | None
    is_reference: bool
    member: Track | None = None
    stretch: Wanted | None = None

    @property
    def key(self) -> str:
        """What tells its copy from others."""
        inside = "" if self.member is None else f"{MARK}{self.member.inside}"
        part = "" if self.stretch is None else f"{MARK}{self.stretch.start_s!r}-{self.stretch.stop_s!r}"
        return f"{self.url}{inside}{part}"


def needs_of(tracks: Sequence[Track], root: str, reference_field: str | None) -> list[list[Need]]:
    """What each track needs, in the tracks' order.

    Of long recordings behind URLs of which the tracks take the lesser part, each needs its stretch only.

    Parameters
    ----------
    tracks : of a shard
    root : what relative paths are relative to, a folder or a URL
    reference_field : field that names a second file of each track, None for none
    """
    needs = [list(_needs(track, root, reference_field)) for track in tracks]
    wanted_s: dict[str, float] = {}
    for track, of_track in zip(tracks, needs, strict=True):
        for need in of_track:
            if not need.is_reference:
                wanted_s[need.key] = wanted_s.get(need.key, 0.0) + (track.duration_s or 0.0)
    return [
        [_with_stretch(track, need, wanted_s.get(need.key, 0.0)) for need in of_track]
        for track, of_track in zip(tracks, needs, strict=True)
    ]


def _with_stretch(track: Track, need: Need, wanted_s: float) -> Need:
    long = need.size is not None and need.size >= _WORTH_CUTTING and bool(scheme_of(need.url))
    if not long or need.is_reference or track.duration_s is None or not (track.header_sr and track.header_samples):
        return need
    if 2 * wanted_s > track.header_samples / track.header_sr:
        return need
    return need._replace(stretch=Wanted(track.offset_s, track.offset_s + track.duration_s, BLOCK))


def _needs(track: Track, root: str, reference_field: str | None) -> Iterator[Need]:
    url = absolute_path(track.path, root)
    if track.inside is not None:
        place = container_of(track, root)
        yield Need(track.path, place, track.size, track.version, is_reference=False, member=track)
    elif "://" in url:
        yield Need(track.path, url, track.size, track.version, is_reference=False)
    name = track.fields.get(reference_field) if reference_field else None
    if isinstance(name, str) and name:
        name = path_below(name, root)
        url = absolute_path(name, root)
        if "://" in url:
            yield Need(name, url, None, None, is_reference=True)
