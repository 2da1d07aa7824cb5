"""From Lhotse's recordings, supervisions and cuts to rows: which file, which channels, which stretch, what is said.

A track is one file, or one channel of it. So a recording of several files, or a cut of such, becomes a row for each
file, with the supervisions of its channels; some of a file's channels, but neither one nor all, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from corpusdiff.errors import ManifestError
from corpusdiff.manifests.rows import PATH_COLUMNS
from corpusdiff.manifests.timed import is_supervisions, said
from corpusdiff.manifests.times import Stretch

#: Keys of a cut or recording that say where its audio is, or describe it as it was; all others are kept as fields.
_PLACES = frozenset(
    {"id", "start", "duration", "channel", "recording", "sources", "sampling_rate", "num_samples", "channel_ids",
     "type", "features", "supervisions", "custom", "transforms"}
)  # fmt: skip

#: Names that a row has for itself: keys of these names under ``custom`` are told apart.
_TAKEN = frozenset({"id", "audio_filepath", "offset", "start", "duration", "channel"})

_CUTS = ("MonoCut", "MultiCut")
_KINDS = (*_CUTS, "MixedCut", "PaddingCut")

#: What to do about sources that are no files.
_REMEDIES = {
    "command": "commands are not run: write their output to files",
    "memory": "audio inside a manifest is not read: write it to files (CutSet.save_audios does so)",
    "shar": "give the Shar folder itself",
}


def is_lhotse(row: object) -> bool:
    """Whether an object is a line of a Lhotse manifest. One that names a file as other manifests do is none.

    >>> is_lhotse({"id": "r", "sources": []}), is_lhotse({"audio_filepath": "a.wav", "recording": "r"})
    (True, False)
    """
    if not isinstance(row, dict) or any(name in row for name in PATH_COLUMNS):
        return False
    return "sources" in row or "recording" in row or row.get("type") in _KINDS or is_supervision(row)


def is_supervision(row: object) -> bool:
    """Whether an object is a line of a Lhotse manifest of supervisions."""
    return isinstance(row, dict) and "recording_id" in row and is_supervisions([row]) and "sources" not in row


def rows_of(item: Mapping[str, Any], place: str, supervisions: Sequence[Mapping[str, Any]] = ()) -> Iterator[Any]:
    """The rows of a recording or cut, one for each file of it.

    Parameters
    ----------
    item : as Lhotse writes it
    place : file and line, for messages
    supervisions : of a recording, from a file of their own

    Raises ManifestError for what has no file, and for some of a file's channels.
    """
    is_cut = "sources" not in item
    recording = item.get("recording") if is_cut else item
    kind = item.get("type", "MonoCut")
    if not isinstance(recording, Mapping) or kind not in _CUTS:
        raise ManifestError(
            f"{place}: found {_named(item)}; expected a recording, or a MonoCut or MultiCut that holds its recording "
            "(CutSet.from_manifests makes such). Mixed and padded cuts have no file of their own: CutSet.save_audios "
            "writes one for each"
        )
    if recording.get("transforms"):
        raise ManifestError(
            f"{place}: the recording is to be transformed when it is loaded ({recording['transforms']!r:.80}): "
            "CutSet.save_audios writes files that need no more of that"
        )
    said_in_it = supervisions or _checked(item.get("supervisions") or [], list, "supervisions", place)
    for one in said_in_it:
        _checked(one, dict, "a supervision", place)
    _checked(item.get("custom") or {}, dict, "custom", place)
    parts = _parts(item.get("channel"), recording, place)
    for source, inside, channel in parts:
        own = [one for one in said_in_it if len(parts) == 1 or _speaks_in(one, inside)]
        row = _fields(item, own)
        row |= {"id": item.get("id"), "audio_filepath": _path(source, place)}
        if len(parts) > 1:
            row["id"] = f"{item.get('id')}#{'+'.join(map(str, inside))}"
        if recording.get("id") != row["id"]:
            row["recording_id"] = recording.get("id")
        if is_cut:
            row |= {"offset": item.get("start", 0.0), "duration": item.get("duration")}
        elif "duration" in recording:
            row["duration"] = recording["duration"]
        if channel is not None:
            row["channel"] = channel
        yield row


def cut_of_supervision(item: Mapping[str, Any], recording: Mapping[str, Any]) -> dict[str, Any]:
    """A supervision as the cut of its recording that it is about, as ``CutSet.trim_to_supervisions`` makes it."""
    channel = item.get("channel")
    return {
        "id": item.get("id"), "start": item["start"], "duration": item["duration"], "recording": recording,
        "channel": channel, "supervisions": [Stretch(item["start"]).supervision(item)],
        "type": "MultiCut" if isinstance(channel, list) else "MonoCut",
    }  # fmt: skip


def _checked(value: Any, kind: type, what: str, place: str) -> Any:
    """The value. Raises ManifestError for one of another kind."""
    if isinstance(value, kind):
        return value
    raise ManifestError(f"{place}: {what}: found {value!r:.80}, expected a {kind.__name__}")


def _named(item: Mapping[str, Any]) -> str:
    kind = item.get("type", "MonoCut")
    return f"{kind} {item.get('id')!r}" if kind not in _CUTS else "no recording"


def _parts(
    wanted: object, recording: Mapping[str, Any], place: str
) -> list[tuple[Mapping[str, Any], list[Any], int | None]]:
    """Sources of a recording that hold wanted channels: which those are, and the one to take, None for all."""
    sources = recording.get("sources")
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        raise ManifestError(f"{place}: found sources {sources!r:.80}; expected the files of a recording")
    if not sources:
        raise ManifestError(f"{place}: 0 sources of a recording; expected its files")
    there = [_checked(source.get("channels") or [0], list, "channels", place) for source in sources]
    if len(sources) == 1:
        there = [_checked(recording.get("channel_ids") or there[0], list, "channel_ids", place)]
    known = [channel for channels in there for channel in channels]
    asked = known if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    absent = [channel for channel in asked if channel not in known]
    if absent or not asked:
        raise ManifestError(f"{place}: channels {asked} of a recording that has {known}")
    parts = []
    for source, channels in zip(sources, there, strict=True):
        inside = [channel for channel in channels if channel in asked]
        if len(inside) not in {0, 1, len(channels)}:
            raise ManifestError(
                f"{place}: channels {asked} of a file with {channels}: one or all of a file's channels are read. "
                "Give a cut for each channel (MultiCut.to_mono makes them), or one of all of them"
            )
        if inside:
            parts.append((source, inside, None if len(inside) == len(channels) else channels.index(inside[0])))
    return parts


def _path(source: Mapping[str, Any], place: str) -> str:
    kind, path = source.get("type"), source.get("source")
    if kind not in ("file", "url") or not isinstance(path, str) or not path:
        remedy = _REMEDIES.get(str(kind), "expected file or url, and its name")
        raise ManifestError(f"{place}: a source of type {kind!r}: {remedy}")
    return path


def _speaks_in(supervision: Mapping[str, Any], channels: list[Any]) -> bool:
    said_of = supervision.get("channel")
    return said_of is None or any(one in channels for one in (said_of if isinstance(said_of, list) else [said_of]))


def _fields(item: Mapping[str, Any], supervisions: list[Mapping[str, Any]]) -> dict[str, Any]:
    fields = {name: value for name, value in item.items() if name not in _PLACES}
    custom = item.get("custom") or {}
    fields |= {f"custom_{name}" if name in _TAKEN else name: value for name, value in custom.items()}
    if supervisions:
        fields["supervisions"] = supervisions
        fields |= said(supervisions) if is_supervisions(supervisions) else {}
    return fields
