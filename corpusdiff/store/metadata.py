"""The ``zarr.json`` documents, byte for byte.

They are our own canonical JSON, so that they do not change with the version of zarr and can be
regenerated to the bit by ``verify``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from corpusdiff.errors import StoreError
from corpusdiff.store.objects import Objects

#: Version of everything under ``data.zarr``.
FORMAT = 1

#: Root of the Zarr hierarchy, its groups, and the group that finalise writes.
ROOT = "data.zarr"
AUDIO = "data.zarr/audio"
TRACKS = "data.zarr/tracks"


def array_metadata(
    *,
    shape: tuple[int, ...],
    chunks: tuple[int, ...],
    dtype: str,
    fill_value: Any,
    codecs: list[dict[str, Any]],
    dims: tuple[str, ...],
    attributes: Mapping[str, Any],
) -> bytes:
    """A Zarr v3 array's ``zarr.json``."""
    return canonical(
        {
            "zarr_format": 3,
            "node_type": "array",
            "shape": list(shape),
            "data_type": dtype,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(chunks)}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
            "fill_value": fill_value,
            "codecs": codecs,
            "dimension_names": list(dims),
            "attributes": dict(attributes),
            "storage_transformers": [],
        }
    )


def group_metadata(attributes: Mapping[str, Any]) -> bytes:
    """A Zarr v3 group's ``zarr.json``."""
    return canonical({"zarr_format": 3, "node_type": "group", "attributes": dict(attributes)})


def group_files() -> dict[str, bytes]:
    """The groups that every corpus has, by key."""
    return {
        f"{ROOT}/zarr.json": group_metadata({"corpusdiff": {"format": FORMAT}}),
        f"{AUDIO}/zarr.json": group_metadata({}),
    }


def create_groups(objects: Objects) -> None:
    """Make the groups that every corpus has, or find them there. Raises StoreError."""
    for key, data in group_files().items():
        create_metadata(objects, key, data)


def create_metadata(objects: Objects, key: str, data: bytes) -> None:
    """Make a ``zarr.json``, or find the same one there. Raises StoreError when another is there."""
    if not objects.create(key, data) and objects.read(key) != data:
        raise StoreError(
            f"{objects.location}/{key}: not what this plan needs; see corpusdiff verify, or use another OUT"
        )


def bytes_codec(dtype: DTypeLike) -> dict[str, Any]:
    """Zarr's ``bytes`` codec for elements of `dtype`."""
    if np.dtype(dtype).itemsize == 1:
        return {"name": "bytes"}
    return {"name": "bytes", "configuration": {"endian": "little"}}


def canonical(document: Mapping[str, Any]) -> bytes:
    """A metadata document's one spelling."""
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
