"""A few tracks before and after, short enough for a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corpusdiff.dsp.resample import Resampler, downmix
from corpusdiff.encode.lossy import stream_encoder
from corpusdiff.errors import CorpusdiffError, StoreError, TrackError
from corpusdiff.isolate import Child
from corpusdiff.job import Job
from corpusdiff.manifests.base import Track, absolute_path
from corpusdiff.onetrack import OUTPUT, through
from corpusdiff.plan import Plan
from corpusdiff.shards import RunOptions
from corpusdiff.specs import SourceSpec
from corpusdiff.stages.base import Audio
from corpusdiff.store.generations import open_frozen, read_plans
from corpusdiff.store.item import Item
from corpusdiff.store.objects import Objects, open_objects
from corpusdiff.store.read import Corpus

#: Longest stretch of a track on the page, in seconds.
STRETCH_S = 10.0

#: Highest rate and most channels that are played; more is brought to these. Browsers play no more, and few can hear it.
_MAX_SR_HZ = 48_000
_MAX_CHANNELS = 2

_N_FFT = 512
_COLUMNS = 240
_RATE_KBPS = 40.0


@dataclass(frozen=True)
class Heard:
    """One signal of one track.

    Parameters
    ----------
    ogg : its sound, as Ogg Vorbis
    power_db : (n_bins, n_frames) spectrogram, uint8: 0 is 90 dB under the loudest of both signals, 255 the loudest
    level_db : (n,) level of 50 ms each, dBFS
    """

    ogg: bytes
    power_db: NDArray[np.uint8]
    level_db: NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """One track to look at and listen to.

    Parameters
    ----------
    why : it was chosen
    item : its row
    sr : rate in Hz of the spectrograms, at most 48 000
    seconds : of the stretch
    after, before : the signals; None where the source could not be read, for the reason in `problem`
    problem : why there is no `before`
    """

    why: str
    item: Item
    sr: int
    seconds: float
    after: Heard
    before: Heard | None
    problem: str


def listen(corpus: Corpus, chosen: Sequence[tuple[str, int]]) -> Iterator[Sample]:
    """The chosen rows before and after; the sources are fetched and decoded as in a run."""
    objects = open_objects(corpus.location, write=False)
    with closing(_Sources(objects, read_plans(objects))) as sources:
        for why, row in chosen:
            item = corpus.item(row)
            after = item.read(0, round(STRETCH_S * item.sr))
            if not after.shape[1]:
                continue
            before, problem = sources.stretch(item)
            sr = min(item.sr, _MAX_SR_HZ)
            after = _playable(after, item.sr)
            before = None if before is None else _playable(before, item.sr)
            top = max(_top(after), _top(before) if before is not None else 0.0)
            yield Sample(
                why, item, sr, after.shape[1] / sr, _heard(after, sr, top),
                None if before is None else _heard(before, sr, top), problem,
            )  # fmt: skip


class _Sources:
    """Reads the sources of rows, through a child process of its own.

    Parameters
    ----------
    objects : of the corpus
    plans : of all its generations
    """

    def __init__(self, objects: Objects, plans: Sequence[Plan]) -> None:
        self._objects = objects
        self._plans = plans
        self._child = Child(RunOptions())
        self._unreachable: dict[str, str] = {}  # what is wrong with a host that was asked in vain: not asked again

    def close(self) -> None:
        """End the child."""
        self._child.close()

    def stretch(self, item: Item) -> tuple[Audio | None, str]:
        """What became the first `STRETCH_S` of a row, at the output's rate and channels; or why there is none."""
        host = ""
        try:
            plan, track = _track_of(self._objects, self._plans, item)
            host = absolute_path(track.path, plan.root).partition("://")[2].partition("/")[0]
            if host in self._unreachable:
                return None, self._unreachable[host]
            start = float(item["start_s"])
            wanted = replace(track, offset_s=start, duration_s=min(STRETCH_S, item.n_samples / item.sr))
            job = Job("before", source=SourceSpec(sr=item.sr, channels=item.n_channels), outputs=(OUTPUT,))
            _, audio = through(self._child, job.to_dict(), plan.root, wanted, None)
        except (CorpusdiffError, OSError) as error:
            problem = f"The source cannot be read any more: {error}"
            if host and not isinstance(error, TrackError):
                self._unreachable[host] = problem
            return None, problem
        return audio, ""


def _track_of(objects: Objects, plans: Sequence[Plan], item: Item) -> tuple[Plan, Track]:
    """The plan and the manifest's row of a row of the corpus. Raises StoreError."""
    wanted = item["parent"] or item.id
    layout = item.layout
    plan = plans[layout.generation]
    pieces = plan.shard(int(item["row"]) % plan.n_shards).pieces
    with open_frozen(objects, plan) as frozen:
        for track in frozen.rows(pieces[0].track, pieces[-1].track + 1):
            if track.id == wanted:
                return plan, track
    raise StoreError(f"{wanted}: not in the manifest of its shard")


def _playable(audio: Audio, sr: int) -> Audio:
    if len(audio) > _MAX_CHANNELS:
        audio = downmix(audio, _MAX_CHANNELS)
    resampler = Resampler(sr, min(sr, _MAX_SR_HZ), len(audio))
    return np.concatenate([resampler.process(audio), resampler.flush()], axis=1)


def _heard(audio: Audio, sr: int, top: float) -> Heard:
    encoder = stream_encoder("vorbis", sr, len(audio), _RATE_KBPS * len(audio))
    encoder.write(audio)
    mono = audio.mean(axis=0)
    return Heard(encoder.close(), _spectrogram(mono, top), _levels(mono, sr))


def _frames(mono: NDArray[np.float32]) -> NDArray[np.float64]:
    """(n_frames, n_bins) power of at most so many frames as the page has columns."""
    padded = np.pad(mono, (0, max(0, _N_FFT - len(mono))))
    starts = np.linspace(0, len(padded) - _N_FFT, min(_COLUMNS, 1 + (len(padded) - _N_FFT) // 64)).astype(int)
    frames = padded[starts[:, None] + np.arange(_N_FFT)] * np.hanning(_N_FFT)
    return np.abs(np.fft.rfft(frames)) ** 2


def _top(audio: Audio) -> float:
    return float(_frames(audio.mean(axis=0)).max())


def _spectrogram(mono: NDArray[np.float32], top: float) -> NDArray[np.uint8]:
    power_db = 10 * np.log10(np.maximum(_frames(mono) / max(top, 1e-20), 1e-9))
    return np.round((power_db.T + 90) * (255 / 90)).astype(np.uint8)


def _levels(mono: NDArray[np.float32], sr: int) -> NDArray[np.float64]:
    hop = max(1, sr // 20)
    n = max(1, len(mono) // hop)
    power = np.square(np.resize(mono, n * hop).astype(np.float64)).reshape(n, hop).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 1e-10))
