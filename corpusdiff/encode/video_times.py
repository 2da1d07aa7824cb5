"""When what a video holds is seen and heard: what must be known before its sound is replaced."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np

from corpusdiff.stages.base import Audio

#: A step in the times of a track's packets that is no rounding, in seconds: there is no sound there.
_GAP_S = Fraction(20, 1000)

#: A file may name others, on the network too: they are not opened.
LOCAL = {"protocol_whitelist": "file"}


@dataclass(frozen=True)
class SoundTimes:
    """When the samples of a video's sound are heard, which a decoder gives without a break.

    Parameters
    ----------
    first_s : time of the first sample, in seconds of the video
    gaps : stretches of the video without sound: seconds of sound before each, and its length in seconds
    """

    first_s: Fraction
    gaps: tuple[tuple[Fraction, Fraction], ...] = ()

    def at(self, sound_s: Fraction) -> Fraction:
        """Time in the video of what comes after so many seconds of sound."""
        return self.first_s + sound_s + sum(length for before, length in self.gaps if before <= sound_s)

    def placed(self, blocks: Iterable[Audio], start_s: Fraction, sr: int) -> Iterator[Audio]:
        """The blocks, which begin after `start_s` of sound, with silence where the video has none."""
        gaps = [(round((at - start_s) * sr), round(length * sr)) for at, length in self.gaps if at > start_s]
        position = 0
        for x in blocks:
            rest = x
            while gaps and gaps[0][0] < position + rest.shape[1]:
                at, length = gaps.pop(0)
                yield rest[:, : at - position]
                yield np.zeros((len(x), length), np.float32)
                rest, position = rest[:, at - position :], at
            yield rest
            position += rest.shape[1]


def sound_times(source: str) -> SoundTimes:
    """Of the audio track that a decoder takes, all of which is decoded. Raises av.FFmpegError."""
    first: Fraction | None = None
    gaps: list[tuple[Fraction, Fraction]] = []
    sound_s = end_s = Fraction(0)
    with av.open(source, options=LOCAL) as video:
        track = replaced_stream(video)
        for frame in video.decode(track):
            length = Fraction(frame.samples, frame.sample_rate)
            if frame.pts is not None and frame.time_base is not None:
                time_s = frame.pts * frame.time_base
                first = time_s - sound_s if first is None else first
                if sound_s and time_s - end_s > _GAP_S:
                    gaps.append((sound_s, time_s - end_s))
                end_s = time_s
            end_s += length
            sound_s += length
        if first is None:
            base = track.time_base
            first = Fraction(0) if track.start_time is None or base is None else track.start_time * base
    return SoundTimes(first, tuple(gaps))


def has_picture(source: str) -> bool:
    """Whether there is a video stream in a file that can be decoded; the picture of an album is none."""
    with av.open(source, options=LOCAL) as video:
        return any(not stream.disposition & stream.disposition.attached_pic for stream in video.streams.video)


def replaced_stream(video: Any) -> Any:
    """The audio track that a decoder takes, and that another one is put in the place of: the one by default."""
    return video.streams.best("audio") or video.streams.audio[0]


def timed(packets: Iterable[Any]) -> Iterator[Any]:
    """The packets that hold something, each with a time of decoding: Matroska has none for the first of reordered ones.

    Raises ValueError for a stream that has no times at all.
    """
    waiting: dict[int, list[Any]] = {}
    for packet in packets:
        held = waiting.setdefault(packet.stream.index, [])
        if not packet.size:
            if held:
                raise ValueError(f"stream {packet.stream.index} has {len(held)} packets without a time")
            continue
        held.append(packet)
        if packet.dts is None:
            continue
        for before, later in zip(reversed(held[:-1]), reversed(held[1:]), strict=True):
            before.dts = later.dts - (before.duration or 1)
        yield from held
        held.clear()
