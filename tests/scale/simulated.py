"""A corpus of any number of tracks without audio: its manifest, and shards that are committed and otherwise no work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from corpusdiff.shards import ShardReport
from corpusdiff.shardwork import plan_of
from corpusdiff.store.commit import commit_shard
from corpusdiff.store.objects import open_objects

#: Rows of the manifest that are made at once.
_AT_ONCE = 1 << 20

#: Files that the rows name in turn; they exist, and nobody reads them.
_FILES = 1000


def track_id(index: int) -> str:
    """Id of a track by its place in the manifest."""
    return f"utt-{index:09d}"


def make_source(folder: Path, n_tracks: int) -> Path:
    """A Parquet manifest of utterances of 1 to 3.8 seconds, with durations: 250 of them are a shard."""
    files = folder / "files"
    files.mkdir(parents=True)
    for number in range(_FILES):
        (files / f"{number:04d}.flac").write_bytes(b"never read")
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("audio_filepath", pa.string()),
            ("duration", pa.float64()),
            ("text", pa.string()),
            ("speaker", pa.int64()),
        ]
    )
    random = np.random.default_rng(0)
    path = folder / "manifest.parquet"
    with pq.ParquetWriter(path, schema) as writer:
        for first in range(0, n_tracks, _AT_ONCE):
            index = np.arange(first, min(n_tracks, first + _AT_ONCE))
            names = pc.utf8_lpad(pc.cast(pa.array(index), pa.string()), 9, "0")
            files_of = pc.utf8_lpad(pc.cast(pa.array(index % _FILES), pa.string()), 4, "0")
            columns = [
                pc.binary_join_element_wise("utt", names, "-"),
                pc.binary_join_element_wise("files/", files_of, ".flac", ""),
                np.round(random.uniform(1.0, 3.8, len(index)), 3),
                pc.binary_join_element_wise('they said "', names, '" again', ""),
                index // 1000,
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return path


def commit_nothing(task, on_progress):
    """Commit a shard whose tracks were all filtered, with everything that is real but the audio."""
    objects = open_objects(task.out, write=False)
    plan = plan_of(task)
    tracks = range(plan.bounds[task.shard], plan.bounds[task.shard + 1])
    rows = [
        {
            "id": track_id(index),
            "path": f"files/{index % _FILES:04d}.flac",
            "fields": {"duration": 2.5, "text": f'they said "{index:09d}" again', "speaker": index // 1000},
            "parent": None,
            "status": "filtered",
            "error": "simulated",
            "reason": "duration",
            "rule": "",
            "sr": 16000,
            "n_channels": 1,
            "n_samples": 0,
            "start_s": 0.0,
            "metrics": {"duration_s": 2.5},
            "texts": {},
            "outputs": [],
        }
        for index in tracks
    ]
    committed = commit_shard(objects, plan, task.shard, rows, "/dev/null", {})
    return ShardReport(
        shard=task.shard,
        n_ok=0,
        n_failed=0,
        n_filtered=len(rows),
        seconds=2.5 * len(rows),
        reasons={},
        examples=(),
        cpu_s=0.0,
        wall_s=0.0,
        attempt=committed.attempt,
        duplicate=committed.duplicate,
        differing=committed.differing,
    )
