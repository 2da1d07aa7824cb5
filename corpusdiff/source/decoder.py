"""What a decoder of this package offers, and what no decoder may claim."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from corpusdiff.errors import TrackError
from corpusdiff.stages.base import Audio

#: Rates in Hz that are believed. The upper one is DSD's after its decoder.
MIN_SR, MAX_SR = 1000, 6_000_000

#: More channels than any recording has; a header that claims more is damaged.
MAX_CHANNELS = 256

#: Sample counts from here on stand for "unknown" or are made up.
MAX_CLAIM = 2**48


class Decoder(Protocol):
    """One open file.

    Parameters
    ----------
    name : library and codec, for messages and records
    sr, n_channels : of every block
    n_claimed : samples per channel that the header claims, None where it claims nothing
    is_float : whether the samples may be other than numbers
    """

    name: str
    sr: int
    n_channels: int
    is_float: bool

    @property
    def n_claimed(self) -> int | None:
        """See above."""
        ...

    def blocks(self, start: int, size: int) -> Iterator[Audio]:
        """(n_channels, at most size) float32 from sample `start` to the end. Raises TrackError."""
        ...

    def close(self) -> None:
        """Release the file."""
        ...


def check_shape(sr: int, n_channels: int) -> None:
    """Raise TrackError (``unsupported``) for a rate or a number of channels that no recording has."""
    if not MIN_SR <= sr <= MAX_SR:
        raise TrackError("unsupported", f"the header claims a rate of {sr} Hz; expected {MIN_SR} to {MAX_SR}")
    if not 1 <= n_channels <= MAX_CHANNELS:
        raise TrackError("unsupported", f"the header claims {n_channels} channels; expected 1 to {MAX_CHANNELS}")


def believable(n_claimed: int | None) -> int | None:
    """A claimed number of samples, or None when it cannot be one."""
    return n_claimed if n_claimed is not None and 0 <= n_claimed < MAX_CLAIM else None


def decoded_of(n_decoded: int, n_claimed: int | None) -> str:
    """How far decoding came, for messages.

    >>> decoded_of(0, 100), decoded_of(7, 100), decoded_of(7, None)
    ('header claims 100 samples, decoded 0', 'decoded 7 of 100 claimed samples', 'decoded 7 samples')
    """
    if n_claimed is None:
        return f"decoded {n_decoded} samples"
    if n_decoded == 0:
        return f"header claims {n_claimed} samples, decoded 0"
    return f"decoded {n_decoded} of {n_claimed} claimed samples"
