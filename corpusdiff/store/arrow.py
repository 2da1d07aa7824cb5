"""Columns as Arrow arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from corpusdiff.store.columns import MISSING, Column

if TYPE_CHECKING:
    import pyarrow as pa


def arrow_table(columns: Sequence[Column], values: Callable[[str], NDArray[Any]]) -> pa.Table:
    """A table of these columns; `values` gives what one of a name holds."""
    import pyarrow as pa  # on first use: a corpus opens without it

    return pa.table({column.name: _array(values(column.name), column) for column in columns})


def arrow_texts(values: NDArray[Any]) -> pa.Array:
    """Texts, far smaller in memory than as objects."""
    import pyarrow as pa

    return pa.array(values.tolist(), pa.string())  # of an array of objects, pandas would be loaded to look at it


def _array(values: NDArray[Any], column: Column) -> pa.Array:
    import pyarrow as pa

    if column.dtype == "string":
        return arrow_texts(values)
    if column.kind != "field":
        return pa.array(values)
    if column.type in {"int", "bool"}:
        found = pa.array(values, mask=values == MISSING)
        return found.cast(pa.bool_()) if column.type == "bool" else found
    return pa.array(values, from_pandas=True)
