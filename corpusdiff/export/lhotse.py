"""A row as Lhotse's recording, supervision and cut."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corpusdiff.export.sample import LANGUAGE, SPEAKER, TEXT
from corpusdiff.export.supervisions import own_supervisions

_OWN = ("id", "duration", "sampling_rate", "num_samples", "num_channels", "audio_filepath")


def recording_of(row: Mapping[str, Any], kind: str, source: str) -> dict[str, Any]:
    """Lhotse's Recording. `kind` is ``file`` with a path, ``url`` with a URL, or ``shar`` with nothing."""
    channels = list(range(row["num_channels"]))
    kind = "url" if "://" in source else kind
    return {
        "id": row["id"],
        "sources": [{"type": kind, "channels": channels, "source": source}],
        "sampling_rate": row["sampling_rate"],
        "num_samples": row["num_samples"],
        "duration": row["duration"],
        "channel_ids": channels,
    }


def cut_of(row: Mapping[str, Any], recording: Mapping[str, Any]) -> dict[str, Any]:
    """Lhotse's cut of a whole recording; it has a supervision where the manifest said who spoke or what."""
    channels = recording["channel_ids"]
    channel: Any = channels[0] if len(channels) == 1 else channels
    supervisions = _supervisions(row, channel)
    known = {*_OWN, "supervisions"} if own_supervisions(row, channel) else _OWN
    cut = {
        "id": row["id"],
        "start": 0.0,
        "duration": row["duration"],
        "channel": channel,
        "supervisions": supervisions,
        "recording": dict(recording),
        "custom": {name: value for name, value in row.items() if name not in known},
        "type": "MonoCut" if len(channels) == 1 else "MultiCut",
    }
    return {name: value for name, value in cut.items() if value != {}}


def _supervisions(row: Mapping[str, Any], channel: Any) -> list[dict[str, Any]]:
    own = own_supervisions(row, channel)
    if own:
        return own
    said = {
        "text": _first(row, TEXT),
        "language": _first(row, LANGUAGE),
        "speaker": _first(row, SPEAKER),
    }
    known = {name: str(value) for name, value in said.items() if value is not None}
    if not known:
        return []
    place = {"id": row["id"], "recording_id": row["id"], "start": 0.0, "duration": row["duration"], "channel": channel}
    return [place | known]


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)
