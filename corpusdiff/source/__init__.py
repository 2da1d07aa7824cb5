"""From a track to samples: headers are read, never believed.

libsndfile comes first. FFmpeg's libraries take what it refuses, what it cannot decode from the first sample,
and what lies beyond a header that claims too little. The two agree on lossless formats bit for bit.
On lossy ones they differ by rounding (1e-6 of full scale), and in what they make of an encoder's delay: for MP3
with a LAME tag and for Ogg both take it out; without a tag both keep it; AAC in MP4 comes without its delay
but with the padding of its last packet (under 1024 samples). Opus is decoded at the rate that its header
names by libsndfile, at 48 kHz by FFmpeg.

A damaged file fails with how far decoding came. A file that merely ends before or after what its header
claims is decoded to its end, and `AudioReader.header_diff` tells the difference.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import TracebackType

import numpy as np

from corpusdiff.errors import TrackError
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.source.decoder import Decoder, check_shape, decoded_of
from corpusdiff.source.pyav import AvDecoder, NoDecoder
from corpusdiff.source.sndfile import NotSndfile, SndfileDecoder
from corpusdiff.source.sniff import describe
from corpusdiff.stages.base import Audio

__all__ = ["AudioReader", "Header", "open_source", "probe"]

#: Samples per channel of a decoded block.
BLOCK = 1 << 16

#: Samples of all channels together that a block may hold.
_MAX_BLOCK = 1 << 20

#: No sample of sound is larger, though its full scale be that of 32 bit integers; squares still have room.
_MOST_SAMPLE = 2.0**32

#: Samples that a byte of a file can stand for (coded silence reaches hundreds); claims beyond are made up.
_MOST_PER_BYTE = 4096


@dataclass(frozen=True)
class Header:
    """What a file says about itself.

    Parameters
    ----------
    sr : rate in Hz
    n_channels : channels
    n_samples : samples per channel, None where nothing is claimed that the file's size allows
    decoder : library, container and codec
    """

    sr: int
    n_channels: int
    n_samples: int | None
    decoder: str


def probe(path: str) -> Header:
    """Read the header of a file without decoding any of it.

    Raises
    ------
    TrackError : ``missing``, ``empty`` (no bytes) or ``unsupported``
    """
    _check_file(path)
    decoder: Decoder
    try:
        decoder = SndfileDecoder(path)
    except NotSndfile:
        decoder = _open_av(path)
        check_shape(decoder.sr, decoder.n_channels)
    try:
        claimed = decoder.n_claimed
        if claimed is not None and claimed > _MOST_PER_BYTE * Path(path).stat().st_size:
            claimed = None
        return Header(decoder.sr, decoder.n_channels, claimed, decoder.name)
    finally:
        decoder.close()


def open_source(track: Track, root: str | None = None) -> AudioReader:
    """Open a track's file (relative paths are below `root`), decode its first block, and stand ready for the rest.

    Raises
    ------
    TrackError : ``missing``, ``unsupported`` (no audio, no decoder, no such channel), ``empty`` (no samples) or
        ``decode`` (damaged before the first sample)
    """
    path = absolute_path(track.path, root)
    _check_file(path)
    try:
        return _started(track, path, SndfileDecoder(path))
    except NotSndfile as refusal:
        decoder = _second_opinion(path, refusal)
    return _started(track, path, decoder)


def _second_opinion(path: str, refusal: NotSndfile) -> AvDecoder:
    try:
        decoder = _open_av(path)
    except TrackError as error:
        if refusal.knows:
            raise TrackError("decode", str(refusal)) from error
        raise
    try:
        decoder.settle()
    except BaseException:
        decoder.close()
        raise
    return decoder


def _started(track: Track, path: str, decoder: Decoder) -> AudioReader:
    try:
        return AudioReader(track, path, decoder)
    except BaseException:
        decoder.close()
        raise


def _open_av(path: str) -> AvDecoder:
    try:
        return AvDecoder(path)
    except NoDecoder as error:
        reason, words = describe(path)
        raise TrackError(reason, f"{words} ({error})" if reason == "decode" else words) from error


def _check_file(path: str) -> None:
    if "://" in path:
        raise TrackError("unsupported", f"{path}: files behind a URL cannot be read; copy them here, or mount them")
    try:
        status = Path(path).stat()
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise TrackError("missing", f"there is no file {path!r}") from error
    except PermissionError as error:
        raise TrackError("missing", f"no permission to read {path!r}") from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise TrackError("missing", f"{path!r} is a link to itself") from error
        raise
    if not stat.S_ISREG(status.st_mode):
        raise TrackError("unsupported", f"{path!r} is not a regular file")
    if status.st_size == 0:
        raise TrackError("empty", "the file is empty (0 bytes)")
    if not os.access(path, os.R_OK):
        raise TrackError("missing", f"no permission to read {path!r}")


class AudioReader:
    """A track being decoded: only its segment, only its channel, at the file's own rate.

    Made by `open_source`; a context manager.

    Parameters
    ----------
    track : what to take
    path : the file
    decoder : the file open; the reader closes it

    Attributes
    ----------
    sr : rate in Hz, of the decoded samples
    n_channels : channels of the blocks
    header_samples : samples that the header (or the manifest, for a segment with a duration) promises of this part
    decoder : library, container and codec
    n_decoded : samples given out so far
    """

    def __init__(self, track: Track, path: str, decoder: Decoder) -> None:
        self._path = path
        self._decoder = decoder
        self._channel = track.channel
        self._n_source_channels = decoder.n_channels
        self._size = max(1024, min(BLOCK, _MAX_BLOCK // max(1, decoder.n_channels)))
        self.decoder = decoder.name
        self.sr = decoder.sr
        self.n_channels = decoder.n_channels if track.channel is None else 1
        self.n_decoded = 0
        self._start = round(track.offset_s * self.sr)
        self._stop = None if track.duration_s is None else round(track.duration_s * self.sr)
        claimed = decoder.n_claimed
        self.header_samples = None if claimed is None else max(0, claimed - self._start)
        if self._stop is not None:
            self.header_samples = self._stop
        self._check_request(track)
        self._blocks = self._begun(claimed)

    def __enter__(self) -> AudioReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        self._decoder.close()

    @property
    def header_diff(self) -> int | None:
        """Samples given out less those promised; meaningful once `blocks` is exhausted. None without a promise."""
        return None if self.header_samples is None else self.n_decoded - self.header_samples

    def blocks(self) -> Iterator[Audio]:
        """The samples from first to last, once: C-contiguous (n_channels, n) float32 blocks.

        Raises
        ------
        TrackError : ``decode``, when the file is damaged or holds values that are not numbers
        """
        for x in self._blocks:
            if self._stop is not None and self.n_decoded + x.shape[1] > self._stop:
                x = x[:, : self._stop - self.n_decoded]  # noqa: PLW2901
            if self._channel is not None:
                x = x[self._channel : self._channel + 1]  # noqa: PLW2901
            x = np.ascontiguousarray(x)  # noqa: PLW2901
            self._check_finite(x)
            self.n_decoded += x.shape[1]
            yield x
            if self.n_decoded == self._stop:
                return

    def _check_request(self, track: Track) -> None:
        if track.channel is not None and track.channel >= self._decoder.n_channels:
            raise TrackError(
                "unsupported",
                f"channel {track.channel} (counted from 0) of a file with {self._decoder.n_channels} channels",
            )
        if self._stop == 0:
            raise TrackError("empty", f"the segment of {track.duration_s} s holds no sample at {self.sr} Hz")

    def _begun(self, claimed: int | None) -> Iterator[Audio]:
        rest = self._all_blocks()
        first = next(rest, None)
        if first is None:
            if self._start:
                at = f"{self._start / self.sr:g} s"
                raise TrackError("empty", f"the segment begins at {at}, where the file has already ended")
            if claimed:
                raise TrackError("decode", decoded_of(0, claimed))
            raise TrackError("empty", "the file holds no samples")
        return chain([first], rest)

    def _all_blocks(self) -> Iterator[Audio]:
        position = self._start
        for x in self._decoder.blocks(position, self._size):
            position += x.shape[1]
            yield x
        if isinstance(self._decoder, SndfileDecoder) and self._decoder.unfinished:
            yield from self._beyond(position)

    def _beyond(self, position: int) -> Iterator[Audio]:
        """What another decoder finds where the header ends, before the file does."""
        try:
            decoder = AvDecoder(self._path)
        except NoDecoder:
            return  # what follows is no sound
        self._decoder.close()
        self._decoder = decoder
        before = (self.sr, self._n_source_channels)
        decoder.settle()
        if (decoder.sr, decoder.n_channels) != before:
            raise TrackError(
                "decode",
                f"after {position} samples comes a stream of {decoder.n_channels} channels at {decoder.sr} Hz; "
                "split the file there",
            )
        yield from decoder.blocks(position, self._size)

    def _check_finite(self, x: Audio) -> None:
        if not self._decoder.is_float or not x.size or max(x.max(), -x.min()) <= _MOST_SAMPLE:  # never so for a NaN
            return
        channel, sample = np.unravel_index(int(np.argmin(np.abs(x) <= _MOST_SAMPLE)), x.shape)
        value = x[channel, sample]
        what = "beyond all sound" if np.isfinite(value) else "no number"
        raise TrackError("decode", f"sample {self.n_decoded + int(sample)} of channel {channel} is {value:g}, {what}")
