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
from corpusdiff.job import DEFAULT_RULE, Job, Rule
from corpusdiff.jobset import LISTS, label, set_value
from corpusdiff.specs import GuardSpec, LoudnessSpec, OutputSpec, SourceSpec, VadSpec, field_names
from corpusdiff.stages import registry
from corpusdiff.stages.base import Signal, Stage

_SECTIONS = ("name", "description", "source", "vad", "rule", "chain", "guard", "loudness", "output")

#: Sections that are a table, and the parameters of each.
_TABLES: dict[str, type] = {
    "source": SourceSpec,
    "vad": VadSpec,
    "guard": GuardSpec,
    "loudness": LoudnessSpec,
    "output": OutputSpec,
}

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
    for section in LISTS:
        _entries(document, section, name)
    if name not in ready_jobs():
        _take_paths(document, Path(name).parent, name)
    for item in sets:
        set_value(document, item)
    place = name + "".join(f" --set {item}" for item in sets)
    job = _job(document, place, Path(name).stem)
    _try(job, place)
    return job


def _take_paths(document: dict[str, Any], folder: Path, place: str) -> None:
    """Files that a job file names lie beside it; a stage says which parameters are files by ``path_parameters``."""
    chains = [document, *_entries(document, "rule", place)]
    for table in (stage for chain in chains for stage in _entries(chain, "chain", place)):
        if table.get("stage") in registry.available():
            for name in getattr(registry.stage_class(table["stage"]), "path_parameters", ()):
                if isinstance(table.get(name), str):
                    table[name] = str(folder / table[name])


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
    try:
        return Job(
            name=_typed(document.get("name", stem), str, place, "name"),
            description=_typed(document.get("description", ""), str, place, "description"),
            source=_spec(SourceSpec, document.get("source", {}), place, "source"),
            vad=_optional(VadSpec, document, place, "vad"),
            rules=tuple(_rule(table, place, i) for i, table in enumerate(_entries(document, "rule", place))),
            chain=_chain(document, place, ""),
            guard=_optional(GuardSpec, document, place, "guard"),
            loudness=_optional(LoudnessSpec, document, place, "loudness"),
            outputs=tuple(
                _spec(OutputSpec, table, place, f"output.{label(table)}")
                for table in _entries(document, "output", place) or [{}]
            ),
        )
    except ParameterError as error:
        raise JobError(f"{place}: {error}") from error


def _try(job: Job, place: str) -> None:
    """Refuse stages that do not fit the job's own rate, rather than every track later on."""
    if job.source.sr is None:
        return
    signal = Signal(job.source.sr, job.source.channels or 1, n_references=int(job.source.has_reference))
    for rule, chain in job.chains().items():
        for stage in chain:
            try:
                stage.initial_state(signal)
            except ParameterError as error:
                where = "" if rule == DEFAULT_RULE else f"rule.{rule}."
                raise JobError(f"{place}: {where}chain.{stage.name}.{error}") from error


def _entries(document: Mapping[str, Any], section: str, place: str, where: str = "") -> list[dict[str, Any]]:
    tables = document.get(section, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        head = f"{'rule.' if where else ''}{section}"
        raise JobError(f"{place}: {where}{section}: expected tables headed [[{head}]], with double brackets")
    return tables


def _rule(table: dict[str, Any], place: str, index: int) -> Rule:
    where = f"rule.{table.get('name', index)}"
    _check_keys(table, field_names(Rule), place, where)
    for name in _required(Rule):
        if name not in table:
            raise JobError(f'{place}: {where}: {name} is missing, e.g. name = "noisy", when = "snr_db < 10"')
    texts = {name: _typed(table[name], str, place, f"{where}.{name}") for name in ("name", "when")}
    try:
        return Rule(**texts, chain=_chain(table, place, f"{where}."))
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{error}") from error


def _chain(document: Mapping[str, Any], place: str, where: str) -> tuple[Stage, ...]:
    """The stages under ``chain``; `where` is what stands before that in messages."""
    tables = _entries(document, "chain", place, where)
    return tuple(_stage(table, place, f"{where}chain", i) for i, table in enumerate(tables))


def _stage(table: Mapping[str, Any], place: str, where: str, index: int) -> Stage:
    name = table.get("stage")
    if not isinstance(name, str):
        raise JobError(f'{place}: {where}.{index}: say which stage, e.g. stage = "level"; got {name!r}')
    try:
        kind = registry.stage_class(name)
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{index}.{error}") from error
    where = f"{where}.{name}"
    parameters = {key: value for key, value in table.items() if key != "stage"}
    _check_keys(parameters, field_names(kind), place, where)
    try:
        return registry.create(name, _checked(kind, parameters, place, where))
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{error}") from error
    except ValueError as error:  # a plug-in's way to say the same
        raise JobError(f"{place}: {where}: {error}") from error


def _optional(kind: type[T], document: Mapping[str, Any], place: str, where: str) -> T | None:
    """The table under `where`, None where there is none."""
    return _spec(kind, document[where], place, where) if where in document else None


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
