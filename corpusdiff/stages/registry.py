"""Stages by name: ours, and those of packages that register the entry point group ``corpusdiff.stages``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from corpusdiff.errors import ParameterError
from corpusdiff.stages.base import Stage

GROUP = "corpusdiff.stages"


@cache
def _points() -> dict[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda point: point.name)}


def available() -> tuple[str, ...]:
    """Names of all stages. None of them is imported."""
    return tuple(_points())


def stage_class(name: str) -> type:
    """The class of that name. Raises ParameterError for a name that is unknown or whose package cannot be loaded."""
    if name not in _points():
        near = _near(name, _points())
        raise ParameterError("stage", f"no stage {name!r}; there are {', '.join(_points())}{near}")
    point = _points()[name]
    try:
        found: type = point.load()
    except (ImportError, AttributeError) as error:
        raise ParameterError(
            "stage", f"{name!r} is registered as {point.value}, which cannot be loaded: {error}"
        ) from error
    return found


def create(name: str, params: Mapping[str, object]) -> Stage:
    """A stage of the given name and parameters. Raises ParameterError.

    >>> create("gain", {"gain_db": -6.0})
    Gain(gain_db=-6.0)
    """
    kind = stage_class(name)
    known = [item.name for item in fields(kind)]
    for key in params:
        if key not in known:
            near = _near(key, known)
            raise ParameterError(key, f"{name} has no such parameter; it has {', '.join(known)}{near}")
    stage: Stage = kind(**params)
    return stage


def to_dict(stage: Stage) -> dict[str, Any]:
    """The stage as JSON types: its name under ``stage``, then its parameters.

    >>> to_dict(create("gain", {"gain_db": -6.0}))
    {'stage': 'gain', 'gain_db': -6.0}
    """
    return {"stage": stage.name, **asdict(stage)}  # type: ignore[call-overload]  # stages are dataclasses


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
