"""Change of sampling rate and of the number of channels."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray


class Resampler:
    """Streaming resampler (soxr, high quality): the samples do not depend on the blocks.

    The whole output of n samples is ``round(n * sr_out / sr_in)`` long and aligned with the input: soxr's
    own delay is taken out. Equal rates pass the blocks through untouched.

    Parameters
    ----------
    sr_in, sr_out : rates in Hz; a source that is played 1.1 times as fast has 1.1 times its rate
    n_channels : channels of every block
    """

    def __init__(self, sr_in: float, sr_out: int, n_channels: int) -> None:
        self._n_channels = n_channels
        self._stream = None
        if sr_in != sr_out:
            self._stream = soxr.ResampleStream(sr_in, sr_out, n_channels, dtype="float32", quality="HQ")

    def process(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """(n_channels, n) float32 in; (n_channels, any number) out, C-contiguous."""
        if self._stream is None:
            return x
        return self._resample(x, last=False)

    def flush(self) -> NDArray[np.float32]:
        """The rest of the output. Nothing may be processed afterwards."""
        nothing = np.zeros((self._n_channels, 0), np.float32)
        if self._stream is None:
            return nothing
        return self._resample(nothing, last=True)

    def _resample(self, x: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        assert self._stream is not None
        y = self._stream.resample_chunk(np.ascontiguousarray(x.T), last=last)
        return np.ascontiguousarray(y.reshape(-1, self._n_channels).T)


def downmix(x: NDArray[np.float32], n_channels: int) -> NDArray[np.float32]:
    """`x` with another number of channels.

    To one channel: the mean of all (for stereo ``0.5 * (left + right)``). From one channel: copies of it.
    From more to two: even channels to the left, odd ones to the right, each the mean of its own. Anything
    else keeps the first `n_channels`, or is refused when there are fewer.

    Parameters
    ----------
    x : (n_in, n_samples) float32
    n_channels : 1 or more

    Returns
    -------
    (n_channels, n_samples) float32; `x` itself when it has that many already

    Raises
    ------
    ValueError : when channels would have to be made up
    """
    n_in = x.shape[0]
    if n_in == n_channels:
        return x
    if n_channels == 1:
        return _mean(x)
    if n_in == 1:
        return np.repeat(x, n_channels, axis=0)
    if n_channels == 2:
        return np.concatenate([_mean(x[0::2]), _mean(x[1::2])])
    if n_in > n_channels:
        return np.ascontiguousarray(x[:n_channels])
    raise ValueError(f"{n_in} channels cannot become {n_channels}: set source.channels to 1, 2 or at most {n_in}")


def _mean(x: NDArray[np.float32]) -> NDArray[np.float32]:
    # a row at a time: several times faster than mean(axis=0), and the order of the sum is fixed
    if x.shape[0] == 1:
        return x
    total: NDArray[np.float32] = x[0] + x[1]
    for row in x[2:]:
        total += row
    total *= np.float32(1.0 / x.shape[0])
    return total[np.newaxis]


def segment_bounds(n_samples: int, sr: int, segment_s: float, overlap_s: float = 0.0) -> list[tuple[int, int]]:
    """Cut a recording into segments of `segment_s`, each beginning `overlap_s` before the last one's end.

    Nothing is padded: the last segment is what is left. One that would lie wholly in the overlap is left out.

    >>> segment_bounds(10, 1, 4.0), segment_bounds(10, 1, 4.0, 1.0), segment_bounds(0, 1, 4.0)
    ([(0, 4), (4, 8), (8, 10)], [(0, 4), (3, 7), (6, 10)], [])

    Parameters
    ----------
    n_samples : length of the recording
    sr : its rate in Hz
    segment_s, overlap_s : in seconds, rounded to samples

    Returns
    -------
    (start, stop) of every segment, in samples

    Raises
    ------
    ValueError : unless ``0 <= overlap < segment`` in samples
    """
    length, overlap = round(segment_s * sr), round(overlap_s * sr)
    if not 0 <= overlap < length:
        raise ValueError(
            f"segments of {segment_s} s overlapping by {overlap_s} s at {sr} Hz; "
            "expected an overlap of at least 0 and shorter than the segment"
        )
    return [
        (start, min(start + length, n_samples))
        for start in range(0, n_samples, length - overlap)
        if start == 0 or n_samples - start > overlap
    ]
