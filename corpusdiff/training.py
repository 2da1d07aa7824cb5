"""Corpora as PyTorch datasets: by index, or as a stream that is shuffled by shard; and batches of like length.

Everything here may be pickled, and used after a fork or a spawn: a corpus on a disk opens its files when it reads.
One behind a URL keeps connections, which no fork survives: give the `DataLoader` ``multiprocessing_context="spawn"``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, IterableDataset, Sampler, get_worker_info

from corpusdiff.errors import UsageError
from corpusdiff.selection import select
from corpusdiff.store.read import Corpus

#: What a dataset gives of each track.
Example = dict[str, Any]


class CorpusDataset(Dataset[Example]):
    """Tracks by index.

    Each is a dict with ``audio`` ((n_channels, n_samples) float32 tensor, full scale 1.0), ``sr`` in Hz, ``id``,
    ``index`` (the row of the corpus), and the columns that were asked for.

    Parameters
    ----------
    corpus : to read
    where : only rows for which this holds; rows without audio are left out whatever it says
    output : which of the job's outputs; None for the first
    columns : further columns of the table, or fields of the manifest
    crop_s : take a stretch of at most so many seconds, at a place that `seed`, epoch and index decide; only its chunks
        are read. None for whole tracks
    seed : of the places of crops

    Raises UsageError where no row is left, or for a column that is not there.
    """

    def __init__(
        self,
        corpus: Corpus,
        where: str | None = None,
        *,
        output: str | None = None,
        columns: Sequence[str] = (),
        crop_s: float | None = None,
        seed: int = 0,
    ) -> None:
        self.corpus = corpus
        self.rows = select(corpus, 'status == "ok"' if where is None else f'status == "ok" and ({where})')
        if not len(self.rows):
            raise UsageError("no row of the corpus has audio" + (f" and fulfils {where}" if where else ""))
        unknown = sorted(set(columns) - _known(corpus))
        if unknown:
            raise UsageError(f"no column {', '.join(unknown)}: there are {', '.join(sorted(_known(corpus)))}")
        self._output = output
        self._columns = tuple(columns)
        self._crop_s = crop_s
        self._seed = seed
        self._epoch = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.example(int(self.rows[index]))

    def set_epoch(self, epoch: int) -> None:
        """Let crops fall elsewhere than in the epoch before."""
        self._epoch = epoch

    def lengths(self) -> NDArray[np.int64]:
        """Samples of each track, (len(self),), crops not looked at."""
        return self.corpus.column("n_samples")[self.rows]

    def example(self, row: int) -> Example:
        """The track of a row of the corpus."""
        item = self.corpus.item(row, self._output)
        start, stop = self._stretch(row, item.n_samples, item.sr)
        audio = torch.from_numpy(np.ascontiguousarray(item.read(start, stop)))
        found: Example = {"audio": audio, "sr": item.sr, "id": item.id, "index": row}
        if self._columns:
            fields = item.fields
            found |= {name: fields[name] if name in fields else item[name] for name in self._columns}
        return found

    def _stretch(self, row: int, n_samples: int, sr: int) -> tuple[int, int]:
        if self._crop_s is None:
            return 0, n_samples
        wanted = max(1, round(self._crop_s * sr))
        if wanted >= n_samples:
            return 0, n_samples
        start = int(np.random.default_rng((self._seed, self._epoch, row)).integers(n_samples - wanted + 1))
        return start, start + wanted


class CorpusStream(IterableDataset[Example]):
    """Tracks as a stream: shards in a random order, their tracks mixed by a buffer.

    Over all workers and ranks each track comes once an epoch. Ranks may differ by a few tracks: stop at the shortest
    by `islice`, or use `CorpusDataset` with a `DistributedSampler`, where a collective operation needs equal numbers.

    Parameters
    ----------
    dataset : what to give
    shuffle : False for the order of the corpus
    buffer : tracks among which the next one is drawn
    seed : of the order
    rank, n_ranks : of this process; taken from `torch.distributed` where it runs, unless given
    """

    def __init__(
        self,
        dataset: CorpusDataset,
        *,
        shuffle: bool = True,
        buffer: int = 1000,
        seed: int = 0,
        rank: int | None = None,
        n_ranks: int | None = None,
    ) -> None:
        self.dataset = dataset
        self._shuffle = shuffle
        self._buffer = max(1, buffer)
        self._seed = seed
        self._epoch = 0
        self._rank, self._n_ranks = _ranks(rank, n_ranks)

    def set_epoch(self, epoch: int) -> None:
        """Let the order be another one than in the epoch before; call it before each epoch."""
        self._epoch = epoch
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        n_workers, own = (worker.num_workers, worker.id) if worker else (1, 0)
        n_parts, part = self._n_ranks * n_workers, self._rank * n_workers + own
        shards = self._shards()
        if self._shuffle:
            np.random.default_rng((self._seed, self._epoch)).shuffle(shards)
        rows: Iterator[int] = (int(row) for shard in shards[part::n_parts] for row in shard)
        if self._shuffle:
            rows = _mixed(rows, self._buffer, np.random.default_rng((self._seed, self._epoch, part)))
        return (self.dataset.example(row) for row in rows)

    def _shards(self) -> list[NDArray[np.int64]]:
        """Rows whose audio lies together; few shards are cut smaller, so that each part has its share."""
        corpus, rows = self.dataset.corpus, self.dataset.rows
        places = corpus.column("row")[rows]
        edges = np.flatnonzero(np.diff(places)) + 1
        shards = np.split(rows, edges)
        if len(shards) < 8 * self._n_ranks * max(1, _n_workers()):
            size = max(1, len(rows) // (8 * self._n_ranks * max(1, _n_workers())))
            shards = [part for shard in shards for part in np.split(shard, range(size, len(shard), size))]
        return shards


class LengthBatches(Sampler[list[int]]):
    """Batches of tracks of like length, for a `DataLoader`'s ``batch_sampler``.

    Tracks are sorted by length within pools of `pool` batches, cut into batches of at most `max_s` seconds after
    padding, and the batches are shuffled. Over all ranks each track comes once an epoch; ranks may differ by a batch.

    Parameters
    ----------
    dataset : to draw from
    max_s : seconds of audio in a batch, padding counted; a longer track is a batch of its own
    pool : batches among which lengths are sorted: more pad less, and mix less
    seed : of the order
    rank, n_ranks : as in `CorpusStream`
    drop_uneven : leave out the batches that not every rank would get
    """

    def __init__(
        self,
        dataset: CorpusDataset,
        max_s: float,
        *,
        pool: int = 100,
        seed: int = 0,
        rank: int | None = None,
        n_ranks: int | None = None,
        drop_uneven: bool = False,
    ) -> None:
        rates = dataset.corpus.column("sr")[dataset.rows]
        self._seconds = dataset.lengths() / rates
        self._max_s = max_s
        self._pool = pool
        self._seed = seed
        self._epoch = 0
        self._rank, self._n_ranks = _ranks(rank, n_ranks)
        self._drop_uneven = drop_uneven

    def set_epoch(self, epoch: int) -> None:
        """Let the order be another one than in the epoch before; call it before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._own())

    def _own(self) -> list[list[int]]:
        batches = self._batches()
        n = len(batches) // self._n_ranks * self._n_ranks if self._drop_uneven else len(batches)
        return batches[self._rank : n : self._n_ranks]

    def _batches(self) -> list[list[int]]:
        rng = np.random.default_rng((self._seed, self._epoch))
        order = rng.permutation(len(self._seconds))
        per_pool = max(1, round(self._pool * self._max_s / max(float(self._seconds.mean()), 1e-9)))
        batches: list[list[int]] = []
        for first in range(0, len(order), per_pool):
            pool = order[first : first + per_pool]
            batches += self._cut(pool[np.argsort(self._seconds[pool], kind="stable")])
        return [batches[i] for i in rng.permutation(len(batches))]

    def _cut(self, ascending: NDArray[np.int64]) -> list[list[int]]:
        batches: list[list[int]] = [[]]
        for index in ascending.tolist():
            if batches[-1] and (len(batches[-1]) + 1) * self._seconds[index] > self._max_s:
                batches.append([])
            batches[-1].append(index)
        return batches


