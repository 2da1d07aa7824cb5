"""Scenes for echo cancellers: who speaks when, in which room, through which loudspeaker. Made by code, fixed seeds.

The protocol, the same for every scene, at SR:

- Far end: one talker, sentences with pauses of 0.2 to 0.5 s, from the first sample to the last, SPEECH_DBFS.
- Near end: another talker, silent for the first NEAR_S seconds, then sentences with such pauses up to the end.
- Loudspeaker: nothing (``linear``), or hard clipping at a fifth to a third of the far end's peak (``clipping``).
- Room: an impulse response cut to ROOM_S, its energy one; a decaying noise with a direct sound (reverberation time
  of 0.12 to 0.4 s), or every third time a measured one of the corpora.
- Delay of 0 to 0.12 s before the room, on top of the way of the sound.
- Echo: the whole of that, scaled so that its power over the double talk equals the near end's, within 3 dB.
- Noise: pink, 36 dB under the near end.
- ``mic`` is near end + echo + noise; the canceller gets ``mic`` and ``far`` and nothing else.

Judged by `Scene.single` (ERLE: power of the echo over that of what comes out, over far-end single talk from
CONVERGED_S on) and `Scene.double` (SI-SDR and PESQ of what comes out against ``near``).

The two splits share no talker, no sentence and no room: parameters may be picked on ``dev`` and never on ``test``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.signal import fftconvolve

from quality.voices import (
    SPEECH_DBFS,
    SPLITS,
    SR,
    Mono,
    Utterance,
    corpora,
    read_audio,
    read_sentences,
    scaled,
    spoken_sentences,
)

LENGTH_S = 18.0
NEAR_S = 8.0
CONVERGED_S = 4.0
ROOM_S = 0.4
NOISE_DB = -36.0

#: What the loudspeaker does.
LOUDSPEAKERS = ("linear", "clipping")

_MEASURED_ROOMS = {"dev": "rir1", "test": "rir2"}
_DIRECT_LEAD = 32


@dataclass(frozen=True)
class Scene:
    """One call; every signal at SR and of one length.

    Parameters
    ----------
    name : talkers, room and loudspeaker
    mic : what the canceller gets: near + echo + noise
    far : what the loudspeaker was given
    near, echo : the parts of `mic`
    """

    name: str
    mic: Mono
    far: Mono
    near: Mono
    echo: Mono

    @property
    def single(self) -> slice:
        """Far-end single talk after convergence."""
        return slice(round(CONVERGED_S * SR), round(NEAR_S * SR))

    @property
    def double(self) -> slice:
        """Double talk."""
        return slice(round(NEAR_S * SR), len(self.mic))


def scenes(split: str, loudspeaker: str, n_scenes: int) -> Iterator[Scene]:
    """The first `n_scenes` of an endless list. Raises LookupError where there is no speech to make them of."""
    return (scene(split, loudspeaker, index) for index in range(n_scenes))


def scene(split: str, loudspeaker: str, index: int) -> Scene:
    """Number `index` of the split; the loudspeaker apart, scenes of one number are the same."""
    rng = np.random.default_rng([17, SPLITS.index(split), index])
    talkers = _talkers(split)
    far_name, near_name = (list(talkers)[k] for k in rng.choice(len(talkers), 2, replace=False))
    n, start = round(LENGTH_S * SR), round(NEAR_S * SR)
    far = scaled(_talk(talkers[far_name], n, rng), SPEECH_DBFS)
    near = np.concatenate([np.zeros(start), scaled(_talk(talkers[near_name], n - start, rng), SPEECH_DBFS)])
    room_name, room = _room(split, index, rng)
    delay = int(rng.uniform(0.0, 0.12) * SR)
    ratio_db, drive = rng.uniform(-3.0, 3.0), rng.uniform(0.2, 1.0 / 3.0)
    played = _clipped(far, drive) if loudspeaker == "clipping" else far
    echo = _at_ratio(delayed(fftconvolve(played, room)[:n], delay), near, start, ratio_db)
    mic = near + echo + scaled(_pink(n, rng), SPEECH_DBFS + NOISE_DB)
    name = f"{far_name} to {near_name}, {room_name}, {1000 * delay // SR} ms, {loudspeaker}"
    return Scene(name, mic, far, near, echo)


def delayed(x: Mono, n_samples: int) -> Mono:
    """`x` so much later (earlier for less than 0), of the same length, silence where there is nothing."""
    y = np.zeros_like(x)
    if n_samples >= 0:
        y[n_samples:] = x[: len(x) - n_samples]
    else:
        y[:n_samples] = x[-n_samples:]
    return y


def decaying_room(reverberation_s: float, rng: np.random.Generator) -> Mono:
    """A direct sound, and noise behind it that falls by 60 dB in `reverberation_s`; ROOM_S long, energy one."""
    n = round(ROOM_S * SR)
    late = rng.standard_normal(n) * 10.0 ** (-3.0 * np.arange(n) / SR / reverberation_s)
    late[:_DIRECT_LEAD] = 0.0
    room = late * 10.0 ** (rng.uniform(-6.0, 0.0) / 20.0) / np.sqrt(np.sum(late**2))
    room[_DIRECT_LEAD] += 1.0
    return room / np.sqrt(np.sum(room**2))


def _talkers(split: str) -> dict[str, tuple[Utterance, ...]]:
    """Sentences by talker."""
    talkers: dict[str, tuple[Utterance, ...]] = {}
    for utterance in (*read_sentences(split), *spoken_sentences(split)):
        talker = utterance.name.rsplit("_", 1)[0].rsplit("-", 1)[0]
        talkers[talker] = (*talkers.get(talker, ()), utterance)
    if len(talkers) < 2:
        raise LookupError("a call needs two talkers: neither espeak-ng nor real audio here")
    return talkers


def _talk(utterances: tuple[Utterance, ...], n: int, rng: np.random.Generator) -> Mono:
    """Sentences of one talker with pauses, `n` samples."""
    parts: list[Mono] = []
    while sum(map(len, parts)) < n:
        for k in rng.permutation(len(utterances)):
            parts += [np.zeros(int(rng.uniform(0.2, 0.5) * SR)), utterances[int(k)].audio]
    return np.concatenate(parts)[:n]


def _room(split: str, index: int, rng: np.random.Generator) -> tuple[str, Mono]:
    reverberation_s = rng.uniform(0.12, 0.4)
    folder = corpora()
    if folder is None or index % 3 != 2:
        return f"{reverberation_s:.2f} s", decaying_room(reverberation_s, rng)
    x = read_audio(folder / "rirs" / f"{_MEASURED_ROOMS[split]}.wav")
    start = max(0, int(np.argmax(np.abs(x))) - _DIRECT_LEAD)
    n = round(ROOM_S * SR)
    room = np.pad(x[start : start + n], (0, max(0, start + n - len(x)))) * np.minimum(1.0, np.linspace(2.0, 0.0, n))
    return _MEASURED_ROOMS[split], room / np.sqrt(np.sum(room**2))


def _clipped(x: Mono, drive: float) -> Mono:
    most = drive * float(np.max(np.abs(x)))
    return np.clip(x, -most, most)


def _at_ratio(echo: Mono, near: Mono, start: int, ratio_db: float) -> Mono:
    powers = np.mean(near[start:] ** 2), np.mean(echo[start:] ** 2)
    return echo * np.sqrt(powers[0] / powers[1]) * 10.0 ** (ratio_db / 20.0)


def _pink(n: int, rng: np.random.Generator) -> Mono:
    freqs = np.maximum(np.fft.rfftfreq(n, 1.0 / SR), 20.0)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(n)) / np.sqrt(freqs), n)
