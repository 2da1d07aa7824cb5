"""What a worker does of an export: one part, from rows of the corpus to objects below DEST."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from corpusdiff.errors import StoreError
from corpusdiff.export.kinds import KINDS, Part, Row
from corpusdiff.export.sample import Sample, make_sample, with_tags
from corpusdiff.export.sources import Sources
from corpusdiff.selection import select
from corpusdiff.shards import Progress, ShardReport, ShardTask
from corpusdiff.store.objects import open_objects
from corpusdiff.store.read import Corpus


@dataclass(frozen=True)
class ExportTask(ShardTask):
    """One part. `out` is the corpus, `shard` the number of the part.

    Parameters
    ----------
    dest : where the export goes
    state : where it is noted how far it has come
    kind : name of one of `KINDS`
    rows : first row and the row after the last that the part may take; those of them that fulfil `where` it takes
    where : condition; those that are not ok are left out whatever it says
    output : which of the job's outputs; None for the first
    whole_id, n_parts, columns : see `Part`
    tags : whether files get their source's tags
    """

    dest: str = ""
    state: str = ""
    kind: str = ""
    rows: tuple[int, int] = (0, 0)
    where: str | None = None
    output: str | None = None
    whole_id: bool = False
    n_parts: int = 1
    columns: dict[str, str] = field(default_factory=dict)
    tags: bool = False


def part_key(number: int) -> str:
    """Key of a part's rows in the state: that it is there says that the part is done."""
    return f"parts/{number:06d}.jsonl"


def chosen_rows(corpus: Corpus, where: str | None, stretch: tuple[int, int] | None = None) -> np.ndarray:
    """Indices of the rows that an export takes: those of the stretch that are ok and fulfil the condition."""
    wanted = 'status == "ok"' if where is None else f'status == "ok" and ({where})'
    return select(corpus, wanted, stretch)


def export_part(task: ShardTask, on_progress: Callable[[Progress], None]) -> ShardReport:
    """Write one part, or find it written. Raises StoreError, and OSError for trouble that passes."""
    assert isinstance(task, ExportTask)
    started, cpu = time.monotonic(), time.process_time()
    state = open_objects(task.state, write=False)
    done = state.size(part_key(task.shard)) is not None
    rows: list[Row] = []
    seconds = 0.0
    if not done:
        dest = open_objects(task.dest, write=False)
        counted = _Counted(task, on_progress)
        part = Part(task.shard, task.n_parts, dest.location, task.whole_id, task.columns)
        for key, data in KINDS[task.kind].write(counted.samples(), part, rows):
            dest.replace(key, data)
        state.create(
            part_key(task.shard), b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        )
        seconds = counted.seconds
    n = len(rows) if not done else state.read(part_key(task.shard)).count(b"\n")
    return ShardReport(
        shard=task.shard, n_ok=n, n_failed=0, n_filtered=0, seconds=seconds, reasons={}, examples=(),
        cpu_s=time.process_time() - cpu, wall_s=time.monotonic() - started, attempt=0, duplicate=done, differing=False,
    )  # fmt: skip


class _Counted:
    """A part's samples, and how far they have come."""

    def __init__(self, task: ExportTask, on_progress: Callable[[Progress], None]) -> None:
        self._task = task
        self._on_progress = on_progress
        self.seconds = 0.0

    def samples(self) -> Iterator[Sample]:
        task = self._task
        corpus = _corpus(task.out, os.getpid())
        sources = Sources(task.out)
        kind = KINDS[task.kind]
        for n, index in enumerate(chosen_rows(corpus, task.where, task.rows)):
            item = corpus.item(int(index), task.output)
            try:
                sample = make_sample(item, kind.encoding)
            except StoreError as error:
                raise StoreError(f"{item.id}: {error}") from error
            with sources.local(item) if task.tags or kind.of_source else nullcontext() as source:
                sample = replace(sample, source=source)
                yield with_tags(sample) if task.tags else sample
            self.seconds += sample.duration
            self._on_progress(Progress(task.shard, n + 1, 0, self.seconds))


@lru_cache(maxsize=1)
def _corpus(out: str, _process: int) -> Corpus:
    return Corpus(out)
