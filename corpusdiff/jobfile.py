"""From TOML files and ``--set`` to a job; every complaint names the key, the file and the remedy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from corpusdiff.errors import JobError, ParameterError
from corpusdiff.job import Job, LoudnessSpec, OutputSpec, SourceSpec, field_names
from corpusdiff.stages import registry

_SECTIONS = ("name", "description", "source", "chain", "loudness", "output")

#: Endings that people write, and those that we have.
_UNITS = {"_ms": ("_s", "seconds"), "_khz": ("_hz", "hertz"), "_bps": ("_kbps", "kbit/s")}

T = TypeVar("T")


def load_job(name: str, sets: Sequence[str] = ()) -> Job:
    """The ready job of that name, or the job in that file, with ``KEY=VALUE`` changes applied.

    Raises JobError.
    """
    place, text = _read(name)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise JobError(f"{place}: not TOML: {error}") from error
    for item in sets:
        _set(document, item)
    return _job(document, place)


def ready_jobs() -> dict[str, Path]:
    """The jobs that come with the package, by name."""
    folder = Path(str(files("corpusdiff"))) / "_jobs"
    if not folder.is_dir():  # a checkout
        folder = folder.parents[1] / "jobs"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def _read(name: str) -> tuple[str, str]:
    ready = ready_jobs()
    path = ready.get(name, Path(name))
    try:
        return str(name), path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise JobError(
            f"{name}: no ready job and no file of that name; ready jobs: {', '.join(ready)}{_near(name, ready)}"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise JobError(f"{name}: cannot be read as a job file: {error}") from error


def _job(document: Mapping[str, Any], place: str) -> Job:
    _check_keys(document, _SECTIONS, place, "")
    loudness = document.get("loudness")
    try:
        return Job(
            name=_typed(document.get("name", Path(place).stem), str, place, "name"),
            description=_typed(document.get("description", ""), str, place, "description"),
            source=_spec(SourceSpec, document.get("source", {}), place, "source"),
            chain=tuple(_stage(table, place, i) for i, table in enumerate(_tables(document, "chain", place))),
            loudness=None if loudness is None else _spec(LoudnessSpec, loudness, place, "loudness"),
            outputs=tuple(
                _spec(OutputSpec, table, place, f"output.{table.get('name', i)}")
                for i, table in enumerate(_tables(document, "output", place) or [{}])
            ),
        )
    except ParameterError as error:
        raise JobError(f"{place}: {error}") from error


def _tables(document: Mapping[str, Any], section: str, place: str) -> list[dict[str, Any]]:
    tables = document.get(section, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise JobError(f"{place}: {section}: expected tables headed [[{section}]], with double brackets")
    return tables


def _stage(table: Mapping[str, Any], place: str, index: int) -> Any:
    name = table.get("stage")
    where = f"chain[{index}]"
    if not isinstance(name, str):
        raise JobError(f'{place}: {where}: say which stage, e.g. stage = "level"; got {name!r}')
    parameters = {key: value for key, value in table.items() if key != "stage"}
    try:
        kind = registry.stage_class(name)
    except ParameterError as error:
        raise JobError(f"{place}: {where}.{error}") from error
    _check_keys(parameters, field_names(kind), place, f"chain.{name}")
    checked = _checked(kind, parameters, place, f"chain.{name}")
    try:
        return registry.create(name, checked)
    except ParameterError as error:
        raise JobError(f"{place}: chain.{name}.{error}") from error


def _spec(kind: type[T], table: Any, place: str, where: str) -> T:
    if not isinstance(table, dict):
        raise JobError(f"{place}: {where}: expected a table headed [{where}], got {table!r}")
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
    allowed = get_args(hint) or (hint,)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed and int not in allowed:
        return float(value)
    plain = [kind for kind in allowed if isinstance(kind, type) and kind in {bool, int, float, str}]
    fits = any(type(value) is kind for kind in plain) or (len(plain) < len(allowed) and isinstance(value, list))
    if not fits and plain:
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}
        expected = " or ".join(names[kind] for kind in plain)
        raise JobError(f"{place}: {where}: got {value!r}, expected {expected}")
    return value


def _check_keys(table: Mapping[str, Any], known: Sequence[str], place: str, where: str) -> None:
    for key in table:
        if key not in known:
            full = f"{where}.{key}" if where else key
            raise JobError(f"{place}: {full}: unknown key{_hint(key, known)}; known here: {', '.join(known)}")


def _hint(key: str, known: Sequence[str]) -> str:
    for ending, (right, unit) in _UNITS.items():
        if key.endswith(ending) and key.removesuffix(ending) + right in known:
            return f": give {key.removesuffix(ending)}{right}, in {unit}"
    stem = key.rpartition("_")[0] or key
    same = [name for name in known if name.rpartition("_")[0] == stem]
    return f": did you mean {same[0]}?" if same else _near(key, known)


def _near(name: str, known: Mapping[str, Any] | Sequence[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f": did you mean {near[0]}?" if near else ""


def _set(document: dict[str, Any], item: str) -> None:
    """Apply one ``KEY=VALUE``: ``source.sr=8000``, ``chain.level.steps=5``, ``chain.0.steps=5``."""
    key, equals, text = item.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise JobError(f"--set {item}: expected KEY=VALUE, e.g. source.sr=8000")
    table: Any = document
    for depth, part in enumerate(parts[:-1]):
        table = _descend(table, part, f"--set {item}", ".".join(parts[: depth + 1]))
    if not isinstance(table, dict):
        raise JobError(f"--set {item}: {key} is a list of tables; name one of them, e.g. {parts[0]}.NAME.KEY=VALUE")
    table[parts[-1]] = _value(text.strip())


def _descend(table: Any, part: str, place: str, where: str) -> Any:
    if isinstance(table, dict):
        return table.setdefault(part, {})
    names = [str(entry.get("stage") or entry.get("name") or entry.get("encoding")) for entry in table]
    if part.isdecimal() and int(part) < len(table):
        return table[int(part)]
    if names.count(part) == 1:
        return table[names.index(part)]
    problem = "names more than one: use its number" if part in names else "is not there"
    raise JobError(f"{place}: {where} {problem}; there are {', '.join(names)}")


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
