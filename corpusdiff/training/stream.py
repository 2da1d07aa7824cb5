"""Tracks as a stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from corpusdiff.training.dataset import CorpusDataset, Example, SharedNumber, ranks

#: Tracks that are read together; of an object store the next ones while these are used.
_AT_ONCE = 32

#: Pieces of the corpus for each rank at least: few large shards would mix too little.
_PIECES = 64


class CorpusStream(IterableDataset[Example]):
    """Tracks as a stream: shards in a random order, their tracks mixed by a buffer.

    Over all workers and ranks each track comes once an epoch. Where the number of tracks cannot be divided by that of
    ranks, some give one track more than others; with `drop_uneven` none does, and the last few of this epoch's order
    come in no rank. All ranks need the same seed, epoch and dataset; they may have different numbers of workers.

    Parameters
    ----------
    dataset : what to give
    shuffle : False for the order of the corpus
    buffer : tracks among which the next one is drawn; their numbers wait, not their audio
    seed : of the order
    rank, n_ranks : of this process; taken from `torch.distributed` where it runs, unless given
    drop_uneven : give equally many tracks in all ranks, as collective operations need it

    >>> from torch.utils.data import DataLoader
    >>> from corpusdiff.examples import tones
    >>> stream = tones().torch().stream(buffer=100)
    >>> stream.set_epoch(1)
    >>> sorted(example["id"] for example in DataLoader(stream, batch_size=None))
    ['high.wav', 'low.wav', 'middle.wav']
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
        drop_uneven: bool = False,
    ) -> None:
        self.dataset = dataset
        self._shuffle = shuffle
        self._buffer = max(1, buffer)
        self._seed = seed
        self._epoch = SharedNumber()
        self._rank, self._n_ranks = ranks(rank, n_ranks)
        self._drop_uneven = drop_uneven

    def set_epoch(self, epoch: int) -> None:
        """Let the order be another one than in the epoch before; call it before each epoch."""
        self._epoch.set(epoch)
        self.dataset.set_epoch(epoch)

    def __iter__(self) -> Iterator[Example]:
        worker = get_worker_info()
        n_workers, own = (worker.num_workers, worker.id) if worker else (1, 0)
        order = self._order()
        n = len(order) - len(order) % self._n_ranks if self._drop_uneven else len(order)
        of_rank = _share(order[:n], self._rank, self._n_ranks)
        rows: Iterator[int] = iter(_share(of_rank, own, n_workers).tolist())
        if self._shuffle:
            rng = np.random.default_rng((self._seed, self._epoch.get(), self._rank, own))
            rows = _mixed(rows, self._buffer, rng)
        groups = iter(lambda: list(islice(rows, _AT_ONCE)), [])
        if self.dataset.corpus.remote:
            return _ahead(self.dataset, groups)
        return chain.from_iterable(map(self.dataset.examples, groups))

    def _order(self) -> NDArray[np.int64]:
        """Rows of all ranks: pieces whose audio lies together, in this epoch's order."""
        corpus, rows = self.dataset.corpus, self.dataset.rows
        if not self._shuffle:
            return rows
        shards = np.split(rows, np.flatnonzero(np.diff(corpus.column("row")[rows])) + 1)
        most = max(1, len(rows) // (_PIECES * self._n_ranks))
        pieces = [piece for shard in shards for piece in np.split(shard, range(most, len(shard), most))]
        order = np.random.default_rng((self._seed, self._epoch.get())).permutation(len(pieces))
        return np.concatenate([pieces[number] for number in order])


def _share(rows: NDArray[np.int64], part: int, n_parts: int) -> NDArray[np.int64]:
    """A stretch of the rows; all parts' differ by one row at most."""
    return rows[part * len(rows) // n_parts : (part + 1) * len(rows) // n_parts]


def _mixed(rows: Iterator[int], size: int, rng: np.random.Generator) -> Iterator[int]:
    """The rows in another order: each next one is drawn from so many that wait."""
    waiting = list(islice(rows, size))
    for row in rows:
        place = int(rng.integers(len(waiting)))
        yield waiting[place]
        waiting[place] = row
    rng.shuffle(waiting)
    yield from waiting


def _ahead(dataset: CorpusDataset, groups: Iterator[list[int]]) -> Iterator[Example]:
    """Examples of the groups; the next one is on its way while one is used."""
    with ThreadPoolExecutor(1) as pool:
        waiting: deque[Future[list[Example]]] = deque()
        for group in groups:
            waiting.append(pool.submit(dataset.examples, group))
            if len(waiting) > 1:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
