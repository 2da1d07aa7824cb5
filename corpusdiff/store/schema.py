"""Which columns a corpus has, and the metadata of its ``tracks`` group that says so."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from corpusdiff.errors import StoreError
from corpusdiff.plan import Plan
from corpusdiff.store.columns import CHUNK_ROWS, Column
from corpusdiff.store.layout import output_specs
from corpusdiff.store.metadata import FORMAT, TRACKS, group_metadata
from corpusdiff.store.record import canonical_json

#: Key of the object whose presence says that the tables are whole.
TABLES_KEY = f"{TRACKS}/zarr.json"

_TEXT = "string"
_OUTPUT_DTYPES = {"array": _TEXT, "row": "int64", "offset": "int64", "size": "int64", "delay": "int64"}
_FURTHER = ("array", "offset", "size", "delay")
_FIELD_DTYPES = {"int": "int64", "bool": "int64", "float": "float64"}


@dataclass(frozen=True)
class Schema:
    """The table's columns and length.

    Parameters
    ----------
    jobs : digest of the job of each generation
    n_rows : rows of the table
    columns : in order
    """

    jobs: tuple[str, ...]
    n_rows: int
    columns: tuple[Column, ...]

    @property
    def n_chunks(self) -> int:
        """Chunks of each column."""
        return -(-self.n_rows // CHUNK_ROWS)

    def metadata(self) -> bytes:
        """The ``zarr.json`` of the group."""
        content = {
            "format": FORMAT,
            "jobs": list(self.jobs),
            "n_rows": self.n_rows,
            "columns": [list(astuple(column)) for column in self.columns],
        }
        return group_metadata({"corpusdiff": {**content, "sha256": _digest(content)}})

    def files(self) -> dict[str, bytes]:
        """All metadata of the tables but the group's, by key."""
        return {column.metadata_key: column.metadata(self.n_rows) for column in self.columns}


def parse_schema(data: bytes) -> Schema:
    """The schema that the group's ``zarr.json`` holds, every bit of it checked. Raises StoreError."""
    try:
        content: dict[str, Any] = json.loads(data)["attributes"]["corpusdiff"]
        columns = tuple(Column(*column) for column in content["columns"])
        schema = Schema(tuple(content["jobs"]), content["n_rows"], columns)
        intact = schema.metadata() == data
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{TABLES_KEY}: damaged: not the metadata of this format") from error
    if not intact:
        raise StoreError(f"{TABLES_KEY}: damaged: its sha256 does not fit")
    return schema


def corpus_columns(plans: Sequence[Plan]) -> tuple[Column, ...]:
    """The columns of a corpus of these generations: ours, further outputs', metrics, texts, fields."""
    from corpusdiff.metrics import COLUMNS, TEXT_COLUMNS

    primary, *further = output_specs(plans[0])
    columns = [
        Column("id", _TEXT, "track", "id"),
        Column("path", _TEXT, "track", "path"),
        *(_output_column(key, primary, key) for key in ("array", "row", "offset", "size")),
        *(Column(name, "int64", "track", name) for name in ("n_samples", "sr", "n_channels")),
        *(Column(name, _TEXT, "track", name) for name in ("status", "error", "reason", "rule", "parent")),
        Column("start_s", "float64", "track", "start_s"),
        _output_column("delay", primary, "delay"),
        *(Column(column.name, "float32", "metric", column.name) for column in COLUMNS),
        *(Column(name, _TEXT, "text", name) for name in TEXT_COLUMNS),
        *(_output_column(f"{output}_{key}", output, key) for output in further for key in _FURTHER),
    ]
    taken = {column.name for column in columns}
    for name, kind in sorted(_field_types(plans).items()):
        columns.append(Column(_free_name(name, taken), _FIELD_DTYPES.get(kind, _TEXT), "field", name, kind))
        taken.add(columns[-1].name)
    return tuple(columns)


def _output_column(name: str, output: str, key: str) -> Column:
    return Column(name, _OUTPUT_DTYPES[key], "output", f"{output}/{key}")


def _field_types(plans: Sequence[Plan]) -> dict[str, str]:
    """Types of the manifest's fields over all generations."""
    types: dict[str, str] = {}
    for plan in plans:
        for name, kind in plan.fields.items():
            known = types.get(name) or kind or "str"
            numbers = {known, kind} == {"int", "float"}
            types[name] = known if kind in {"", known} else "float" if numbers else "json"
    return types


def _free_name(name: str, taken: set[str]) -> str:
    """A name for a field's array: its own where no other has it and Zarr takes it."""
    safe = "".join("_" if char in "/\\" or not char.isprintable() else char for char in name)
    if not safe or safe != name or safe.startswith((".", "__")) or safe in taken or safe == "zarr.json":
        safe = f"field_{safe}"
    number, free = 2, safe
    while free in taken:
        number, free = number + 1, f"{safe}_{number}"
    return free


def _digest(content: Any) -> str:
    return hashlib.sha256(canonical_json(content)).hexdigest()
