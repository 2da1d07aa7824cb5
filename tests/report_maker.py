"""A corpus whose table is as long as wanted: rows that share the audio of a few tracks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile as sf

import corpusdiff
from corpusdiff.store.columns import CHUNK_ROWS, encode_column
from corpusdiff.store.objects import open_objects
from corpusdiff.store.schema import TABLES_KEY, Schema, parse_schema

#: Tracks that have audio.
_TRACKS = 24


def make_long_corpus(folder: Path, n_rows: int) -> str:
    """A corpus of `n_rows` rows in `folder`, one in a hundred of them failed, with metrics of their own each."""
    (folder / "in").mkdir(parents=True)
    rng = np.random.default_rng(5)
    for i in range(_TRACKS):
        sf.write(folder / "in" / f"{i:02d}.wav", 0.1 * rng.standard_normal(16000 * 11), 16000)
    (folder / "in" / "broken.wav").write_bytes(b"no sound")
    out = str(folder / "out")
    corpusdiff.run(str(folder / "in"), out, cluster="none")
    _lengthen(out, n_rows, rng)
    return out


def _lengthen(out: str, n_rows: int, rng: np.random.Generator) -> None:
    """Put another table in the place of a corpus' own."""
    objects = open_objects(out)
    corpus = corpusdiff.open(out)
    short = {column.name: corpus.column(column.name) for column in corpus.columns}
    failed = int(np.flatnonzero(short["status"] == "failed")[0])
    good = np.flatnonzero(short["status"] == "ok")
    schema = parse_schema(objects.read(TABLES_KEY))
    schema = Schema(schema.jobs, n_rows, schema.columns)
    for index in range(schema.n_chunks):
        rows = np.arange(index * CHUNK_ROWS, min(n_rows, (index + 1) * CHUNK_ROWS))
        of = np.where(rows % 100 == 7, failed, good[rows % len(good)])
        for column in schema.columns:
            values = short[column.name][of]
            if column.name == "id":
                values = np.array([f"utterance/{row:09d}" for row in rows], object)
            elif column.name == "parent":  # by which the source of the row is found
                values = short["id"][of]
            elif column.name == "rule":
                values = np.array(["default", "noisy", "wandering"], object)[rng.integers(0, 3, len(rows))]
            elif column.kind == "metric":
                values = (values + rng.normal(0, 3, len(rows))).astype(np.float32)
            objects.replace(column.chunk_key(index), encode_column(values.tolist(), column.dtype))
    for key, data in schema.files().items():
        objects.replace(key, data)
    objects.replace(TABLES_KEY, schema.metadata())
