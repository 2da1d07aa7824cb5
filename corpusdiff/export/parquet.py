"""Samples as Parquet with the audio inside, described as Hugging Face datasets wants it."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from corpusdiff.export.sample import Sample

_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "json": pa.string()}
_NAMES = {"str": "string", "int": "int64", "float": "float64", "bool": "bool", "json": "string"}
_OWN = {"id": "str", "duration": "float", "sampling_rate": "int", "num_samples": "int", "num_channels": "int"}


def parquet_bytes(samples: Sequence[tuple[Mapping[str, Any], Sample]], columns: Mapping[str, str]) -> bytes:
    """One file of the rows and samples; `columns` are the manifest's fields with their types."""
    types = _OWN | {name: kind for name, kind in columns.items() if name not in _OWN and name != "audio"}
    types["corpusdiff"] = "json"
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("audio", audio), *((name, _TYPES[kind]) for name, kind in types.items())])
    features: dict[str, Any] = {"audio": {"_type": "Audio"}}
    features |= {name: {"dtype": _NAMES[kind], "_type": "Value"} for name, kind in types.items()}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    arrays = [
        pa.array([{"bytes": sample.data, "path": f"{sample.id}.{sample.extension}"} for _, sample in samples], audio)
    ]
    for name, kind in types.items():
        values = [row.get(name) for row, _ in samples]
        if kind == "json":
            values = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values]
        elif kind == "str":
            values = [None if value is None else str(value) for value in values]
        arrays.append(pa.array(values, _TYPES[kind]))
    buffer = io.BytesIO()
    # few rows in a group: a reader of one row decompresses all of its group's audio
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), buffer, row_group_size=100)
    return buffer.getvalue()
