"""Batches of tracks of like length, and their collation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Sampler

from corpusdiff.errors import UsageError
from corpusdiff.training.dataset import CorpusDataset, ranks


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

    >>> from corpusdiff.examples import tones
    >>> sorted(map(sorted, LengthBatches(tones().torch(), max_s=2.5)))
    [[0, 1], [2]]
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
        if not max_s > 0:
            raise UsageError(f"batches of {max_s} s: give more than 0")
        rates = dataset.corpus.column("sr")[dataset.rows]
        self._seconds = (dataset.lengths() / rates).astype(np.float32)
        self._max_s = max_s
        self._pool = pool
        self._seed = seed
        self._epoch = 0
        self._rank, self._n_ranks = ranks(rank, n_ranks)
        self._drop_uneven = drop_uneven
        self._made: tuple[int, NDArray[np.int64], NDArray[np.int64]] | None = None

    def set_epoch(self, epoch: int) -> None:
        """Let the order be another one than in the epoch before; call it before each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._own())

    def __iter__(self) -> Iterator[list[int]]:
        order, edges = self._batches()
        return (order[edges[number] : edges[number + 1]].tolist() for number in self._own())

    def _own(self) -> NDArray[np.int64]:
        """Which batches are this rank's."""
        _, edges = self._batches()
        mixed = np.random.default_rng((self._seed, self._epoch, 1)).permutation(len(edges) - 1)
        n = len(mixed) - len(mixed) % self._n_ranks if self._drop_uneven else len(mixed)
        return mixed[self._rank : n : self._n_ranks]

    def _batches(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tracks in order, and where in it batches begin, with the end."""
        if self._made is None or self._made[0] != self._epoch:
            order = np.random.default_rng((self._seed, self._epoch)).permutation(len(self._seconds))
            per_pool = max(1, round(self._pool * self._max_s / max(float(self._seconds.mean()), 1e-9)))
            starts = []
            for first in range(0, len(order), per_pool):
                pool = order[first : first + per_pool]
                pool[:] = pool[np.argsort(self._seconds[pool], kind="stable")]
                starts.append(first + self._cut(self._seconds[pool]))
            self._made = self._epoch, order, np.concatenate([*starts, [len(order)]])
        return self._made[1:]

    def _cut(self, ascending_s: NDArray[np.float32]) -> NDArray[np.int64]:
        """Where batches of tracks of these lengths begin."""
        starts = [0]
        for place, seconds in enumerate(ascending_s.tolist()):
            if place > starts[-1] and (place + 1 - starts[-1]) * seconds > self._max_s:
                starts.append(place)
        return np.array(starts, np.int64)


def pad_collate(examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A batch of padded audio, for a `DataLoader`'s ``collate_fn``.

    ``audio`` is (n, n_channels, longest) float32 with zeros at the ends, ``lengths`` (n,) int64 in samples; all else
    comes as lists. Raises UsageError for tracks of different numbers of channels.

    >>> from corpusdiff.examples import tones
    >>> batch = pad_collate([tones().torch()[index] for index in (0, 2)])
    >>> batch["audio"].shape, batch["lengths"], batch["id"]
    (torch.Size([2, 1, 24000]), tensor([16000, 24000]), ['high.wav', 'middle.wav'])
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