def pad_collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch of padded audio, for a `DataLoader`'s ``collate_fn``.

    ``audio`` is (n, n_channels, longest) float32 with zeros at the ends, ``lengths`` (n,) int64 in samples; all else
    comes as lists. Raises UsageError for tracks of different numbers of channels.
    """
    channels = {len(example["audio"]) for example in examples}
    if len(channels) > 1:
        raise UsageError(f"a batch of {sorted(channels)} channels: run the job with source.channels, or choose rows")
    lengths = torch.tensor([example["audio"].shape[1] for example in examples])
    audio = torch.zeros(len(examples), channels.pop(), int(lengths.max()))
    for into, example in zip(audio, examples, strict=True):
        into[:, : example["audio"].shape[1]] = example["audio"]
    others = {name: [example[name] for example in examples] for name in examples[0] if name != "audio"}
    return {"audio": audio, "lengths": lengths, **others}


def _known(corpus: Corpus) -> set[str]:
    fields = {column.source for column in corpus.columns if column.kind == "field"}
    return fields | {column.name for column in corpus.columns}


def _ranks(rank: int | None, n_ranks: int | None) -> tuple[int, int]:
    if rank is not None and n_ranks is not None:
        return rank, n_ranks
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _n_workers() -> int:
    worker = get_worker_info()
    return worker.num_workers if worker else 1


def _mixed(rows: Iterator[int], size: int, rng: np.random.Generator) -> Iterator[int]:
    """The rows in another order: each next one is drawn from so many that wait."""
    waiting = list(islice(rows, size))
    for row in rows:
        place = int(rng.integers(len(waiting)))
        yield waiting[place]
        waiting[place] = row
    rng.shuffle(waiting)
    yield from waiting
