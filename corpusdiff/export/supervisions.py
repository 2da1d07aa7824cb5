"""Supervisions of a row as Lhotse wants them in a cut of the row's audio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from corpusdiff.manifests.timed import is_supervisions, loaded

#: What Lhotse's SupervisionSegment has; it refuses any other key.
_OWN = frozenset(
    {"id", "recording_id", "start", "duration", "channel", "text", "language", "speaker", "gender", "custom",
     "alignment"}
)  # fmt: skip


def own_supervisions(row: Mapping[str, Any], channel: int | list[int]) -> list[dict[str, Any]]:
    """The supervisions that a manifest gave, with the times that they have in the row; [] where it gave none.

    Parameters
    ----------
    row : with a field ``supervisions``, as `corpusdiff.manifests.times` moved it
    channel : of the row's audio, all of them
    """
    listed = loaded(row.get("supervisions"))
    if not is_supervisions(listed):
        return []
    return [_owned(item, f"{row['id']}-{number}", row["id"], channel) for number, item in enumerate(listed)]


def _owned(item: Mapping[str, Any], name: str, recording: str, channel: int | list[int]) -> dict[str, Any]:
    custom = {key: value for key, value in item.items() if key not in _OWN}
    custom |= item["custom"] if isinstance(item.get("custom"), dict) else {}
    found = {"id": name} | {key: value for key, value in item.items() if key in _OWN and value is not None}
    found |= {"recording_id": recording, "channel": _channel(item.get("channel"), channel)}
    return found | {"custom": custom} if custom else found


def _channel(said: object, there: int | list[int]) -> object:
    """The channels of a supervision where the audio has them, else all."""
    if isinstance(there, int):
        return there
    wanted = said if isinstance(said, list) else [said]
    return said if wanted and all(number in there for number in wanted) else there
