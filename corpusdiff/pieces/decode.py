"""A stretch of a track, decoded and at the job's rate, with the samples that it has in the whole, within 1e-6.

The resampler goes on in phase where it begins at a multiple of the ratio's period, and forgets within `LEAD` samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import gcd

from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.finish import TrackContext
from corpusdiff.manifests.base import Track
from corpusdiff.pieces.share import Stretch
from corpusdiff.stages.base import Audio

#: Samples, at the lower of the two rates, after which the resampler has forgotten what was before.
LEAD = 1024


@dataclass(frozen=True)
class Cut:
    """A track that is processed in pieces.

    Parameters
    ----------
    track, context : as for `corpusdiff.track.process_track`
    sr_in, n_heard : rate in Hz and channels of the file
    sr, n_channels : of the job
    n_claimed : samples per channel, at the file's rate, that the header claims of the track
    """

    track: Track
    context: TrackContext
    sr_in: int
    n_heard: int
    sr: int
    n_channels: int
    n_claimed: int

    @property
    def _ratio(self) -> tuple[int, int]:
        """So many samples of the file are so many of the job."""
        divisor = gcd(self.sr_in, self.sr)
        return self.sr_in // divisor, self.sr // divisor

    def pieces(self, length: int) -> list[Stretch]:
        """Pieces of `length` samples at the job's rate; the last, up to the end, of at least half of it."""
        there, here = self._ratio
        n = self.n_claimed * here // there
        starts = [*range(0, max(1, n - length // 2), length)]
        return [Stretch(start, stop) for start, stop in zip(starts, [*starts[1:], None], strict=True)]

    def at_source(self, piece: Stretch) -> Stretch:
        """The same piece at the file's rate; consecutive ones stay so."""
        there, here = self._ratio
        return Stretch(piece.start * there // here, None if piece.stop is None else piece.stop * there // here)

    def decoded(self, stretch: Stretch) -> Iterator[tuple[int, Audio]]:
        """Places and blocks (n_heard, n) float32 of a stretch at the file's rate. Raises TrackError."""
        first = round(self.track.offset_s * self.sr_in)
        stop = self.n_claimed if self.track.duration_s is not None else stretch.stop
        if stretch.stop is not None and stop is not None:
            stop = min(stop, stretch.stop)
        duration_s = None if stop is None else (stop - stretch.start) / self.sr_in
        part = replace(self.track, offset_s=(first + stretch.start) / self.sr_in, duration_s=duration_s)
        at = stretch.start
        with self.context.open(part) as reader:
            for x in reader.blocks():
                yield at, x
                at += x.shape[1]

    def at_job(self, stretch: Stretch) -> Iterator[tuple[int, Audio]]:
        """Places and blocks (n_channels, n) float32 of a stretch at the job's rate. Raises TrackError."""
        there, here = self._ratio
        lead = 0 if there == here else -(-LEAD // min(there, here))
        first = max(0, stretch.start // here - lead)
        heard = Stretch(first * there, None if stretch.stop is None else (-(-stretch.stop // here) + lead) * there)
        resampler = Resampler(self.sr_in, self.sr, self.n_channels)
        at = first * here
        for _, x in self.decoded(heard):
            y = resampler.process(downmix(x, self.n_channels))
            yield from _kept(stretch, at, y)
            at += y.shape[1]
        yield from _kept(stretch, at, resampler.flush())


def _kept(stretch: Stretch, at: int, y: Audio) -> Iterator[tuple[int, Audio]]:
    kept = stretch.of(y, at)
    if kept.shape[1]:
        yield max(at, stretch.start), kept
