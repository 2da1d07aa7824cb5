"""Where the speech is, found while a recording is decoded.

A frame of 20 ms is speech when WebRTC's detector (Gaussian mixtures over six bands, by Google) takes it for speech and
it stands out of the running noise floor (`corpusdiff.dsp.activity`): the detector alone takes much steady noise for
speech, the level alone every noise that is not steady. Frames become utterances by hysteresis, pauses that are too
short are bridged, what is too long is cut where it is least like speech. No more is kept than the frames of the
utterance at hand.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.activity import activity_law, activity_step, initial_activity
from corpusdiff.dsp.blocks import Blocks
from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.specs import VadSpec
from corpusdiff.stages.base import Audio
from corpusdiff.units import power_to_db

#: Length of a frame in seconds: the detector takes 10, 20 or 30 ms.
FRAME_S = 0.02

#: Rates that the detector is fed with; what has another one is resampled.
_RATES_HZ = (8000, 16000)

#: The level is the mean in dB of so many bands in which speech is strong, and speech is so far over its floor.
_BANDS_HZ = (150.0, 4000.0)
_N_BANDS = 8
_OVER_DB = 3.0

#: The detector was made for telephones and hears nothing below a level: what is softer is raised until its loudest
#: frame (which falls by 0.5 dB a second) has -20 dBFS, by 50 dB at the most.
_LOUD_POWER = 10**-2.0
_LEAST_POWER = 10**-7.0
_LOUDEST_FALL = 10 ** (-0.05 * FRAME_S)

#: Frames of speech among the last so many that begin an utterance, and at most so many among the last that end it.
_BEGIN, _BEGIN_OF = 4, 6
_END, _END_OF = 1, 8

#: Utterances are cut at the lowest level, averaged over so many frames.
_CUT_FRAMES = 5

#: Frames that are classified together.
_BATCH = 64


class Frame(NamedTuple):
    """What is known of 20 ms.

    Parameters
    ----------
    is_speech : by the detector and by the level
    level_db : see `_levels_db`
    """

    is_speech: bool
    level_db: float


def speech_spans(blocks: Iterable[Audio], sr: int, spec: VadSpec) -> list[tuple[int, int]]:
    """First sample and the one after the last of every stretch of speech, rising, never overlapping.

    Parameters
    ----------
    blocks : (n_channels, n) float32, the recording from its start; any cut gives the same spans
    sr : rate in Hz
    spec : what to look for

    Returns
    -------
    Samples at `sr`; empty where there is no speech. Mode ``trim`` gives one at the most.
    """
    counter = _Counter(blocks)
    per_frame = FRAME_S * sr
    max_frames = None if spec.mode == "trim" else _limit_s(spec) / FRAME_S
    utterances = _Utterances(spec.min_s / FRAME_S, max_frames, spec.min_silence_s / FRAME_S)
    found = [*utterances.of(_frames(counter, sr, spec.aggressiveness))]
    if spec.mode == "trim" and found:
        found = [(found[0][0], found[-1][1])]
    spans = [(round(start * per_frame), min(round(stop * per_frame), counter.n)) for start, stop in found]
    longest = counter.n if spec.mode == "trim" else round(spec.max_s * sr)
    return _padded(spans, round(spec.padding_s * sr), longest, counter.n)


def _limit_s(spec: VadSpec) -> float:
    """Longest utterance without padding: with it, `max_s` is kept."""
    return max(spec.max_s - 2 * spec.padding_s, spec.max_s / 2)


class _Counter:
    """Blocks that count their samples."""

    def __init__(self, blocks: Iterable[Audio]) -> None:
        self._blocks = blocks
        self.n = 0

    def __iter__(self) -> Iterator[Audio]:
        for x in self._blocks:
            self.n += x.shape[1]
            yield x


def _frames(blocks: Iterable[Audio], sr: int, aggressiveness: int) -> Iterator[Frame]:
    """All whole frames."""
    from webrtcvad import Vad

    rate = sr if sr in _RATES_HZ else _RATES_HZ[sr > _RATES_HZ[0]]
    n = round(FRAME_S * rate)
    detector, law, state = (
        Vad(aggressiveness),
        activity_law(FRAME_S, over_db=_OVER_DB, onset_s=0.0, hangover_s=0.0),
        initial_activity(),
    )
    edges = np.unique(np.round(np.geomspace(*_BANDS_HZ, _N_BANDS + 1) * FRAME_S).astype(int))
    loudest = _LEAST_POWER
    for x in _batches(blocks, sr, rate, n):
        frames = x.reshape(-1, n)
        powers = np.square(frames, dtype=np.float64).mean(axis=1)
        for frame, power, level_db in zip(frames, powers.tolist(), _levels_db(frames, edges).tolist(), strict=True):
            stands_out = activity_step(level_db, state, law)
            loudest = max(power, loudest * _LOUDEST_FALL, _LEAST_POWER)
            raised = frame * np.float32(32768.0 * max(1.0, math.sqrt(_LOUD_POWER / loudest)))
            pcm = np.clip(np.round(raised), -32768, 32767).astype("<i2").tobytes()
            is_speech = detector.is_speech(pcm, rate)  # it learns from every frame: always ask
            yield Frame(stands_out and is_speech, level_db)


def _levels_db(frames: NDArray[np.float32], edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n_frames,): mean of the bands' levels in dB, so that noise in one band does not hide speech in the others."""
    import scipy.fft

    n = frames.shape[1]
    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / n)).astype(np.float32)
    power = np.square(np.abs(scipy.fft.rfft(frames * window, axis=-1))) / np.float32(np.square(window).sum() * n / 2)
    bands = np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
    return power_to_db(bands).astype(np.float64).mean(axis=1)


