"""What to do with every track: source rate, chain, loudness, outputs. Values; files are `jobfile`'s."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from corpusdiff.encode import unsupported
from corpusdiff.errors import ParameterError
from corpusdiff.stages import registry
from corpusdiff.stages.base import Stage
from corpusdiff.stages.checks import at_least, in_range

ENCODINGS = ("flac", "pcm", "opus", "vorbis", "mp3")

_BITS = {"flac": (16, 24), "pcm": (16, 24, 32)}

#: Bounds of the bit rate, in kbit/s; libopus takes at most 256 for each channel.
_BITRATES = {"opus": (6, 512), "vorbis": (8, 500), "mp3": (8, 320)}
_OPUS_KBPS_PER_CHANNEL = 256

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
    """

    sr: int | None = None
    channels: int | None = None
    segment_s: float | None = None
    overlap_s: float = 0.0
    min_duration_s: float = 0.0
    max_duration_s: float | None = None
    max_track_hours: float = 24.0

    def __post_init__(self) -> None:
        in_range("sr", self.sr, 1000, 768000, "Hz")
        in_range("channels", self.channels, 1, 64, "channels")
        in_range("segment_s", self.segment_s, 0.01, 86400, "seconds")
        in_range("max_track_hours", self.max_track_hours, 0.001, 1000, "hours")
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


@dataclass(frozen=True)
class Job:
    """Everything that decides what becomes of a track.

    Parameters
    ----------
    name : what to call it
    description : for people; changes nothing
    source : what is made of a file first
    chain : stages in order
    loudness : normalisation after the chain, None for none
    outputs : encodings; the first is the one that `tracks` names without a prefix
    """

    name: str
    description: str = ""
    source: SourceSpec = SourceSpec()
    chain: tuple[Stage, ...] = ()
    loudness: LoudnessSpec | None = None
    outputs: tuple[OutputSpec, ...] = (OutputSpec(),)

    def __post_init__(self) -> None:
        if not self.outputs:
            raise ParameterError("output", "there is none; give at least one")
        names = [output.name for output in self.outputs]
        for name in names:
            if names.count(name) > 1:
                raise ParameterError("output", f"two are called {name!r}; give each a name of its own")
        for output in self.outputs:
            problem = unsupported(output.encoding, self.source.sr or 48000, self.source.channels or 1)
            if problem:
                raise ParameterError(f"output.{output.name}", problem)
            if output.encoding == "opus" and self.source.channels == 1:
                most = _OPUS_KBPS_PER_CHANNEL
                in_range(f"output.{output.name}.bitrate_kbps", output.bitrate_kbps, 6, most, "kbit/s for one channel")

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; every default is spelled out."""
        return {
            "name": self.name,
            "description": self.description,
            "source": asdict(self.source),
            "chain": [registry.to_dict(stage) for stage in self.chain],
            "loudness": None if self.loudness is None else asdict(self.loudness),
            "output": [asdict(output) for output in self.outputs],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        """Inverse of `to_dict`."""
        loudness = document["loudness"]
        return cls(
            name=document["name"],
            description=document["description"],
            source=SourceSpec(**document["source"]),
            chain=tuple(stage_from(table) for table in document["chain"]),
            loudness=None if loudness is None else LoudnessSpec(**loudness),
            outputs=tuple(OutputSpec(**table) for table in document["output"]),
        )

    @cached_property
    def digest(self) -> str:
        """sha256 of what changes results, in hexadecimal: all but the name and the description."""
        text = json.dumps(_that_counts(self.to_dict()), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def stage_from(table: Mapping[str, Any]) -> Stage:
    """The stage of a ``{"stage": name, **parameters}`` table. Raises ParameterError."""
    parameters = {name: value for name, value in table.items() if name != "stage"}
    return registry.create(table["stage"], parameters)


def diff_jobs(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """What differs between two canonical jobs, in words; nothing does where their digests are equal.

    >>> diff_jobs({"loudness": {"target_lufs": -23.0}}, {"loudness": {"target_lufs": -20.0}})
    ['loudness.target_lufs: -23.0 here, -20.0 in OUT']
    """
    return _differences("", _that_counts(here), _that_counts(there))


def _that_counts(document: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in {"name", "description"}}


def _differences(where: str, here: Any, there: Any) -> list[str]:
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        names = [*here, *(name for name in there if name not in here)]
        return [
            line
            for name in names
            for line in _differences(f"{where}.{name}" if where else name, here.get(name), there.get(name))
        ]
    if _tables(here) and _tables(there):
        ours, theirs = _labels(here), _labels(there)
        moved = [] if ours == theirs else [f"{where}: {', '.join(ours)} here, {', '.join(theirs)} in OUT"]
        pairs = [(label, here[i], there[theirs.index(label)]) for i, label in enumerate(ours) if label in theirs]
        return moved + [line for label, *pair in pairs for line in _differences(f"{where}.{label}", *pair)]
    return [] if here == there else [f"{where}: {_in_words(here)} here, {_in_words(there)} in OUT"]


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, Mapping) for item in value)


def _labels(tables: list[Mapping[str, Any]]) -> list[str]:
    """What people call each table: its stage or name; its number too where several have the same."""
    names = [str(table.get("stage") or table.get("name")) for table in tables]
    return [name if names.count(name) == 1 else f"{name} ({names[:i].count(name) + 1})" for i, name in enumerate(names)]


def _in_words(value: Any) -> str:
    if value is None or value == []:
        return "none"
    return ", ".join(_labels(value)) if _tables(value) else json.dumps(value)


def field_names(kind: type) -> tuple[str, ...]:
    """Names of a parameter class's fields."""
    return tuple(item.name for item in fields(kind))
