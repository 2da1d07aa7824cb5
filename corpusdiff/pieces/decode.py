"""A stretch of a track, decoded and at the job's rate, with the samples that it has in the whole, within 1e-6.

The resampler goes on in phase where it begins at a multiple of the ratio's period, and forgets within `LEAD` samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import gcd

from corpusdiff.costs import DECODE, RESAMPLE, made_in, part
from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.finish import TrackContext
from corpusdiff.manifests.base import Track
from corpusdiff.pieces.share import Stretch, union
from corpusdiff.stages.base import Audio

#: Samples, at the lower of the two rates, after which the resampler has forgotten what was before.
LEAD = 1024

#: Seconds after which the resampler begins anew.
SEGMENT_S = 60.0


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

    def decoded(self, stretch: Stretch, on_decoded: Callable[[float], None]) -> Iterator[tuple[int, Audio]]:
        """Places and blocks (n_heard, n) float32 of a stretch at the file's rate. Raises TrackError."""
        first = round(self.track.offset_s * self.sr_in)
        stop = self.n_claimed if self.track.duration_s is not None else stretch.stop
        if stretch.stop is not None and stop is not None:
            stop = min(stop, stretch.stop)
        duration_s = None if stop is None else (stop - stretch.start) / self.sr_in
        part = replace(self.track, offset_s=(first + stretch.start) / self.sr_in, duration_s=duration_s)
        at = stretch.start
        with self.context.open(part) as reader:
            for x in made_in(DECODE, reader.blocks()):
                yield at, x
                at += x.shape[1]
                on_decoded((at - stretch.start) / self.sr_in)

    def at_job(self, stretch: Stretch, on_decoded: Callable[[float], None]) -> Iterator[tuple[int, Audio]]:
        """Places and blocks (n_channels, n) float32 of a stretch at the job's rate. Raises TrackError."""
        lines = Lines(self, stretch)
        for at, x in self.decoded(lines.needs, on_decoded):
            yield from lines.push(at, x)
        yield from lines.flush()

    def segments(self, stretch: Stretch) -> list[Stretch]:
        """What the resampler is run over in one go, as far as a stretch needs it; the last is open."""
        there, here = self._ratio
        if there == here:
            return [stretch]
        length = round(SEGMENT_S * self.sr / here) * here
        last = max(0, self.n_claimed * here // there // length - 1)
        first = min(stretch.start // length, last)
        stop = last + 1 if stretch.stop is None else min(last + 1, max(first + 1, -(-stretch.stop // length)))
        return [Stretch(k * length, None if k == last else (k + 1) * length) for k in range(first, stop)]

    def line(self, stretch: Stretch) -> Line:
        """What brings a stretch (at the job's rate) from the file's rate to the job's."""
        there, here = self._ratio
        lead = 0 if there == here else -(-LEAD // min(there, here))
        first = max(0, stretch.start // here - lead)
        stop = None if stretch.stop is None else (-(-stretch.stop // here) + lead) * there
        return Line(self, Stretch(first * there, stop), stretch, first * here)


class Lines:
    """Resamples a stretch of a track, block by block: a sample is the same whichever stretch it is asked for in.

    The resampler begins anew at planned places, every `SEGMENT_S`.

    Parameters
    ----------
    cut : the track
    stretch : what is wanted, at the job's rate

    Attributes
    ----------
    needs : what of it has to come, at the file's rate
    """

    def __init__(self, cut: Cut, stretch: Stretch) -> None:
        self._stretch = stretch
        self._lines = [(segment, cut.line(segment)) for segment in cut.segments(stretch)]
        self.needs = union([line.needs for _, line in self._lines])
        self._had: list[tuple[int, Audio]] = []

    def push(self, at: int, x: Audio) -> Iterator[tuple[int, Audio]]:
        """Place and block (n_heard, n) in; places and blocks (n_channels, n) out."""
        while self._lines:
            line = self._lines[0][1]
            yield from self._within(line.push(at, x))
            if line.needs.stop is None or at + x.shape[1] < line.needs.stop:
                break
            yield from self._within(line.flush())
            del self._lines[0]
            for place, earlier in self._had:  # the next one needs some of it too
                if self._lines:
                    yield from self._within(self._lines[0][1].push(place, earlier))
        self._had.append((at, x))
        first = self._lines[1][1].needs.start if len(self._lines) > 1 else at
        self._had = [(place, earlier) for place, earlier in self._had if place + earlier.shape[1] > first]

    def flush(self) -> Iterator[tuple[int, Audio]]:
        """The rest. Nothing may come afterwards."""
        for _, line in self._lines[:1]:
            yield from self._within(line.flush())

    def _within(self, made: Iterator[tuple[int, Audio]]) -> Iterator[tuple[int, Audio]]:
        for at, y in made:
            kept = self._stretch.of(y, at)
            if kept.shape[1]:
                yield max(at, self._stretch.start), kept


class Line:
    """Resamples a stretch of a track, block by block.

    Parameters
    ----------
    cut : the track
    needs : what of it has to come, at the file's rate
    stretch : what is wanted, at the job's rate
    at : place, at the job's rate, of the first sample that is needed
    """

    def __init__(self, cut: Cut, needs: Stretch, stretch: Stretch, at: int) -> None:
        self.needs = needs
        self._stretch = stretch
        self._n_channels = cut.n_channels
        self._resampler = Resampler(cut.sr_in, cut.sr, cut.n_channels)
        self._at = at

    def push(self, at: int, x: Audio) -> Iterator[tuple[int, Audio]]:
        """Place and block (n_heard, n) in; places and blocks (n_channels, n) out."""
        needed = self.needs.of(x, at)
        if needed.shape[1]:
            with part(RESAMPLE):
                y = self._resampler.process(downmix(needed, self._n_channels))
            yield from self._kept(y)

    def flush(self) -> Iterator[tuple[int, Audio]]:
        """The rest. Nothing may come afterwards."""
        yield from self._kept(self._resampler.flush())

    def _kept(self, y: Audio) -> Iterator[tuple[int, Audio]]:
        kept = self._stretch.of(y, self._at)
        at = max(self._at, self._stretch.start)
        self._at += y.shape[1]
        if kept.shape[1]:
            yield at, kept
