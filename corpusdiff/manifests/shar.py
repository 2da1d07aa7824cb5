"""Lhotse Shar: cuts as JSON lines, and beside each file of them a tar with their recordings in the same order."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import count, islice
from typing import ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.manifests.beside import is_file, names_in
from corpusdiff.manifests.jsonlines import json_lines
from corpusdiff.manifests.lhotse_items import rows_of
from corpusdiff.manifests.members import ABSENT, Member, container_state, member_path, tar_members
from corpusdiff.manifests.rows import RowManifest
from corpusdiff.manifests.transport import scheme_of

_CUTS = re.compile(r"cuts\.(\d+)\.jsonl(?:\.gz)?")

#: How Lhotse names the place of a recording that a cut has not.
_NO_DATA = ".nodata"


class SharManifest(RowManifest):
    """A folder of ``cuts.NNNNNN.jsonl.gz`` and ``recording.NNNNNN.tar``, here or behind a URL."""

    kind: ClassVar[str] = "shar"

    def __init__(self, folder: str) -> None:
        folder = folder.rstrip("/")
        super().__init__(f"{folder}/cuts")
        self.source = self.root

    def tracks(self) -> Iterator[Track]:
        """Tracks in the order of the cuts. Raises ManifestError."""
        found = False
        for track, _ in self._placed():
            found = True
            yield track
        if not found:
            raise ManifestError(f"{self.source}: no cuts in it")

    def place(self, index: int) -> str:
        """File and line of a track."""
        return next(islice(self._placed(), index, None))[1]

    def _placed(self) -> Iterator[tuple[Track, str]]:
        self.ignored.clear()
        names = _names(self.source)
        for name in names:
            numbered = _CUTS.fullmatch(name)
            if numbered is None:
                if name.endswith(".tar") and not name.startswith("recording."):
                    self.ignored[f"({name.partition('.')[0]})"] += 1
                continue
            tar = f"recording.{numbered[1]}.tar"
            if tar not in names:
                raise ManifestError(f"{self.source}: {name} is there, and {tar} is not")
            yield from self._shard(name, tar)

    def _shard(self, name: str, tar: str) -> Iterator[tuple[Track, str]]:
        cuts, place = absolute_path(name, self.source), absolute_path(tar, self.source)
        version = container_state(place).version
        recordings = (member for member in tar_members(place) if not member.name.endswith(".json"))
        for line, item, _ in json_lines(cuts):
            where = f"{cuts}:{line}"
            member = next(recordings, None)
            if member is None or os.path.splitext(member.name)[0] != str(item.get("id")):
                raise ManifestError(
                    f"{where}: the cut {item.get('id')!r} is not in its place in {place}, found "
                    f"{member.name if member else 'its end'!r}; expected the recordings in the order of the cuts"
                )
            for row in rows_of(_as_file(item, tar), where):
                yield self._inside(self._track(row, line), member, version), where
        if next(recordings, None) is not None:
            raise ManifestError(f"{place}: more recordings than {name} has cuts")

    def _inside(self, track: Track, member: Member, version: str | None) -> Track:
        return replace(
            track, path=member_path(track.path, member.name), size=member.size, version=version,
            inside=ABSENT if member.name.endswith(_NO_DATA) else member.inside,
        )  # fmt: skip


def _as_file(item: dict[str, object], tar: str) -> dict[str, object]:
    """A cut whose recording is read from the tar."""
    recording = item.get("recording")
    if not isinstance(recording, dict) or not isinstance(recording.get("sources"), list):
        return item
    sources = [{**source, "type": "file", "source": tar} for source in recording["sources"] if isinstance(source, dict)]
    return {**item, "recording": {**recording, "sources": sources}}


def is_shar_folder(folder: str) -> bool:
    """Whether a folder holds Shar. Behind a URL the first file is asked for, under the name that Lhotse gives it."""
    if scheme_of(folder):
        return is_file(f"{folder}/cuts.000000.jsonl.gz")
    return any(_CUTS.fullmatch(name) for name in names_in(folder, ()))


def _names(folder: str) -> list[str]:
    """Names of a folder's files; where a server does not show them, Lhotse's own, as far as they are there."""
    names = names_in(folder, ())
    if names or not scheme_of(folder):
        return names
    for number in count():
        shard = [f"cuts.{number:06d}.jsonl.gz", f"recording.{number:06d}.tar"]
        if not is_file(absolute_path(shard[0], folder)):
            return sorted(names)
        names += shard
    raise AssertionError("not reached")
