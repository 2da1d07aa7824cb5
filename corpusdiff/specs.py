"""The tables of a job that are not stages: source, speech detection, guard, loudness, outputs."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields

from corpusdiff.errors import ParameterError
from corpusdiff.stages.checks import at_least, in_range

ENCODINGS = ("flac", "pcm", "opus", "vorbis", "mp3")

_BITS = {"flac": (16, 24), "pcm": (16, 24, 32)}

#: Bounds of the bit rate, in kbit/s; libopus takes at most so many for each channel.
_BITRATES = {"opus": (6, 512), "vorbis": (8, 500), "mp3": (8, 320)}
OPUS_KBPS_PER_CHANNEL = 256

#: Parameters that an encoding has no use for.
_IDLE = {
    "flac": ("bitrate_kbps", "complexity"),
    "pcm": ("bitrate_kbps", "complexity"),
    "opus": ("bits", "level", "dither"),
    "vorbis": ("bits", "level", "dither", "complexity"),
    "mp3": ("bits", "level", "dither", "complexity"),
}
_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


@dataclass(frozen=True)
class SourceSpec:
    """What is made of a file before anything else.

    Parameters
    ----------
    sr : rate in Hz to resample to; None keeps each file's own
    channels : 1 for mono, None keeps each file's own
    segment_s : cut into segments of so many seconds; None leaves tracks whole
    overlap_s : by how much a segment overlaps the one before, in seconds
    min_duration_s, max_duration_s : tracks outside become rows with status ``filtered``
    max_track_hours : a track that goes on for longer has failed
    speed : play so many times as fast, pitch and all; 0.9 and 1.1 are usual for recognisers
    tempo : play so many times as fast at the same pitch
    reference_channel : channel of the file, from 0, that holds the far-end signal of a call, for `echo`
    reference_field : field of the manifest that names the file with the far-end signal
    """

    sr: int | None = None
    channels: int | None = None
    segment_s: float | None = None
    overlap_s: float = 0.0
    min_duration_s: float = 0.0
    max_duration_s: float | None = None
    max_track_hours: float = 24.0
    speed: float = 1.0
    tempo: float = 1.0
    reference_channel: int | None = None
    reference_field: str | None = None

    def __post_init__(self) -> None:
        in_range("sr", self.sr, 1000, 768000, "Hz")
        in_range("channels", self.channels, 1, 64, "channels")
        in_range("segment_s", self.segment_s, 0.01, 86400, "seconds")
        in_range("max_track_hours", self.max_track_hours, 0.001, 1000, "hours")
        in_range("speed", self.speed, 0.1, 10, "times")
        in_range("tempo", self.tempo, 0.1, 10, "times")
        in_range("reference_channel", self.reference_channel, 0, 63)
        if self.reference_channel is not None and self.reference_field is not None:
            raise ParameterError("reference_field", "the reference is a channel already; give one of the two")
        at_least("overlap_s", self.overlap_s, 0)
        at_least("min_duration_s", self.min_duration_s, 0)
        if self.segment_s is None and self.overlap_s:
            raise ParameterError("overlap_s", "there are no segments to overlap; give segment_s too")
        if self.segment_s is not None and self.overlap_s >= self.segment_s:
            raise ParameterError(
                "overlap_s", f"got {self.overlap_s:g}; give less than segment_s, which is {self.segment_s:g}"
            )
        if self.max_duration_s is not None and not self.min_duration_s <= self.max_duration_s < math.inf:
            raise ParameterError(
                "max_duration_s",
                f"got {self.max_duration_s:g}; give at least min_duration_s, which is {self.min_duration_s:g}",
            )

    @property
    def has_reference(self) -> bool:
        """Whether a far-end signal comes along."""
        return self.reference_channel is not None or self.reference_field is not None


@dataclass(frozen=True)
class VadSpec:
    """Where the speech is: what is trimmed away, or how a track is cut into utterances.

    Parameters
    ----------
    mode : ``trim``: from the first speech to the last, one track; ``segment``: every utterance a track of its own
    aggressiveness : 0 takes the most for speech, 3 the least
    min_s, max_s : shorter utterances are left out; longer ones are cut where they are least like speech
    min_silence_s : shorter pauses do not part two utterances
    padding_s : what is kept before and after each, as far as there is room
    """

    mode: str = "segment"
    aggressiveness: int = 2
    min_s: float = 0.2
    max_s: float = 30.0
    min_silence_s: float = 0.3
    padding_s: float = 0.2

    def __post_init__(self) -> None:
        if self.mode not in {"trim", "segment"}:
            raise ParameterError("mode", f"got {self.mode!r}; give trim or segment")
        in_range("aggressiveness", self.aggressiveness, 0, 3)
        in_range("min_s", self.min_s, 0, 3600, "seconds")
        in_range("max_s", self.max_s, max(1.0, 2 * self.min_s), 86400, "seconds")
        in_range("min_silence_s", self.min_silence_s, 0, 60, "seconds")
        in_range("padding_s", self.padding_s, 0, 10, "seconds")


@dataclass(frozen=True)
class GuardSpec:
    """The most that a chain may do to a track. Over it the chain is weakened, and taken back in the end.

    Every bound is on the chain alone, before the loudness is set; None is no bound.

    Parameters
    ----------
    max_lsd_db : log-spectral distance of output and input, mean level removed
    max_loudness_change_lu : change of the integrated loudness, either way
    max_clip_rate : share of the output's samples beyond full scale
    """

    max_lsd_db: float | None = None
    max_loudness_change_lu: float | None = None
    max_clip_rate: float | None = None

    def __post_init__(self) -> None:
        in_range("max_lsd_db", self.max_lsd_db, 0, 200, "dB")
        in_range("max_loudness_change_lu", self.max_loudness_change_lu, 0, 200, "LU")
        in_range("max_clip_rate", self.max_clip_rate, 0, 1)


@dataclass(frozen=True)
class LoudnessSpec:
    """Loudness normalisation at the end of the chain (BS.1770, EBU R 128).

    Parameters
    ----------
    target_lufs : integrated loudness to reach
    max_gain_db : no more gain than this
    ceiling_dbtp : highest true peak
    max_limiting_db : by how much the limiter may lower the highest peak; the gain stops there
    """

    target_lufs: float
    max_gain_db: float = 30.0
    ceiling_dbtp: float = -1.0
    max_limiting_db: float = 6.0

    def __post_init__(self) -> None:
        in_range("target_lufs", self.target_lufs, -70, 0, "LUFS")
        in_range("max_gain_db", self.max_gain_db, 0, 100, "dB")
        in_range("ceiling_dbtp", self.ceiling_dbtp, -60, 0, "dBTP")
        in_range("max_limiting_db", self.max_limiting_db, 0, 40, "dB")


@dataclass(frozen=True)
class OutputSpec:
    """One encoding of the processed audio.

    Parameters
    ----------
    name : what its columns and arrays are called; the encoding's own name by default
    encoding : ``flac``, ``pcm``, ``opus``, ``vorbis`` or ``mp3``
    bits : 16 or 24; 32 is float32, for ``pcm`` only
    level : effort of FLAC, 0 to 8, or of ``pcm``'s zstd, 1 to 9
    bitrate_kbps : of a lossy encoding, for all channels together
    complexity : effort of Opus, 0 to 10
    dither : triangular dither when quantising
    """

    name: str = ""
    encoding: str = "flac"
    bits: int = 16
    level: int = 5
    bitrate_kbps: float | None = None
    complexity: int = 10
    dither: bool = True

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise ParameterError("encoding", f"got {self.encoding!r}; give one of {', '.join(ENCODINGS)}")
        object.__setattr__(self, "name", self.name or self.encoding)
        if not _NAME.match(self.name):
            raise ParameterError("name", f"got {self.name!r}; start with a letter, then a-z, 0-9 and _")
        for idle in _IDLE[self.encoding]:
            if getattr(self, idle) != getattr(type(self), idle):
                raise ParameterError(idle, f"{self.encoding} has no use for it; leave it out")
        if self.encoding in _BITRATES:
            if self.bitrate_kbps is None:
                raise ParameterError("bitrate_kbps", f"{self.encoding} needs one, e.g. 24")
            in_range("bitrate_kbps", self.bitrate_kbps, *_BITRATES[self.encoding], "kbit/s")
            in_range("complexity", self.complexity, 0, 10)
        else:
            bits = _BITS[self.encoding]
            if self.bits not in bits:
                raise ParameterError("bits", f"got {self.bits}; {self.encoding} has {' or '.join(map(str, bits))}")
            in_range("level", self.level, *((1, 9) if self.encoding == "pcm" else (0, 8)))


def field_names(kind: type) -> tuple[str, ...]:
    """Names of a parameter class's fields."""
    return tuple(item.name for item in fields(kind))
