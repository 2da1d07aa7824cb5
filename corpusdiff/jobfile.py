"""From TOML files and ``--set`` to a job; every complaint names the key, the file and the remedy."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from reprlib import repr as short
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from corpusdiff.errors import JobError, ParameterError
from corpusdiff.job import Job, LoudnessSpec, OutputSpec, SourceSpec, field_names
from corpusdiff.stages import registry
from corpusdiff.stages.base import Signal, Stage

_SECTIONS = ("name", "description", "source", "chain", "loudness", "output")

#: Sections that are a table, and the parameters of each.
_TABLES: dict[str, type] = {"source": SourceSpec, "loudness": LoudnessSpec, "output": OutputSpec}

#: Endings of our names, and what they mean.
_UNITS = {
    "s": "seconds",
    "hours": "hours",
    "hz": "hertz",
    "hz2": "square hertz",
    "db": "dB",
    "dbfs": "dBFS",
    "dbtp": "dBTP",
    "lufs": "LUFS",
    "kbps": "kbit/s",
}

#: Names that others use, and ours.
_OTHER_NAMES = {
    "sample_rate": "sr",
    "sampling_rate": "sr",
    "rate": "sr",
    "n_channels": "channels",
    "codec": "encoding",
    "format": "encoding",
}

_WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "a text in quotes",
    list: "a list",
}

T = TypeVar("T")


def load_job(name: str, sets: Sequence[str] = ()) -> Job:
    """The ready job of that name, or the job in that file, with ``KEY=VALUE`` changes applied.

    Raises JobError.
    """
    text = _read(name)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = found[1] if found else text.count("\n") + 1
        raise JobError(f"{name}:{line}: not TOML: {error}") from error
    for section in ("chain", "output"):
        _entries(document, section, name)
    for item in sets:
        _set(document, item)
    place = name + "".join(f" --set {item}" for item in sets)
    job = _job(document, place, Path(name).stem)
    _try(job, place)
    return job


def ready_jobs() -> dict[str, Path]:
    """The jobs that come with the package, by name."""
    folder = Path(str(files("corpusdiff"))) / "_jobs"
    if not folder.is_dir():  # a checkout
        folder = folder.parents[1] / "jobs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read(name: str) -> str:
    ready = ready_jobs()
    try:
        return ready.get(name, Path(name)).read_text(encoding="utf-8")
    except FileNotFoundError:
        near = _near(name, list(ready))
        raise JobError(
            f"{name}: no ready job and no file of that name{near}; the ready jobs are {', '.join(ready)}"
        ) from None
    except (OSError, ValueError) as error:
        raise JobError(f"{name}: cannot be read as a job file: {error}") from error


def _job(document: Mapping[str, Any], place: str, stem: str) -> Job:
    _check_keys(document, _SECTIONS, place, "")
    loudness = document.get("loudness")
    try:
        return Job(
            name=_typed(document.get("name", stem), str, place, "name"),
            description=_typed(document.get("description", ""), str, place, "description"),
            source=_spec(SourceSpec, document.get("source", {}), place, "source"),
            chain=tuple(_stage(table, place, i) for i, table in enumerate(_entries(document, "chain", place))),
            loudness=None if loudness is None else _spec(LoudnessSpec, loudness, place, "loudness"),
            outputs=tuple(
                _spec(OutputSpec, table, place, f"output.{_label(table)}")
                for table in _entries(document, "output", place) or [{}]
            ),
        )
    except ParameterError as error:
        raise JobError(f"{place}: {error}") from error


def _try(job: Job, place: str) -> None:
    """Refuse stages that do not fit the job's own rate, rather than every track later on."""
    if job.source.sr is None:
        return
    signal = Signal(job.source.sr, job.source.channels or 1)
    for stage in job.chain:
        try:
            stage.initial_state(signal)
        except ParameterError as error:
            raise JobError(f"{place}: chain.{stage.name}.{error}") from error


