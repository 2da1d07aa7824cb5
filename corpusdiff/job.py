"""What to do with every track: source rate, chain, loudness, outputs. Values; files are `jobfile`'s."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from corpusdiff.encode import unsupported
from corpusdiff.errors import ParameterError
from corpusdiff.expressions import Expression
from corpusdiff.specs import OPUS_KBPS_PER_CHANNEL, GuardSpec, LoudnessSpec, OutputSpec, SourceSpec, VadSpec
from corpusdiff.stages import registry
from corpusdiff.stages.base import Stage
from corpusdiff.stages.checks import in_range

#: The rule of tracks for which no other holds.
DEFAULT_RULE = "default"

_RULE_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*\Z")


@dataclass(frozen=True)
class Rule:
    """A chain for those tracks of which a condition holds.

    Parameters
    ----------
    name : what the row of a track says; a-z, 0-9, - and _
    when : condition on what was measured of the track at its source, and on its fields of the manifest
    chain : stages in order, in the place of the job's own; none leaves the track as it is
    """

    name: str
    when: str
    chain: tuple[Stage, ...] = ()

    def __post_init__(self) -> None:
        if not _RULE_NAME.match(self.name) or self.name == DEFAULT_RULE:
            raise ParameterError(
                "name",
                f"got {self.name!r}; give a-z, 0-9, - and _, and not {DEFAULT_RULE}, which is the job's own chain",
            )
        Expression(self.when)

    @cached_property
    def condition(self) -> Expression:
        """What `when` says."""
        return Expression(self.when)


@dataclass(frozen=True)
class Job:
    """Everything that decides what becomes of a track.

    Parameters
    ----------
    name : what to call it
    description : for people; changes nothing
    source : what is made of a file first
    vad : where the speech is looked for, None for nowhere
    rules : the first that holds gives a track its chain
    chain : stages in order, for tracks of which no rule holds
    guard : what a chain may do at most, None for anything
    loudness : normalisation after the chain, None for none
    outputs : encodings; the first is the one that `tracks` names without a prefix
    """

    name: str
    description: str = ""
    source: SourceSpec = SourceSpec()  # noqa: RUF009  # frozen
    vad: VadSpec | None = None
    rules: tuple[Rule, ...] = ()
    chain: tuple[Stage, ...] = ()
    guard: GuardSpec | None = None
    loudness: LoudnessSpec | None = None
    outputs: tuple[OutputSpec, ...] = (OutputSpec(),)

    def __post_init__(self) -> None:
        _check_unique("rule", [rule.name for rule in self.rules])
        if self.vad is not None and self.source.segment_s is not None:
            raise ParameterError("vad", "source.segment_s cuts the tracks already; give one of the two")
        if not self.outputs:
            raise ParameterError("output", "there is none; give at least one")
        _check_unique("output", [output.name for output in self.outputs])
        for output in self.outputs:
            problem = unsupported(output.encoding, self.source.sr or 48000, self.source.channels or 1)
            if problem:
                raise ParameterError(f"output.{output.name}", problem)
            if output.encoding == "opus" and self.source.channels == 1:
                most = OPUS_KBPS_PER_CHANNEL
                in_range(f"output.{output.name}.bitrate_kbps", output.bitrate_kbps, 6, most, "kbit/s for one channel")

    def chains(self) -> dict[str, tuple[Stage, ...]]:
        """All chains by the names of their rules, the job's own last."""
        return {**{rule.name: rule.chain for rule in self.rules}, DEFAULT_RULE: self.chain}

    def rule_for(self, values: Mapping[str, Any]) -> str:
        """Name of the first rule that holds of a track."""
        return next((rule.name for rule in self.rules if rule.condition.holds(values)), DEFAULT_RULE)

    def to_dict(self) -> dict[str, Any]:
        """JSON types only; every default is spelled out."""
        return {
            "name": self.name,
            "description": self.description,
            "source": asdict(self.source),
            "vad": None if self.vad is None else asdict(self.vad),
            "rule": [{"name": rule.name, "when": rule.when, "chain": _tables_of(rule.chain)} for rule in self.rules],
            "chain": _tables_of(self.chain),
            "guard": None if self.guard is None else asdict(self.guard),
            "loudness": None if self.loudness is None else asdict(self.loudness),
            "output": [asdict(output) for output in self.outputs],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Job:
        """Inverse of `to_dict`."""
        vad, guard, loudness = document["vad"], document["guard"], document["loudness"]
        return cls(
            name=document["name"],
            description=document["description"],
            source=SourceSpec(**document["source"]),
            vad=None if vad is None else VadSpec(**vad),
            rules=tuple(Rule(rule["name"], rule["when"], _stages_from(rule["chain"])) for rule in document["rule"]),
            chain=_stages_from(document["chain"]),
            guard=None if guard is None else GuardSpec(**guard),
            loudness=None if loudness is None else LoudnessSpec(**loudness),
            outputs=tuple(OutputSpec(**table) for table in document["output"]),
        )

    @cached_property
    def digest(self) -> str:
        """sha256 of what changes results, in hexadecimal: all but the name and the description."""
        text = json.dumps(_that_counts(self.to_dict()), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def _check_unique(kind: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ParameterError(kind, f"two are called {name!r}; give each a name of its own")


def _tables_of(chain: tuple[Stage, ...]) -> list[dict[str, Any]]:
    return [registry.to_dict(stage) for stage in chain]


def _stages_from(tables: list[Mapping[str, Any]]) -> tuple[Stage, ...]:
    return tuple(stage_from(table) for table in tables)


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
