"""Decoding by libsndfile: WAV, FLAC, Ogg, MP3, AIFF, CAF, AU, SPH and their kin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile as sf

from corpusdiff.errors import TrackError
from corpusdiff.source.decoder import MAX_CLAIM, believable, check_shape, decoded_of
from corpusdiff.source.mpeg import has_mpeg_frames
from corpusdiff.stages.base import Audio

#: Subtypes of a fixed number of bytes per sample: seeking lands on the sample asked for.
_FIXED_SIZE = ("PCM_", "FLOAT", "DOUBLE", "ULAW", "ALAW")

#: Containers whose header may claim less than the file holds; libsndfile stops at the claim.
_SELF_DELIMITING = ("FLAC", "OGG", "MP3")

#: Bytes after the last sample that may be tags.
_TAGS = 1024

#: Bytes of a file without samples that a header and tags may take.
_NOTHING = 4096

#: What writers that cannot go back leave in 32-bit size fields is within this of 2**31 or 2**32.
_NEAR = 2**16

#: libsndfile's error code for a failed read or seek, SF_ERR_SYSTEM.
_SYSTEM = 2

#: Size of the reads by which a disk is tried.
_REREAD_BYTES = 1 << 20

_SHORTENED = re.compile(r"^\s*(data|SSND|Data Size)\s*: (\d+) \(should be (\d+)\)", re.MULTILINE)


#: Subtypes that decode to whole numbers. Everything else may turn out not to be a number.
_INTEGERS = ("PCM_", "ULAW", "ALAW", "ALAC", "IMA_ADPCM", "MS_ADPCM", "GSM610", "G72", "DPCM", "DWVW", "NMS_ADPCM")


class NotSndfile(Exception):
    """libsndfile does not take this file; another decoder may.

    Parameters
    ----------
    message : why
    knows : whether libsndfile knew the format, but got no sample out of it
    """

    def __init__(self, message: str, *, knows: bool = False) -> None:
        super().__init__(message)
        self.knows = knows


class _Sequential(sf.SoundFile):  # type: ignore[misc]
    """A sound file that soundfile does not seek in after every read.

    It would otherwise: needless work, an error at the end of a FLAC file that claims more than it holds,
    and, because mpg123 sums in another order after a seek, MP3 samples that depend on the blocks.
    """

    def seekable(self) -> bool:
        return False


class SndfileDecoder:
    """A file open in libsndfile.

    `unfinished` is set at the end when the file goes on after what libsndfile gave: the header claimed
    less than there is, or so much more that libsndfile stumbled over the end.

    Opening and the first block may raise NotSndfile; an absurd header raises TrackError. Whatever it does, OSError
    where the file's bytes cannot be read.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._n_bytes = os.fstat(self._fd).st_size
        try:
            self._file = _Sequential(self._fd, closefd=False)
        except (sf.LibsndfileError, ValueError) as error:
            os.close(self._fd)
            _check_disk(path, error)
            raise NotSndfile(str(error)) from error
        self.name = f"soundfile {self._file.format}/{self._file.subtype}"
        self.sr = int(self._file.samplerate)
        self.n_channels = int(self._file.channels)
        self.is_float = not self._file.subtype.startswith(_INTEGERS)
        self.unfinished = False
        try:
            self._check()
        except BaseException:
            self.close()
            raise
        self.n_claimed = self._claim()

    def blocks(self, start: int, size: int) -> Iterator[Audio]:
        """(n_channels, at most size) float32 from sample `start` to the end. Raises TrackError."""
        position = self._seek(start)
        scratch = np.empty((size, self.n_channels), np.float32)
        try:
            while True:
                # past the claim of a FLAC file libsndfile stumbles over whatever follows
                left = self._file.frames - position if self._file.format == "FLAC" else size
                x = self._read(scratch[:left])
                if x.shape[1] == 0:
                    break
                if position + x.shape[1] > start:
                    yield x[:, max(0, start - position) :]
                position += x.shape[1]
        except sf.LibsndfileError as error:
            _check_disk(self._path, error)
            message = f"{decoded_of(position, self.n_claimed)}, then: {_reason(error)}"
            if position == 0:
                raise NotSndfile(message, knows=True) from error
            # a claim beyond the end of a FLAC file is an error in libsndfile, and so is a file cut off
            if self._file.format != "FLAC" or self._unread():
                raise TrackError("decode", message) from error
            self.unfinished = True
            return
        self._end(position)

    def _end(self, position: int) -> None:
        empty = self._file.frames == 0 and self._n_bytes > _NOTHING
        if position == 0 and (self.n_claimed or empty):
            raise NotSndfile(decoded_of(0, self.n_claimed), knows=True)
        self.unfinished = self._file.format in _SELF_DELIMITING and self._unread() > _TAGS
        if self.unfinished and self._file.format == "MP3":
            self.unfinished = has_mpeg_frames(os.pread(self._fd, 2**16, self._n_bytes - self._unread()))

    def close(self) -> None:
        """Release the file."""
        self._file.close()
        os.close(self._fd)

    def _read(self, scratch: Audio) -> Audio:
        if self.n_channels == 1:
            mono: Audio = self._file.read(len(scratch), dtype="float32")
            return mono.reshape(1, -1)
        return np.ascontiguousarray(self._file.read(out=scratch).T)

    def _seek(self, start: int) -> int:
        exact = self._file.subtype.startswith(_FIXED_SIZE)
        if start == 0 or not exact:
            return 0
        target = min(start, self._file.frames)
        try:
            return int(self._file.seek(target))
        except sf.LibsndfileError as error:
            _check_disk(self._path, error)
            raise TrackError("decode", f"sample {target} cannot be reached: {_reason(error)}") from error

    def _unread(self) -> int:
        return self._n_bytes - os.lseek(self._fd, 0, os.SEEK_CUR)

    def _check(self) -> None:
        if self._file.frames >= MAX_CLAIM:
            raise NotSndfile("no length in the header")
        if self._file.format == "OGG" and self._is_chained():
            raise NotSndfile("several streams one after the other")
        check_shape(self.sr, self.n_channels)

    def _claim(self) -> int | None:
        """What the header claims, where libsndfile has already cut that to the file's size."""
        frames = int(self._file.frames)
        cut = _SHORTENED.search(self._file.extra_info)
        if cut is None:
            return believable(frames)
        own = 8 if cut[1] == "SSND" else 0
        claimed, actual = int(cut[2]) - own, int(cut[3]) - own
        if frames == 0 or min(abs(claimed - 2**31), abs(claimed - 2**32)) < _NEAR:
            return None
        # by whole bytes per sample where there are such, because the file may end inside a sample
        width = actual / frames
        return believable(int(claimed / (round(width) if width >= 1 else width)))

    def _is_chained(self) -> bool:
        # the last page of a plain file belongs to a stream that began on one of the first pages
        head = os.pread(self._fd, 4096, 0)
        tail = os.pread(self._fd, 2**16, max(0, self._n_bytes - 2**16))
        last = tail.rfind(b"OggS")
        began = {_serial(head, match.start()) for match in re.finditer(b"OggS", head)}
        return 0 <= last <= len(tail) - 27 and _serial(tail, last) not in began


def _check_disk(path: str, error: Exception) -> None:
    """Raise OSError where the disk failed. Else a damaged file had libsndfile seek to where there is nothing."""
    if not isinstance(error, sf.LibsndfileError) or error.code != _SYSTEM:
        return
    try:
        with Path(path).open("rb", buffering=0) as file:
            while file.read(_REREAD_BYTES):
                pass
    except OSError as trouble:
        raise OSError(trouble.errno, trouble.strerror, path) from error


def _reason(error: sf.LibsndfileError) -> str:
    text: str = error.error_string
    if "psf_fseek" in text:
        return "the file ends too early"
    if "internal error" in text:
        return "the decoder gave up"
    return text.removeprefix("Error : ").rstrip(".").lower()


def _serial(page: bytes, start: int) -> bytes:
    return page[start + 14 : start + 18]