def _entries(document: Mapping[str, Any], section: str, place: str) -> list[dict[str, Any]]:
    tables = document.get(section, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise JobError(f"{place}: {section}: expected tables headed [[{section}]], with double brackets")
    return tables


def _label(table: Any) -> str:
    """What people call a table of a chain or of outputs."""
    if not isinstance(table, dict):
        return repr(table)
    return str(table.get("stage") or table.get("name") or table.get("encoding") or OutputSpec.encoding)


def _stage(table: Mapping[str, Any], place: str, index: int) -> Stage:
    name = table.get("stage")
    if not isinstance(name, str):
        raise JobError(f'{place}: chain.{index}: say which stage, e.g. stage = "level"; got {name!r}')
    try:
        kind = registry.stage_class(name)
    except ParameterError as error:
        raise JobError(f"{place}: chain.{index}.{error}") from error
    where = f"chain.{name}"
    parameters = {key: value for key, value in table.items() if key != "stage"}
    _check_keys(parameters, field_names(kind), place, where)
    try:
        return registry.create(name, _checked(kind, parameters, place, where))
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{error}") from error
    except ValueError as error:  # a plug-in's way to say the same
        raise JobError(f"{place}: {where}: {error}") from error


def _spec(kind: type[T], table: Any, place: str, where: str) -> T:
    if not isinstance(table, dict):
        raise JobError(f"{place}: {where}: expected a table headed [{where}], got {short(table)}")
    _check_keys(table, field_names(kind), place, where)
    checked = _checked(kind, table, place, where)
    missing = [name for name in _required(kind) if name not in checked]
    if missing:
        raise JobError(f"{place}: {where}: {missing[0]} is missing")
    try:
        return kind(**checked)
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{error}") from error


def _required(kind: type) -> list[str]:
    return [name for name in field_names(kind) if not hasattr(kind, name)]


def _checked(kind: type, table: Mapping[str, Any], place: str, where: str) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {key: _typed(value, hints[key], place, f"{where}.{key}") for key, value in table.items()}


def _typed(value: Any, hint: Any, place: str, where: str) -> Any:
    """`value` as its parameter wants it: whole numbers become floats where floats are wanted."""
    kinds = get_args(hint) if get_origin(hint) in {Union, UnionType} else (hint,)
    plain = [get_origin(kind) or kind for kind in kinds if kind is not NoneType]
    for kind, base in zip((kind for kind in kinds if kind is not NoneType), plain, strict=True):
        if base is float and type(value) in {int, float} and -1e300 < value < 1e300:
            return float(value)
        if base is int and type(value) is int and -(2**63) <= value < 2**63:
            return value
        if base in {bool, str} and type(value) is base:
            return value
        if base is list and isinstance(value, list):
            inner = (*get_args(kind), Any)[0]
            return [_typed(item, inner, place, f"{where}[{i}]") for i, item in enumerate(value)]
    if all(base in _WORDS for base in plain):
        raise JobError(f"{place}: {where}: got {short(value)}, expected {' or '.join(_WORDS[base] for base in plain)}")
    return value  # a kind of a plug-in's own, for which its constructor answers


def _check_keys(table: Mapping[str, Any], known: Sequence[str], place: str, where: str) -> None:
    for key in table:
        if key not in known:
            full = f"{where}.{key}" if where else key
            hint = _hint(key, known) or ("" if where else _home(key))
            raise JobError(f"{place}: {full}: unknown key{hint}; known here: {', '.join(known)}")


def _hint(key: str, known: Sequence[str]) -> str:
    """The key that was meant, and its unit: ``tau_ms`` and ``tau`` mean ``tau_s``."""
    for name in known:
        stem, _, unit = name.rpartition("_")
        if unit in _UNITS and stem in {key, key.rpartition("_")[0]}:
            return f": give {name}, in {_UNITS[unit]}"
    other = _OTHER_NAMES.get(key)
    return f": did you mean {other}?" if other in known else _near(key, known)


def _home(key: str) -> str:
    """The section that a key without one belongs to."""
    return next((f": it belongs under [{name}]" for name, kind in _TABLES.items() if key in field_names(kind)), "")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f": did you mean {near[0]}?" if near else ""


def _set(document: dict[str, Any], item: str) -> None:
    """Apply one ``KEY=VALUE``: ``source.sr=8000``, ``chain.level.steps=5``, ``chain.0.steps=5``."""
    key, equals, text = item.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise JobError(f"--set {item}: expected KEY=VALUE, e.g. source.sr=8000")
    if parts[0] == "output":
        document.setdefault("output", [{}])  # the one that a job without any has
    elif parts[0] == "chain":
        document.setdefault("chain", [])
    table: Any = document
    for depth, part in enumerate(parts[:-1]):
        table = _descend(table, part, f"--set {item}", ".".join(parts[: depth + 1]))
    if not isinstance(table, dict):
        where = ".".join(parts[:-1])
        remedy = f"name one of its tables too, e.g. {where}.0.KEY=VALUE" if isinstance(table, list) else "it is a value"
        raise JobError(f"--set {item}: {where} has no key {parts[-1]}: {remedy}")
    table[parts[-1]] = _value(text.strip())


def _descend(table: Any, part: str, place: str, where: str) -> Any:
    if isinstance(table, dict):
        return table.setdefault(part, {})
    if not isinstance(table, list):
        raise JobError(f"{place}: {where.rpartition('.')[0]} is a value, and has no keys")
    labels = [_label(entry) for entry in table]
    if part.isdecimal() and int(part) < len(table):
        return table[int(part)]
    if labels.count(part) == 1:
        return table[labels.index(part)]
    problem = "names more than one: give its number, from 0" if part in labels else "is not there"
    raise JobError(f"{place}: {where} {problem}; there are {', '.join(labels) or 'none'}")


def _value(text: str) -> Any:
    """What TOML makes of it; a bare word is a text."""
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text
