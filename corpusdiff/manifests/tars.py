"""Tars of recordings: WebDataset's, and NeMo's with its manifest."""

from __future__ import annotations

import json
import posixpath
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import groupby, islice
from typing import Any, ClassVar

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Track, absolute_path, check_id, path_below
from corpusdiff.manifests.beside import names_in
from corpusdiff.manifests.folder import GlobManifest
from corpusdiff.manifests.globs import is_glob
from corpusdiff.manifests.media import is_media
from corpusdiff.manifests.members import ABSENT, Member, container_state, member_path, tar_members
from corpusdiff.manifests.nemo import NemoManifest
from corpusdiff.manifests.remote import RemoteGlobManifest
from corpusdiff.manifests.rows import RowManifest
from corpusdiff.manifests.transport import FileState, scheme_of

#: NeMo's name of a tarred dataset's manifest.
TARRED_NEMO = "tarred_audio_manifest.json"

#: The longest text beside a recording that is taken, in bytes.
_LONGEST_TEXT = 1 << 20

#: Fields of what lies beside a recording, by extension; others are called by their extension.
_NAMES = {"txt": "text", "cls": "label"}

#: Tars whose members are remembered, for rows that are in no order.
_TARS_KEPT = 4

#: A range in a name: ``{000..127}``, and NeMo's ``_OP_0..127_CL_``.
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|_OP_(\d+)\.\.(\d+)_CL_")


def expanded(pattern: str) -> Iterator[str]:
    """The names that a pattern with ranges stands for.

    >>> list(expanded("a-{08..10}.tar"))
    ['a-08.tar', 'a-09.tar', 'a-10.tar']
    """
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    first, last = (text for text in found.groups() if text is not None)
    for number in range(int(first), int(last) + 1):
        name = f"{number:0{len(first)}d}"
        yield from expanded(f"{pattern[: found.start()]}{name}{pattern[found.end() :]}")


def has_range(source: str) -> bool:
    """Whether a name stands for several by a range."""
    return _RANGE.search(source) is not None


def tars_in(folder: str) -> list[str]:
    """Sorted names of the tars that lie in a folder here or behind a URL. Raises ManifestError."""
    return [name for name in names_in(folder, ()) if name.endswith(".tar")]


class WebDatasetManifest(RowManifest):
    """Tars of samples: a recording and what is known of it under one key, which ends at the first dot of the name.

    Of what lies beside a recording, ``.json`` gives its keys as fields, ``.txt`` the field ``text``, ``.cls`` the field
    ``label``, any other text the field of its extension. The track's id is that of the JSON, else the key; several
    recordings of one key have their extension in their ids.

    Parameters
    ----------
    source : a tar, a glob or a range of them (``{000..127}``), or a folder of them
    """

    kind: ClassVar[str] = "webdataset"

    def __init__(self, source: str) -> None:
        super().__init__(source)
        if not source.endswith(".tar"):
            self.source = self.source.rstrip("/")
            self.root = self.base = self.source
        elif is_glob(self.source) or has_range(self.source):
            parts = self.source.split("/")
            fixed = next(i for i, part in enumerate(parts) if is_glob(part) or has_range(part))
            self.root = self.base = "/".join(parts[:fixed])

    def tracks(self) -> Iterator[Track]:
        """Tracks in the order of the tars. Raises ManifestError."""
        self.ignored.clear()
        found = False
        for track, _ in self._placed():
            found = True
            yield track
        if not found:
            raise ManifestError(f"{self.source}: no recordings in it; expected samples such as utt1.flac and utt1.json")

    def place(self, index: int) -> str:
        """Tar and member of a track."""
        track, place = next(islice(self._placed(), index, None))
        return f"{place}: {track.path.rpartition('::')[2]}"

    def _placed(self) -> Iterator[tuple[Track, str]]:
        for place in self._places():
            try:
                state = container_state(place)
            except (FileNotFoundError, PermissionError) as error:
                raise ManifestError(f"{place}: there is no such tar, or no right to read it") from error
            for key, group in groupby(tar_members(place, _wants), lambda member: _key(member.name)):
                for track in self._of_sample(key, list(group), place, state):
                    yield track, place

    def _places(self) -> Iterator[str]:
        if not self.source.endswith(".tar"):
            yield from (absolute_path(name, self.source) for name in tars_in(self.source))
        elif is_glob(self.source):
            found = RemoteGlobManifest(self.source) if scheme_of(self.source) else GlobManifest(self.source)
            yield from (absolute_path(track.path, found.root) for track in found.tracks())
        else:
            yield from expanded(self.source)

    def _of_sample(self, key: str, group: list[Member], place: str, state: FileState) -> Iterator[Track]:
        audios = [member for member in group if key and is_media(member.name)]
        if not audios:
            self.ignored["(a sample without audio)" if key else "(hidden)"] += 1
            return
        fields: dict[str, Any] = {}
        for member in group:
            if member not in audios:
                fields |= self._said(member, place) | fields
        track_id = str(fields.pop("id", "") or key)
        for name in self.file_fields:
            if isinstance(value := fields.get(name), str):
                self.check_allowed(path_below(value, self.root), 0)
        for member in audios:
            whole_id = track_id if len(audios) == 1 else f"{track_id}.{_rest(member.name)}"
            path = member_path(path_below(place, self.root), member.name)
            yield Track(
                check_id(whole_id, place), path, fields=fields, size=member.size, version=state.version,
                inside=member.inside,
            )  # fmt: skip

    def _said(self, member: Member, place: str) -> dict[str, Any]:
        """What lies beside a recording, as fields."""
        kind = _rest(member.name)
        if member.data is None:
            self.ignored[f".{kind}"] += 1
            return {}
        try:
            text = member.data.decode()
            if kind != "json":
                return {_NAMES.get(kind, kind): text.strip()}
            found = json.loads(text, parse_constant=lambda _: None)
        except UnicodeDecodeError:
            self.ignored[f".{kind}"] += 1
            return {}
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{place}: {member.name}: not JSON ({error})") from error
        return found if isinstance(found, dict) else {"json": found}


