"""Tracks as tables: the columns of a frozen manifest, and the way from a track to a row and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from corpusdiff.manifests.base import Track

#: Columns of a frozen manifest; ``fields`` is JSON.
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("path", pa.string()),
        ("offset_s", pa.float64()),
        ("duration_s", pa.float64()),
        ("channel", pa.int32()),
        ("fields", pa.string()),
        ("size", pa.int64()),
        ("version", pa.string()),
        ("header_sr", pa.int64()),
        ("header_channels", pa.int64()),
        ("header_samples", pa.int64()),
        ("inside", pa.string()),
    ]
)
#: What `lengths_s` needs.
LENGTH_COLUMNS = ["offset_s", "duration_s", "header_sr", "header_samples", "fields"]
_JSON = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)

#: A plain number in the field ``duration``.
_DURATION = r'"duration":(?P<seconds>[0-9][0-9.eE+-]{0,30})[,}]'


@dataclass(frozen=True)
class Rows:
    """Tracks as a table.

    Parameters
    ----------
    table : in the frozen manifest's schema
    types : of the manifest's own columns in these rows, as `FrozenInfo` has them, and ``""`` where all are null
    """

    table: pa.Table
    types: Mapping[str, str]

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @classmethod
    def of(cls, tracks: Sequence[Track]) -> Rows:
        """The table of some tracks."""
        types: dict[str, str] = {}
        for track in tracks:
            add_types(types, {name: _type_name(value) for name, value in track.fields.items()})
        return cls(_to_arrow(tracks), types)

    def tracks(self) -> list[Track]:
        """Inverse of `of`."""
        return _from_arrow(self.table)

    def slice(self, start: int, length: int) -> Rows:
        """Some of the rows, with the types of all."""
        return Rows(self.table.slice(start, length), self.types)

    def replaced(self, **columns: pa.Array) -> Rows:
        """The rows with other values in some columns."""
        table = self.table
        for name, values in columns.items():
            place = SCHEMA.get_field_index(name)
            table = table.set_column(place, SCHEMA.field(place), values)
        return Rows(table, self.types)

    def lengths_s(self) -> NDArray[np.float64]:
        """(n,) float64: seconds per track as claimed, NaN where nothing is. See `FrozenManifest.lengths_s`."""
        return lengths_s(self.table)


def _to_arrow(tracks: Sequence[Track]) -> pa.Table:
    columns = {item.name: [getattr(track, item.name) for track in tracks] for item in fields(Track)}
    columns["fields"] = [_JSON.encode(dict(track.fields)) for track in tracks]
    return pa.table(columns, schema=SCHEMA)


def _from_arrow(table: pa.Table) -> list[Track]:
    columns = {name: table[name].to_pylist() for name in SCHEMA.names}
    columns["fields"] = [json.loads(text) for text in columns["fields"]]
    return [Track(*values) for values in zip(*(columns[item.name] for item in fields(Track)), strict=True)]


def lengths_s(table: pa.Table) -> NDArray[np.float64]:
    """(n,) float64: seconds per track as claimed, NaN where nothing is. See `FrozenManifest.lengths_s`."""
    offset, duration, sr, samples = (
        table[name].to_numpy().astype(np.float64, copy=True) for name in LENGTH_COLUMNS[:4]
    )
    claimed = samples / np.where(sr > 0, sr, np.nan)
    unknown = np.flatnonzero(np.isnan(claimed) & np.isnan(duration))
    claimed[unknown] = _claimed_durations(table["fields"].take(pa.array(unknown)))
    rest = np.maximum(claimed - offset, 0.0)
    lengths: NDArray[np.float64] = np.where(np.isnan(duration), rest, np.fmin(duration, rest))
    return lengths


def _claimed_durations(texts: pa.ChunkedArray) -> NDArray[np.float64]:
    """Seconds in the field ``duration`` of each, NaN where there are none."""
    found = pc.extract_regex(texts, _DURATION)
    seconds = pc.struct_field(found, "seconds").cast(pa.float64()).to_numpy().copy()
    nested = pc.greater(pc.count_substring(texts, "{"), 1)  # whose duration it is, a regular expression cannot tell
    other = pc.and_(pc.is_null(found), pc.match_substring(texts, '"duration"'))
    for row in np.flatnonzero(pc.or_(nested, other).to_numpy()):
        seconds[row] = _claimed_duration(texts[int(row)].as_py())
    return seconds


def _claimed_duration(text: str) -> float:
    try:
        seconds = float(json.loads(text).get("duration"))
    except (TypeError, ValueError, OverflowError):
        return np.nan
    return seconds if 0 <= seconds < np.inf else np.nan


def add_types(types: dict[str, str], further: Mapping[str, str]) -> None:
    """Widen `types` so that they fit further rows too."""
    for name, found in further.items():
        known = types.get(name, found)
        if found in {known, ""}:
            types[name] = known
        elif known == "":
            types[name] = found
        else:
            types[name] = "float" if {known, found} == {"int", "float"} else "json"


def _type_name(value: object) -> str:
    if value is None:
        return ""
    name = type(value).__name__
    if name == "int" and not -(2**63) <= value < 2**63:  # type: ignore[operator]
        return "json"
    return name if name in {"str", "int", "float", "bool"} else "json"
