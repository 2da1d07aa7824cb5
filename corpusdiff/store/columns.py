"""Columns of the ``tracks`` table: which there are, what a row puts in them, and their bytes.

A column is a 1-D Zarr array of 65 536-row chunks, zstd and crc32c. The last chunk is stored full, so
that a chunk's bytes depend on its rows only.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.store.metadata import TRACKS, array_metadata, bytes_codec
from corpusdiff.store.pack import with_crc, without_crc

#: Rows of a chunk.
CHUNK_ROWS = 65536

#: What an int64 manifest field holds where the manifest gave nothing.
MISSING = -(2**63)

_ZSTD_LEVEL = 3
_FILL: dict[str, Any] = {"string": "", "int64": 0, "float32": "NaN", "float64": "NaN"}
_EMPTY_TEXT = bytes(4)


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name : of the array
    dtype : ``string``, ``int64``, ``float32`` or ``float64``
    kind : ``track`` (ours), ``output`` (a place), ``metric``, ``text`` or ``field`` (the manifest's)
    source : name of the metric, text or field, or ``output/key``
    type : of a field: ``str``, ``int``, ``float``, ``bool`` or ``json``
    """

    name: str
    dtype: str
    kind: str
    source: str
    type: str = ""

    @property
    def metadata_key(self) -> str:
        """Key of the column's ``zarr.json``."""
        return f"{TRACKS}/{self.name}/zarr.json"

    def chunk_key(self, index: int) -> str:
        """Key of one of its chunks."""
        return f"{TRACKS}/{self.name}/c/{index}"

    def metadata(self, n_rows: int) -> bytes:
        """The column's ``zarr.json``."""
        text = {"name": "vlen-utf8", "configuration": {}}
        return array_metadata(
            shape=(n_rows,),
            chunks=(CHUNK_ROWS,),
            dtype=self.dtype,
            fill_value=_FILL[self.dtype],
            codecs=[
                text if self.dtype == "string" else bytes_codec(self.dtype),
                {"name": "zstd", "configuration": {"level": _ZSTD_LEVEL, "checksum": False}},
                {"name": "crc32c"},
            ],
            dims=("track",),
            attributes={},
        )

    def values(self, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
        """What records' rows put into the column."""
        name = self.source
        if self.kind == "metric":
            found = [row["metrics"].get(name) for row in rows]
            return [np.nan if value is None else value for value in found]
        if self.kind == "text":
            return [row["texts"].get(name) or "" for row in rows]
        if self.kind == "field":
            return [_field_value(row["fields"].get(name), self.type) for row in rows]
        if self.kind == "output":
            output, key = name.split("/")
            return [_output_value(row["outputs"], output, key) for row in rows]
        if self.dtype == "string":
            return [row[name] or "" for row in rows]
        return [row[name] for row in rows]


def encode_column(values: Sequence[Any], dtype: str) -> bytes:
    """The bytes of a chunk that begins with `values` and goes on with fill."""
    from numcodecs.vlen import VLenUTF8  # on first use: a corpus opens without it
    from numcodecs.zstd import Zstd

    if dtype == "string":
        texts = VLenUTF8().encode(np.array([*values, ""], object)[:-1])
        data = struct.pack("<I", CHUNK_ROWS) + texts[4:] + _EMPTY_TEXT * (CHUNK_ROWS - len(values))
    else:
        fill = np.nan if dtype.startswith("float") else 0
        full = np.full(CHUNK_ROWS, fill, np.dtype(dtype).newbyteorder("<"))
        full[: len(values)] = values
        data = full.tobytes()
    return with_crc(bytes(Zstd(level=_ZSTD_LEVEL).encode(data)))


def decode_column(data: bytes, dtype: str) -> NDArray[Any]:
    """All values of a chunk, (CHUNK_ROWS,); texts as objects. Raises ValueError for a damaged one."""
    from numcodecs.vlen import VLenUTF8
    from numcodecs.zstd import Zstd

    try:
        raw = Zstd().decode(without_crc(data))
    except RuntimeError as error:
        raise ValueError(f"cannot be decompressed: {error}") from error
    found = VLenUTF8().decode(raw) if dtype == "string" else np.frombuffer(raw, np.dtype(dtype).newbyteorder("<"))
    if len(found) != CHUNK_ROWS:
        raise ValueError(f"{len(found)} values in a chunk of {CHUNK_ROWS}")
    return found


def field_from_column(value: Any, kind: str) -> Any:
    """A manifest field's value as the manifest had it; None where it had none.

    >>> field_from_column(1, "bool"), field_from_column(-2**63, "int"), field_from_column("", "json")
    (True, None, None)
    """
    if kind in {"int", "bool"}:
        return None if value == MISSING else bool(value) if kind == "bool" else int(value)
    if kind == "float":
        return None if np.isnan(value) else float(value)
    if kind == "json":
        return json.loads(value) if value else None
    return str(value)


def _field_value(value: Any, kind: str) -> Any:
    if kind in {"int", "bool"}:
        return MISSING if value is None else int(value)
    if kind == "float":
        return np.nan if value is None else float(value)
    if kind == "json":
        return "" if value is None else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


#: What stands for the place of audio that a row does not have.
_NO_OUTPUT: dict[str, Any] = {"array": "", "row": -1, "offset": -1, "size": 0, "delay": 0}


def _output_value(outputs: Sequence[Mapping[str, Any]], output: str, key: str) -> Any:
    for found in outputs:
        if found["name"] == output:
            return found[key]
    return _NO_OUTPUT[key]