def _key(name: str) -> str:
    """The key of a member: its name up to the first dot, "" for a hidden one.

    >>> _key("./a.b/utt.1.flac"), _key("._x.flac")
    ('./a.b/utt', '')
    """
    folder, base = posixpath.split(name)
    stem = base.partition(".")[0]
    return posixpath.join(folder, stem) if stem else ""


def _rest(name: str) -> str:
    return posixpath.basename(name).partition(".")[2].lower()


def _wants(name: str, size: int) -> bool:
    return size <= _LONGEST_TEXT and not is_media(name)


class TarredNemoManifest(NemoManifest):
    """NeMo's manifests. The files of rows with a ``shard_id`` lie in ``audio_<shard_id>.tar`` beside the manifest.

    Where there is no such tar, such a row is one of a file as any other.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._tars: OrderedDict[str, tuple[str | None, Mapping[str, Member]]] = OrderedDict()

    def _track(self, row: dict[str, object], line: int) -> Track:
        shard = row.get("shard_id")
        if isinstance(shard, bool) or not isinstance(shard, int | str):
            return super()._track(row, line)
        tar = f"audio_{posixpath.basename(str(shard))}.tar"
        version, members = self._listed(tar)
        if version is None:
            return super()._track(row, line)
        column = self.path_column(row, line)
        name = str(row[column])
        has_id = bool(row.get("id"))
        rest = {key: value for key, value in row.items() if key != "shard_id"}
        track = super()._track(rest | {column: tar}, line)
        found = members.get(name)
        track_id = track.id if has_id else f"{name}{track.id[len(track.path) :]}"
        return replace(
            track, id=check_id(track_id, f"{self.source}:{line}"), path=member_path(tar, name), version=version or None,
            size=None if found is None else found.size, inside=ABSENT if found is None else found.inside,
        )  # fmt: skip

    def _listed(self, tar: str) -> tuple[str | None, Mapping[str, Member]]:
        """Version and members of a tar; None and none of one that is not there."""
        if tar not in self._tars:
            place = absolute_path(tar, self.root)
            try:
                version = container_state(place).version
                self._tars[tar] = version or "", {member.name: member for member in tar_members(place)}
            except (FileNotFoundError, PermissionError):
                self._tars[tar] = None, {}
            if len(self._tars) > _TARS_KEPT:
                self._tars.popitem(last=False)
        self._tars.move_to_end(tar)
        return self._tars[tar]
