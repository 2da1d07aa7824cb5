"""One row of a corpus: what the table says of it, and its audio."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from corpusdiff.errors import StoreError
from corpusdiff.store.batch import Wanted, read_one
from corpusdiff.store.columns import Column, field_from_column
from corpusdiff.store.layout import ArrayLayout

if TYPE_CHECKING:
    from corpusdiff.stages.base import Audio
    from corpusdiff.store.read import Corpus


class Item:
    """One row: what the table says of it, and its audio.

    Parameters
    ----------
    corpus : that it belongs to
    index : of its row
    output : which of the job's outputs its audio is

    >>> from corpusdiff.examples import tones
    >>> item = tones()[0]
    >>> item.id, item.status, item.sr, item.n_channels, item.n_samples
    ('high.wav', 'ok', 16000, 1, 16000)
    >>> item.audio.dtype, item.read(100, 300).shape, item.samples().dtype
    (dtype('float32'), (1, 200), dtype('int16'))
    >>> item["path"], item.fields, round(item.metrics["duration_s"], 3)
    ('high.wav', {}, 1.0)
    """

    def __init__(self, corpus: Corpus, index: int, output: str) -> None:
        self.corpus = corpus
        self.index = index
        self.output = output

    def __repr__(self) -> str:
        return f"<Item {self.index} {self.id!r} {self.status}>"

    @property
    def id(self) -> str:
        """The track's id."""
        return str(self["id"])

    @property
    def status(self) -> str:
        """``ok``, ``failed`` or ``filtered``."""
        return str(self["status"])

    @property
    def sr(self) -> int:
        """Sampling rate of the audio in Hz."""
        return int(self["sr"])

    @property
    def n_channels(self) -> int:
        """Channels of the audio."""
        return int(self["n_channels"])

    @property
    def n_samples(self) -> int:
        """Length of the audio in samples."""
        return int(self["n_samples"])

    @property
    def metrics(self) -> dict[str, float]:
        """All metrics by name, NaN where one is undefined."""
        return {column.source: self[column.name] for column in self._of_kind("metric")}

    @property
    def texts(self) -> dict[str, str]:
        """What was found in words, such as the way loudness was measured."""
        return {column.source: self[column.name] for column in self._of_kind("text")}

    @property
    def fields(self) -> dict[str, Any]:
        """The manifest's own fields under their own names, None where the manifest gave nothing."""
        return {column.source: field_from_column(self[column.name], column.type) for column in self._of_kind("field")}

    @property
    def audio(self) -> Audio:
        """All of the audio: (n_channels, n_samples) float32. Raises TrackError for a row that has none."""
        return self.read()

    def __getitem__(self, column: str) -> Any:
        return self.corpus.value(column, self.index)

    def read(self, start: int = 0, stop: int | None = None) -> Audio:
        """Samples ``start`` up to ``stop`` (the end), (n_channels, stop - start) float32.

        Of a lossless output only the chunks that hold them are read; a lossy one is decoded from its
        start. Bounds beyond the audio are cut to it, as in a slice. Raises TrackError for a row that
        has no audio, StoreError for damaged audio.
        """
        return read_one(Wanted(self, start, stop))

    def decoded(self, stream: bytes) -> Audio:
        """All samples of its stream, (n_channels, n_samples) float32. Raises TrackError for a damaged one."""
        from corpusdiff.encode import decode_stream  # on first use: it brings the codecs

        layout = self.layout
        return decode_stream(stream, layout.encoding, layout.sr, layout.n_channels, self.n_samples, self.place("delay"))

    @property
    def layout(self) -> ArrayLayout:
        """Of the array that holds the audio."""
        return self.corpus.array(self.place("array")).layout

    def samples(self) -> NDArray[Any]:
        """All of the audio as the array holds it, (n_channels, n_samples): int16, left-justified int32 or float32.

        Raises StoreError for a lossy output, and for damaged audio.
        """
        array = self.corpus.array(self.place("array"))
        if array.layout.lossy:
            raise StoreError(f"{array.layout.name} holds streams, not samples")
        offset = self.place("offset")
        return array.read(self["row"], offset, offset + self.n_samples)

    def flac(self) -> bytes | None:
        """The one FLAC stream that is all of the audio, byte for byte; None where there is no such stream.

        There is none for a track of several chunks, and for one whose end is silent: chunks leave that out.
        """
        from corpusdiff.encode import flac_samples

        array = self.corpus.array(self.place("array"))
        layout, offset = array.layout, self.place("offset")
        if layout.encoding != "flac" or offset % layout.chunk or not 0 < self.n_samples <= layout.chunk:
            return None
        data = array.raw(self["row"], offset // layout.chunk)
        return data if data is not None and flac_samples(data) == self.n_samples else None

    def stream(self) -> bytes:
        """The encoded stream of a lossy output, byte for byte. Raises StoreError for a lossless one."""
        array = self.corpus.array(self.place("array"))
        if not array.layout.lossy:
            raise StoreError(f"{array.layout.name} holds samples in chunks, not one stream per track")
        offset = self.place("offset")
        return array.read(self["row"], offset, offset + self.place("size")).tobytes()

    def place(self, key: str) -> Any:
        """``array``, ``offset``, ``size`` or ``delay`` of its output."""
        primary = self.output == self.corpus.outputs[0]
        return self[key if primary else f"{self.output}_{key}"]

    def _of_kind(self, kind: str) -> Iterator[Column]:
        return (column for column in self.corpus.columns if column.kind == kind)
