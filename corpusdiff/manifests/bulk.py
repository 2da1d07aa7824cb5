"""Rows of a Parquet manifest as whole columns: the tracks that `RowManifest` makes of them one by one, sooner.

Only plain rows are taken this way. Whatever is unusual in a batch (a path with ``..``, a missing id among given ones, a
nested value) goes row by row, which knows all cases and what to say about them.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from json.encoder import encode_basestring

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from corpusdiff.manifests.base import LONGEST_ID
from corpusdiff.manifests.frozen_rows import SCHEMA, Rows
from corpusdiff.manifests.remote import with_file_states

#: Paths that `path_below` may change, or that are none.
_ODD_PATH = r"^$|^\.|/\.|//|/$"

#: What JSON escapes.
_ESCAPED = '["\\\\\x00-\x1f]'

#: Files whose state is asked for in a row, and from what time for each, in seconds, threads make that any sooner.
_STAT_STRIDE, _SLOW_STAT_S = 512, 1e-4
_STAT_THREADS = 16


class _UnusualError(Exception):
    """The batch has to go row by row."""


def plain_rows(batch: pa.Table, path_column: str, root: str) -> Rows | None:
    """The tracks of a batch, None where any of its rows is unusual.

    Parameters
    ----------
    batch : rows of the user's manifest, without columns of bytes
    path_column : name of the column with the paths
    root : the folder that they are relative to
    """
    columns = {name: _decoded(batch[name]) for name in batch.column_names}
    if len(columns) != batch.num_columns:
        return None
    try:
        return _rows(columns, path_column, root, len(batch))
    except (_UnusualError, pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError):
        return None


def with_states(rows: Rows, root: str) -> Rows:
    """The tracks with their files' size and version, as `with_file_states` finds them."""
    paths = rows.table["path"].to_pylist()
    if "://" in root or any("://" in path for path in paths):
        return Rows.of(list(with_file_states(rows.tracks(), root)))
    folder = os.path.join(root, "")
    places = [path if path[0] == "/" else folder + path for path in paths]
    started = time.perf_counter()
    found = [*_states(places[:_STAT_STRIDE])]
    rest = [places[start : start + _STAT_STRIDE] for start in range(_STAT_STRIDE, len(places), _STAT_STRIDE)]
    if time.perf_counter() - started > _STAT_STRIDE * _SLOW_STAT_S:
        with ThreadPoolExecutor(_STAT_THREADS) as pool:
            found += chain.from_iterable(pool.map(_states, rest))
    else:
        found += chain.from_iterable(map(_states, rest))
    sizes = [None if state is None else state.st_size for state in found]
    versions = [None if state is None else str(state.st_mtime_ns) for state in found]
    return rows.replaced(size=pa.array(sizes, pa.int64()), version=pa.array(versions, pa.string()))


def _states(paths: list[str]) -> Sequence[os.stat_result | None]:
    try:
        return [*map(os.stat, paths)]
    except OSError:
        return [_state(path) for path in paths]


def _state(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:
        return None  # its row will say so


def _decoded(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # of nothing
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], column.type)
    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_large_string(array.type):
        array = array.cast(pa.string())
    if types.is_floating(array.type):  # NaN is pandas' null
        array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
    return array


def _rows(columns: dict[str, pa.Array], path_column: str, root: str, n: int) -> Rows:
    path = _paths(columns.pop(path_column), root)
    offset, duration, segment = _segments(columns)
    channel = _channels(columns)
    track_id = _ids(columns.pop("id", None), path, segment, channel)
    texts, kinds = _fields(columns, n)
    made = {"id": track_id, "path": path, "channel": channel, "fields": texts}
    made["offset_s"] = pa.array(np.zeros(n)) if offset is None else offset
    made["duration_s"] = duration
    arrays = [pa.nulls(n, item.type) if made.get(item.name) is None else made[item.name] for item in SCHEMA]
    return Rows(pa.table(arrays, schema=SCHEMA), kinds)


def _paths(listed: pa.Array, root: str) -> pa.Array:
    if not types.is_string(listed.type) or listed.null_count or _any(pc.match_substring_regex(listed, _ODD_PATH)):
        raise _UnusualError
    absolute = pc.starts_with(listed, "/")
    if not _any(absolute):
        return listed
    if "://" in root:
        raise _UnusualError
    prefix = root if root.endswith("/") else root + "/"
    below = pc.utf8_slice_codeunits(listed, len(prefix))
    return pc.if_else(pc.starts_with(listed, prefix), below, listed)


