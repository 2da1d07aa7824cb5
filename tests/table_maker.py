"""The table of a corpus of any number of rows, made without its audio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from store_maker import FLAC, Clip, make_generation

from corpusdiff.plan import Plan
from corpusdiff.store.columns import CHUNK_ROWS, Column, encode_column
from corpusdiff.store.metadata import create_groups
from corpusdiff.store.objects import open_objects
from corpusdiff.store.schema import TABLES_KEY, Schema, corpus_columns

#: What stands in the columns of a manifest.
FIELDS = {"text": "some words that were said", "lang": "zh", "take": 1, "speaker": "s0001"}

LANGUAGES = ("zh", "en", "de", "fr")


def make_table(out: Path, n_rows: int) -> tuple[str, ...]:
    """A corpus of one shard, whose table is replaced by one of `n_rows`; the names of its columns.

    Row ``i`` has the id ``speaker/000000i``, fails where ``i % 128 == 7``, has ``lang`` by ``i % 4`` and ``snr_db``
    ``i % 32``; other texts repeat after `CHUNK_ROWS` rows at the latest, other metrics are random.
    """
    plan: Plan = make_generation(out, [[Clip("a", 100, fields=FIELDS)]], [FLAC])
    objects = open_objects(str(out))
    schema = Schema((plan.job_digest,), n_rows, corpus_columns([plan]))
    create_groups(objects)
    for key, data in schema.files().items():
        objects.replace(key, data)
    rng = np.random.default_rng(0)
    same = {column: encode_column(_values(column, np.arange(CHUNK_ROWS), rng), column.dtype)
            for column in schema.columns}  # fmt: skip
    for index in range(schema.n_chunks):
        rows = np.arange(index * CHUNK_ROWS, min(n_rows, (index + 1) * CHUNK_ROWS))
        whole = len(rows) == CHUNK_ROWS
        for column in schema.columns:
            fresh = column.name == "id" or not whole
            data = encode_column(_values(column, rows, rng), column.dtype) if fresh else same[column]
            objects.replace(column.chunk_key(index), data)
    objects.replace(TABLES_KEY, schema.metadata())
    return tuple(column.name for column in schema.columns)


def _values(column: Column, rows: np.ndarray, rng: np.random.Generator) -> Any:
    """A column's values at these rows."""
    texts = {
        "id": "speaker/{:07d}".format,
        "status": lambda row: "failed" if row % 128 == 7 else "ok",
        "lang": lambda row: LANGUAGES[row % 4],
        "text": f"{FIELDS['text']} in row {{}}".format,
    }
    if column.dtype == "string":
        return list(map(texts.get(column.name, lambda row: str(FIELDS.get(column.source, ""))), rows.tolist()))
    if column.kind == "metric":
        return rows % 32 if column.name == "snr_db" else rng.uniform(0, 20, len(rows))
    return {"sr": np.full(len(rows), 16000), "n_samples": rng.integers(8000, 320_000, len(rows))}.get(column.name, rows)