def _batches(blocks: Iterable[Audio], sr: int, rate: int, n: int) -> Iterator[NDArray[np.float32]]:
    """One channel at the detector's rate, whole frames of `n` samples."""
    resampler = Resampler(sr, rate, 1)
    batches = Blocks(1, _BATCH * n)
    for x in blocks:
        for batch in batches.push(resampler.process(downmix(x, 1))):
            yield batch[0]
    for batch in batches.push(resampler.flush()):
        yield batch[0]
    rest = batches.rest()[0]
    yield rest[: len(rest) // n * n]


class _Utterances:
    """From frames to utterances.

    Parameters
    ----------
    shortest, longest : in frames; None: of any length
    bridged : pauses of fewer frames are none
    """

    def __init__(self, shortest: float, longest: float | None, bridged: float) -> None:
        self._shortest = max(1, math.ceil(shortest))
        self._longest = None if longest is None else math.floor(longest)
        self._bridged = bridged
        self._recent: deque[bool] = deque(maxlen=max(_BEGIN_OF, _END_OF))
        self._levels_db: list[float] = []  # of the utterance at hand, or of the last frames that may begin one
        self._is_on = False
        self._start: int | None = None
        self._stop = 0

    def of(self, frames: Iterable[Frame]) -> Iterator[tuple[int, int]]:
        """First frame of each, and the one after its last."""
        for i, frame in enumerate(frames):
            self._recent.append(frame.is_speech)
            self._keep(frame.level_db)
            yield from self._heard(i)
        yield from self._ended()

    def _keep(self, level_db: float) -> None:
        if self._longest is not None:
            self._levels_db.append(level_db)
            if self._start is None:
                del self._levels_db[:-_BEGIN_OF]

    def _heard(self, i: int) -> Iterator[tuple[int, int]]:
        """Take frame `i` in: an utterance begins, goes on, pauses or is over."""
        recent = list(self._recent)
        if self._is_on:
            self._stop = i + 1 if recent[-1] else self._stop
            self._is_on = len(recent) < _END_OF or sum(recent[-_END_OF:]) > _END
        elif sum(recent[-_BEGIN_OF:]) >= _BEGIN:
            newest = recent[-_BEGIN_OF:]
            first = i + 1 - len(newest) + newest.index(True)
            if self._start is not None and first - self._stop >= self._bridged:
                yield from self._ended()
            self._start = first if self._start is None else self._start
            self._stop = i + 1
            self._is_on = True
        elif self._start is not None and i + 1 - self._stop >= self._bridged + _BEGIN_OF:
            yield from self._ended()
        if self._longest is not None and self._start is not None:
            while self._stop - self._start >= self._longest + self._shortest:
                yield self._cut()

    def _ended(self) -> Iterator[tuple[int, int]]:
        """The utterance at hand, in two where it is too long."""
        if self._start is None:
            return
        if self._longest is not None and self._stop - self._start > self._longest:
            yield self._cut()
        if self._stop - self._start >= self._shortest:
            yield self._start, self._stop
        self._start = None
        del self._levels_db[:-_BEGIN_OF]

    def _cut(self) -> tuple[int, int]:
        """Take the first part off the utterance at hand: up to its quietest place between a half and all of `longest`.

        Both parts are at least `shortest`.
        """
        assert self._start is not None
        assert self._longest is not None
        length = self._stop - self._start
        last = min(self._longest, length - self._shortest)
        first = min(max(self._longest // 2, length - self._longest, self._shortest), last)
        start = self._start
        window = np.array(self._levels_db[first : last + 1])
        smooth = np.convolve(np.pad(window, _CUT_FRAMES // 2, mode="edge"), np.ones(_CUT_FRAMES) / _CUT_FRAMES, "valid")
        cut = first + int(smooth.argmin())
        self._start = start + cut
        del self._levels_db[:cut]
        return start, self._start


def _padded(spans: list[tuple[int, int]], padding: int, longest: int, n: int) -> list[tuple[int, int]]:
    """Grow spans by `padding` at both ends, up to `longest`, to the middle of the gap at most, and within [0, n)."""
    bounds = [0, *((a[1] + b[0]) // 2 for a, b in pairwise(spans)), n]
    padded = []
    for (start, stop), low, high in zip(spans, bounds, bounds[1:], strict=False):
        room = max(0, min(padding, (longest - (stop - start)) // 2))
        padded.append((max(start - room, low), min(stop + room, high)))
    return padded