def _segments(columns: dict[str, pa.Array]) -> tuple[pa.Array | None, pa.Array | None, list[str] | None]:
    """Offset and duration of segments, and what of them their ids say; None where the rows are whole files."""
    name = "offset" if "offset" in columns else "start"
    if not _given(columns.get(name)):
        return None, None, None
    starts = columns.pop(name)
    offset = _seconds(starts)
    segment = [f"@{start}+" for start in offset.to_pylist()]
    offset = pc.add(offset, 0.0)  # minus zero is zero
    if not _given(columns.get("duration")):
        return offset, None, segment
    duration = _seconds(columns.pop("duration"))
    if _any(pc.equal(duration, 0.0)):
        raise _UnusualError
    ids = [start + str(length) for start, length in zip(segment, duration.to_pylist(), strict=True)]
    return offset, duration, ids


def _channels(columns: dict[str, pa.Array]) -> pa.Array | None:
    if not _given(columns.get("channel")):
        return None
    numbers = _seconds(columns.pop("channel"))
    return numbers.cast(pa.int32())  # ArrowInvalid where it is no whole number


def _given(column: pa.Array | None) -> bool:
    """Whether all rows have a value, as opposed to none."""
    if column is None or column.null_count == len(column):
        return False
    if column.null_count or not (types.is_integer(column.type) or types.is_floating(column.type)):
        raise _UnusualError
    return True


def _seconds(column: pa.Array) -> pa.Array:
    """Finite float64 numbers from 0 on."""
    numbers = column.cast(pa.float64())
    if not pc.all(pc.and_(pc.is_finite(numbers), pc.greater_equal(numbers, 0.0))).as_py():
        raise _UnusualError
    return numbers


def _ids(given: pa.Array | None, path: pa.Array, segment: list[str] | None, channel: pa.Array | None) -> pa.Array:
    made = path
    if given is not None and given.null_count < len(given):
        if given.null_count or not (types.is_integer(given.type) or types.is_string(given.type)):
            raise _UnusualError
        made = given.cast(pa.string())
        if _any(pc.equal(made, "")):
            raise _UnusualError
    else:
        if segment is not None:
            made = pc.binary_join_element_wise(made, pa.array(segment), "")
        if channel is not None:
            made = pc.binary_join_element_wise(made, channel.cast(pa.string()), "#")
    longest = pc.max(pc.utf8_length(made)).as_py() or 0
    if longest > LONGEST_ID or not all(map(str.isprintable, made.to_pylist())):
        raise _UnusualError
    return made


def _fields(columns: Mapping[str, pa.Array], n: int) -> tuple[pa.Array, dict[str, str]]:
    """JSON of the manifest's other columns, as `Rows.of` spells it, and their types."""
    kinds = {name: _kind(column) for name, column in columns.items()}
    parts: list[pa.Array | str] = ["{"]
    for number, (name, column) in enumerate(sorted(columns.items())):
        parts += ["," * bool(number) + json.dumps(name, ensure_ascii=False) + ":", _json_texts(column)]
    parts.append("}")
    if not columns:
        return pa.array(["{}"] * n, pa.string()), kinds
    return pc.binary_join_element_wise(*parts, ""), kinds


def _kind(column: pa.Array) -> str:
    if column.null_count == len(column):
        return ""
    for fits, kind in _KINDS:
        if fits(column.type):
            return kind
    raise _UnusualError


_KINDS = (
    (types.is_string, "str"),
    (types.is_boolean, "bool"),
    (types.is_floating, "float"),
    (lambda kind: types.is_integer(kind) and kind != pa.uint64(), "int"),
)


def _json_texts(column: pa.Array) -> pa.Array:
    kind = _kind(column)
    if kind == "":
        return pa.array(["null"] * len(column), pa.string())
    if kind == "str":
        if _any(pc.match_substring_regex(column, _ESCAPED)):
            texts = pa.array([text if text is None else encode_basestring(text) for text in column.to_pylist()])
        else:
            texts = pc.binary_join_element_wise('"', column, '"', "")
    elif kind == "float":
        if not pc.all(pc.is_finite(column)).as_py():
            raise _UnusualError
        texts = pa.array([number if number is None else repr(number) for number in column.to_pylist()])
    else:
        texts = column.cast(pa.string())
    return pc.fill_null(texts.cast(pa.string()), "null")


def _any(found: pa.Array) -> bool:
    return bool(pc.any(found).as_py())
