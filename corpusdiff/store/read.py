"""Reading a corpus: items by position or id, audio by range, the table as Arrow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from corpusdiff.errors import StoreError, UsageError
from corpusdiff.store.arrays import ArrayReader
from corpusdiff.store.arrow import arrow_table
from corpusdiff.store.batch import Wanted, read_batch
from corpusdiff.store.columns import Column
from corpusdiff.store.item import Item
from corpusdiff.store.layout import ArrayLayout
from corpusdiff.store.metadata import AUDIO
from corpusdiff.store.objects import Objects, is_url, open_objects
from corpusdiff.store.places import Place
from corpusdiff.store.schema import TABLES_KEY, parse_schema
from corpusdiff.store.tracks import Tracks

if TYPE_CHECKING:
    import pyarrow as pa

    from corpusdiff.stages.base import Audio
    from corpusdiff.training import CorpusDataset


class Corpus:
    """A finished corpus. ``len(corpus)`` is its number of rows, ``corpus[i]`` an ``Item``.

    Nothing but the table's description is read on opening. A column is read a chunk at a time when it
    is first asked for. May be pickled, and read from several threads.

    Parameters
    ----------
    out : the corpus folder, or its URL

    Raises StoreError where there is no corpus, or none that is finished.

    >>> from corpusdiff.examples import tones
    >>> corpus = tones()
    >>> len(corpus), corpus[0].id, corpus[-1].audio.shape, corpus.outputs
    (3, 'high.wav', (1, 24000), ('flac',))
    """

    def __init__(self, out: str) -> None:
        self._objects = open_objects(out, write=False)
        try:
            self._schema = parse_schema(self._objects.read(TABLES_KEY))
        except FileNotFoundError as error:
            raise StoreError(_not_there(self._objects)) from error
        self._tracks = Tracks(self._objects, self._schema)
        self._array = lru_cache(None)(self._open_array)

    def __reduce__(self) -> tuple[type[Corpus], tuple[str]]:
        return Corpus, (self._objects.location,)

    def __len__(self) -> int:
        return self._schema.n_rows

    def __getitem__(self, index: int) -> Item:
        return self.item(index)

    def __iter__(self) -> Iterator[Item]:
        return (self.item(index) for index in range(len(self)))

    @property
    def location(self) -> str:
        """Absolute path or URL of the corpus."""
        return self._objects.location

    @property
    def remote(self) -> bool:
        """Whether it lies in an object store."""
        return is_url(self.location)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The table's columns, in order."""
        return self._schema.columns

    @property
    def job_digest(self) -> str:
        """sha256 (hex) of the job that made it."""
        return self._schema.jobs[-1]

    @property
    def digest(self) -> str:
        """sha256 (hex) of the table's description: another corpus, or another generation of it, has another."""
        return hashlib.sha256(self._schema.metadata()).hexdigest()

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """Names of the job's outputs, the primary one first."""
        sources = (column.source.partition("/") for column in self.columns if column.kind == "output")
        return tuple(dict.fromkeys(name for name, _, _ in sources))

    def item(self, index: int, output: str | None = None) -> Item:
        """The row at `index` (negative from the end), with the audio of `output` (the primary one).

        Raises IndexError, and KeyError for an output that the job does not have.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"row {index} of a corpus of {len(self)} rows")
        if output is not None and output not in self.outputs:
            raise KeyError(f"no output {output!r}: this corpus has {', '.join(self.outputs)}")
        return Item(self, index % len(self), output or self.outputs[0])

    def read(
        self,
        rows: Iterable[int],
        stretches: Iterable[tuple[int, int | None]] | None = None,
        *,
        output: str | None = None,
    ) -> list[Audio]:
        """Audio of several rows, in their order; of an object store much faster than one after another.

        Chunks that lie together are one request, and requests of an object store go out together. Decoding is done by
        the thread that calls, without the interpreter's lock: threads may read different rows at once.

        Parameters
        ----------
        rows : indices; each may come more than once
        stretches : ``(start, stop)`` in samples of each, as in a slice; all of it when None
        output : which of the job's outputs; None for the first

        Returns
        -------
        (n_channels, n_samples) float32 each, full scale 1.0

        Raises
        ------
        TrackError : a row that has no audio
        StoreError : damaged audio

        >>> from corpusdiff.examples import tones
        >>> [x.shape for x in tones().read([2, 0], [(0, 100), (-50, None)])]
        [(1, 100), (1, 50)]
        """
        items = [self.item(row, output) for row in rows]
        wanted = [(0, None)] * len(items) if stretches is None else stretches
        return read_batch([Wanted(item, *stretch) for item, stretch in zip(items, wanted, strict=True)])

    def by_id(self, row_id: str) -> Item:
        """The row of that id. Raises KeyError. The first call reads all ids once.

        >>> from corpusdiff.examples import tones
        >>> tones().by_id("middle.wav").index
        2
        """
        for row in self._tracks.rows_of(row_id):
            if self.value("id", row) == row_id:
                return self.item(row)
        raise KeyError(f"no row of id {row_id!r}")

    def value(self, column: str, index: int) -> Any:
        """What the table holds at one row of a column. Raises KeyError for an unknown column."""
        return self._tracks.value(column, index)

    def place(self, index: int, output: str) -> Place | None:
        """Where the audio of a row lies, None where it has none."""
        return self._tracks.place(index, "" if output == self.outputs[0] else f"{output}_")

    def chunk(self, name: str, index: int) -> NDArray[Any]:
        """One chunk of a column, (65536,), the last one with fill at its end; texts as objects."""
        return self._tracks.chunk(name, index)

    def column(self, name: str) -> NDArray[Any]:
        """A whole column, (len(corpus),); texts as objects."""
        return self._tracks.column(name)

    def table(
        self,
        columns: Sequence[str] | None = None,
        rows: NDArray[np.int64] | None = None,
        *,
        where: str | None = None,
    ) -> pa.Table:
        """The table in memory, as Arrow; manifest fields are null where the manifest gave nothing.

        Nothing but the columns that are asked for, and those that `where` names, is read.

        Parameters
        ----------
        columns : names of columns, in the order wanted; all when None
        rows : indices of rows, ascending; all when None. Only chunks that hold one of them are read
        where : only rows for which this condition holds, in the language of a job's rules

        Raises UsageError for a column that is not there, and for a condition that cannot be read.

        Other libraries take it as it is: ``tracks.to_pandas()``, ``polars.from_arrow(tracks)``,
        ``duckdb.sql("select avg(snr_db) from tracks")``.

        >>> from corpusdiff.examples import tones
        >>> table = tones().table(["id", "n_samples"], where="duration_s > 1.2")
        >>> table.to_pylist()
        [{'id': 'middle.wav', 'n_samples': 24000}]
        >>> table.to_pandas()["id"].tolist()
        ['middle.wav']
        """
        unknown = sorted(set(columns or ()) - set(self._tracks.columns))
        if unknown:
            raise UsageError(f"no column {', '.join(unknown)}: there are {', '.join(self._tracks.columns)}")
        if where is not None:
            from corpusdiff.selection import select

            rows = select(self, where) if rows is None else np.intersect1d(rows, select(self, where))
        chosen = [self._tracks.columns[name] for name in (self._tracks.columns if columns is None else columns)]
        return arrow_table(chosen, partial(self._tracks.column, rows=rows))

    def torch(self, where: str | None = None, **options: Any) -> CorpusDataset:
        """The tracks with audio as a PyTorch dataset; options as in `corpusdiff.training.CorpusDataset`.

        `corpusdiff.training` has the stream (`CorpusStream`), batches of like length (`LengthBatches`) and the
        collation (`pad_collate`) that go with it, and examples. Raises UsageError without PyTorch.
        """
        try:
            from corpusdiff.training import CorpusDataset
        except ImportError as error:
            raise UsageError("corpus.torch() needs PyTorch: pip install torch") from error
        return CorpusDataset(self, where, **options)

    def array(self, name: str) -> ArrayReader:
        """A reader of one audio array. Raises StoreError where it is missing or damaged."""
        return self._array(name)

    def _open_array(self, name: str) -> ArrayReader:
        key = f"{AUDIO}/{name}/zarr.json"
        try:
            return ArrayReader(self._objects, ArrayLayout.parse(self._objects.read(key), key))
        except FileNotFoundError as error:
            raise StoreError(f"{key}: missing; run corpusdiff verify") from error


def open(out: str) -> Corpus:  # noqa: A001  # corpusdiff.open
    """Open the finished corpus OUT, a folder or a URL. Raises StoreError where there is none.

    >>> import corpusdiff
    >>> from corpusdiff.examples import tones
    >>> corpus = corpusdiff.open(tones().location)
    >>> [item.id for item in corpus]
    ['high.wav', 'low.wav', 'middle.wav']
    """
    return Corpus(out)


def _not_there(objects: Objects) -> str:
    if objects.size("plan/0000/plan.json") is None:
        return f"{objects.location}: no corpus here: there is no plan/0000/plan.json; `corpusdiff run` makes one"
    return f"{objects.location}: the corpus is not finished; run the same command again to go on with it"
