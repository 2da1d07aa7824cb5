"""``--set KEY=VALUE``: changes of single values of a job's document."""

from __future__ import annotations

import tomllib
from typing import Any

from corpusdiff.errors import JobError
from corpusdiff.specs import OutputSpec

#: Sections that are lists of tables.
LISTS = ("rule", "chain", "output")


def label(table: Any) -> str:
    """What people call a table of rules, of a chain or of outputs."""
    if not isinstance(table, dict):
        return repr(table)
    return str(table.get("stage") or table.get("name") or table.get("encoding") or OutputSpec.encoding)


def set_value(document: dict[str, Any], item: str) -> None:
    """Apply one ``KEY=VALUE``: ``source.sr=8000``, ``chain.level.steps=5``, ``rule.noisy.chain.0.steps=5``."""
    key, equals, text = item.partition("=")
    parts = key.strip().split(".")
    if not equals or not all(parts):
        raise JobError(f"--set {item}: expected KEY=VALUE, e.g. source.sr=8000")
    if parts[0] == "output":
        document.setdefault("output", [{}])  # the one that a job without any has
    elif parts[0] in LISTS:
        document.setdefault(parts[0], [])
    table: Any = document
    for depth, part in enumerate(parts[:-1]):
        table = _descend(table, part, f"--set {item}", ".".join(parts[: depth + 1]))
    if not isinstance(table, dict):
        where = ".".join(parts[:-1])
        remedy = f"name one of its tables too, e.g. {where}.0.KEY=VALUE" if isinstance(table, list) else "it is a value"
        raise JobError(f"--set {item}: {where} has no key {parts[-1]}: {remedy}")
    table[parts[-1]] = value_of(text.strip())


def _descend(table: Any, part: str, place: str, where: str) -> Any:
    if isinstance(table, dict):
        return table.setdefault(part, {})
    if not isinstance(table, list):
        raise JobError(f"{place}: {where.rpartition('.')[0]} is a value, and has no keys")
    labels = [label(entry) for entry in table]
    if part.isdecimal() and int(part) < len(table):
        return table[int(part)]
    if labels.count(part) == 1:
        return table[labels.index(part)]
    problem = "names more than one: give its number, from 0" if part in labels else "is not there"
    raise JobError(f"{place}: {where} {problem}; there are {', '.join(labels) or 'none'}")


def value_of(text: str) -> Any:
    """What TOML makes of it; a bare word is a text.

    >>> value_of("4"), value_of("-0.2"), value_of("flat")
    (4, -0.2, 'flat')
    """
    try:
        document = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return document["value"] if len(document) == 1 else text
