"""Checks of parameters that several stages share."""

from __future__ import annotations

import math

from corpusdiff.errors import ParameterError


def finite(name: str, value: float) -> None:
    """Raise ParameterError for infinity and NaN."""
    if not math.isfinite(value):
        raise ParameterError(name, f"got {value}; give a finite number")


def at_least(name: str, value: float, low: float) -> None:
    """Raise ParameterError for less than `low`, infinity and NaN."""
    if not low <= value < math.inf:
        raise ParameterError(name, f"got {value:g}; give {low:g} or more")


def whole(name: str, value: int, low: int) -> None:
    """Raise ParameterError for what is not a whole number of at least `low`."""
    if not isinstance(value, int) or value < low:
        raise ParameterError(name, f"got {value!r}; give a whole number, {low} or more")


def in_range(name: str, value: float | None, low: float, high: float, unit: str = "") -> None:
    """Raise ParameterError outside of [low, high]; None is a value that was not given."""
    if value is not None and not low <= value <= high:
        raise ParameterError(name, f"got {value:g}; give {low:g} to {high:g} {unit}".rstrip())


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ParameterError for what is none of `choices`."""
    if value not in choices:
        raise ParameterError(name, f"got {value!r}; give one of {', '.join(choices)}")


def caps(max_boost_db: float, max_cut_db: float) -> None:
    """Raise ParameterError for bounds of a gain outside of [0, 200] dB."""
    in_range("max_boost_db", max_boost_db, 0, 200, "dB")
    in_range("max_cut_db", max_cut_db, 0, 200, "dB")
