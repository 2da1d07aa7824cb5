"""Which manifest a Lhotse file or folder is: cuts, recordings, or recordings with their supervisions in a second file.

Lhotse's recipes name their files ``<corpus>_recordings_<split>.jsonl.gz``, ``<corpus>_supervisions_<split>.jsonl.gz``
and so on; the supervisions of a file of recordings are looked for under the same name.
"""

from __future__ import annotations

import os
import re

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.base import Manifest, without_query
from corpusdiff.manifests.beside import is_file
from corpusdiff.manifests.lhotse import (
    JoinedManifest,
    LhotseManifest,
    SupervisionManifest,
    is_lhotse_file,
    is_supervision_file,
)
from corpusdiff.manifests.transport import scheme_of

#: A file of Lhotse's by its name; numbers at the end are those of Shar, which has tars too.
_NAME = re.compile(r"(?:.*[-_.])?(recordings|supervisions|cuts)(?:[-_.](?!\d+\.).*)?\.jsonl(?:\.gz)?")

_USUAL = tuple(f"{kind}.jsonl{packed}" for kind in ("cuts", "recordings", "supervisions") for packed in (".gz", ""))


def open_lhotse(source: str) -> Manifest:
    """The manifest of a file or folder; recordings with their supervisions where those are there. Raises ManifestError.

    A folder with several manifests is refused with their names.
    """
    if _is_folder(source):
        return _open_found(source, _found(source))
    supervisions = _sibling(source, "recordings", "supervisions")
    return LhotseManifest(source) if supervisions is None else JoinedManifest(source, supervisions)


def open_supervisions(source: str) -> Manifest:
    """Supervisions as tracks, of a file of them or of a folder. Raises ManifestError."""
    if _is_folder(source):
        listed = _found(source).get("supervisions", [])
        if len(listed) != 1:
            raise ManifestError(f"{source}: {_several(listed, 'supervisions')}")
        source = listed[0]
    if not is_supervision_file(source):
        raise ManifestError(f"{source}: expected a file of supervisions, as .jsonl or .jsonl.gz")
    recordings = _sibling(source, "supervisions", "recordings")
    if recordings is None:
        raise ManifestError(
            f"{source}: its recordings are not beside it: expected {_other(source, 'supervisions', 'recordings')}"
        )
    return SupervisionManifest(source, recordings)


def is_lhotse_folder(folder: str) -> bool:
    """Whether a folder holds manifests of Lhotse's, by their names and the first line of one."""
    found = _found(folder)
    first = next((paths[0] for paths in found.values()), None)
    return first is not None and is_lhotse_file(first)


def _is_folder(source: str) -> bool:
    """Whether a source is a folder of manifests; behind a URL its name tells, for not all servers do."""
    if not scheme_of(source):
        return os.path.isdir(source)
    return not without_query(source).endswith((".jsonl", ".json", ".gz"))


def _open_found(folder: str, found: dict[str, list[str]]) -> Manifest:
    listed = sorted(found.get("cuts", []) + found.get("recordings", []))
    if len(listed) == 1:
        (path,) = listed
        alone = found.get("supervisions", [])
        if path in found.get("recordings", []) and len(alone) == 1:
            return JoinedManifest(path, alone[0])
        return open_lhotse(path)
    if not listed and found.get("supervisions"):
        return LhotseManifest(found["supervisions"][0])  # which says what is missing
    raise ManifestError(f"{folder}: {_several(listed, 'cuts or recordings')}")


def _several(paths: list[str], what: str) -> str:
    if not paths:
        return f"no file of {what} here; expected such as {what.rsplit(maxsplit=1)[-1]}.jsonl.gz"
    return f"{len(paths)} files of {what}: give one of them: {', '.join(map(os.path.basename, paths))}"


def _found(folder: str) -> dict[str, list[str]]:
    """Paths of a folder's manifests by their kind. Of one behind a URL only those with the usual names."""
    remote = bool(scheme_of(folder))
    names = _USUAL if remote else sorted(os.listdir(folder))
    found: dict[str, list[str]] = {}
    for name in names:
        kind = _NAME.fullmatch(name)
        path = f"{folder.rstrip('/')}/{name}" if remote else os.path.join(folder, name)
        if kind and is_file(path):
            found.setdefault(kind[1], []).append(path)
    return found


def _sibling(path: str, kind: str, other: str) -> str | None:
    """The file of another kind that goes with this one, packed or not; None where there is none."""
    name = os.path.basename(path)
    if kind not in name:
        return None
    wanted = _other(path, kind, other)
    swapped = wanted.removesuffix(".gz") if wanted.endswith(".gz") else f"{wanted}.gz"
    return next((place for place in (wanted, swapped) if is_file(place)), None)


def _other(path: str, kind: str, other: str) -> str:
    start, _, rest = path.rpartition(kind)
    return f"{start}{other}{rest}"
