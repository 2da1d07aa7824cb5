"""Tracks by index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from corpusdiff.errors import UsageError
from corpusdiff.selection import select
from corpusdiff.store.columns import field_from_column
from corpusdiff.store.item import Item
from corpusdiff.store.read import Corpus

if TYPE_CHECKING:
    from corpusdiff.training.batches import LengthBatches
    from corpusdiff.training.stream import CorpusStream

#: What a dataset gives of each track.
Example = dict[str, Any]


class CorpusDataset(Dataset[Example]):
    """Tracks by index.

    Each is a dict with ``audio`` ((n_channels, n_samples) float32 tensor, full scale 1.0), ``sr`` in Hz, ``id``,
    ``index`` (the row of the corpus), and the columns that were asked for. A `DataLoader` has a whole batch read at
    once, by as few requests as the tracks' places allow. Eight bytes for each track stay in memory.

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

    >>> from corpusdiff.examples import tones
    >>> dataset = CorpusDataset(tones(), crop_s=0.5)
    >>> len(dataset), dataset[0]["id"], dataset[0]["audio"].shape
    (3, 'high.wav', torch.Size([1, 8000]))
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
        names = {column.name: column for column in corpus.columns}
        known = names | {column.source: column for column in corpus.columns if column.kind == "field"}
        unknown = sorted(set(columns) - set(known))
        if unknown:
            raise UsageError(f"no column {', '.join(unknown)}: there are {', '.join(sorted(known))}")
        self._output = output
        self._columns = {name: known[name] for name in columns}
        self._crop_s = crop_s
        self._seed = seed
        self._epoch = SharedNumber()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Example:
        return self.examples([int(self.rows[index])])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Example]:
        """A batch; PyTorch looks for this."""
        return self.examples(self.rows[list(indices)].tolist())

    def set_epoch(self, epoch: int) -> None:
        """Let crops fall elsewhere than in the epoch before."""
        self._epoch.set(epoch)

    def lengths(self) -> NDArray[np.int64]:
        """Samples of each track, (len(self),), crops not looked at."""
        return self.corpus.column("n_samples")[self.rows]

    def stream(self, **options: Any) -> CorpusStream:
        """The tracks as a stream; options as in `CorpusStream`."""
        from corpusdiff.training.stream import CorpusStream

        return CorpusStream(self, **options)

    def batches(self, max_s: float, **options: Any) -> LengthBatches:
        """Batches of like length; options as in `LengthBatches`."""
        from corpusdiff.training.batches import LengthBatches

        return LengthBatches(self, max_s, **options)

    def examples(self, rows: Sequence[int]) -> list[Example]:
        """The tracks of these rows of the corpus."""
        items = [self.corpus.item(row, self._output) for row in rows]
        audio = self.corpus.read(rows, map(self._stretch, items), output=self._output)
        return [self._example(item, x) for item, x in zip(items, audio, strict=True)]

    def _example(self, item: Item, audio: NDArray[np.float32]) -> Example:
        found: Example = {
            "audio": torch.from_numpy(np.ascontiguousarray(audio)), "sr": item.sr, "id": item.id, "index": item.index,
        }  # fmt: skip
        for name, column in self._columns.items():
            value = item[column.name]
            found[name] = field_from_column(value, column.type) if column.kind == "field" else value
        return found

    def _stretch(self, item: Item) -> tuple[int, int]:
        n_samples = item.n_samples
        wanted = n_samples if self._crop_s is None else max(1, round(self._crop_s * item.sr))
        if wanted >= n_samples:
            return 0, n_samples
        rng = np.random.default_rng((self._seed, self._epoch.get(), item.index))
        start = int(rng.integers(n_samples - wanted + 1))
        return start, start + wanted


class SharedNumber:
    """A whole number that copies of it in the workers of a `DataLoader` see change."""

    def __init__(self) -> None:
        self._value = torch.zeros((), dtype=torch.int64).share_memory_()

    def set(self, value: int) -> None:
        """Change it, in all processes."""
        self._value.fill_(value)

    def get(self) -> int:
        """What was set last."""
        return int(self._value)


def ranks(rank: int | None, n_ranks: int | None) -> tuple[int, int]:
    """Rank of this process and how many there are: as given, else as `torch.distributed` says where it runs."""
    if rank is not None and n_ranks is not None:
        if not 0 <= rank < n_ranks:
            raise UsageError(f"rank {rank} of {n_ranks}: ranks are 0 to {n_ranks - 1}")
        return rank, n_ranks
    if rank is not None or n_ranks is not None:
        raise UsageError("give rank and n_ranks, or neither")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1
