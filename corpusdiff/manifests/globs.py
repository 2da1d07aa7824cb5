"""Patterns of paths: ``*``, ``?``, ``[...]``, and ``**`` for any number of folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from fnmatch import translate
from functools import lru_cache

_MAGIC = re.compile(r"[*?\[]")


def is_glob(source: str) -> bool:
    """Whether `source` holds a wildcard."""
    return bool(_MAGIC.search(source))


def split_glob(parts: Sequence[str]) -> tuple[list[str], tuple[str, ...]]:
    """The folders before the first wildcard, and the pattern from there on.

    >>> split_glob(["", "data", "*", "a.wav"])
    (['', 'data'], ('*', 'a.wav'))
    """
    fixed = next(i for i, part in enumerate(parts) if _MAGIC.search(part))
    return list(parts[:fixed]), tuple(parts[fixed:])


def matches(relative: str, pattern: tuple[str, ...]) -> bool:
    """Whether a file's path matches."""
    positions = reached(relative.split("/"), pattern)
    return len(pattern) in positions or (pattern[-1] == "**" and len(pattern) - 1 in positions)


def reached(names: list[str], pattern: tuple[str, ...]) -> set[int]:
    """Positions in `pattern` at which the next name may stand; empty when `names` leads nowhere."""
    positions = _past_stars({0}, pattern)
    for name in names:
        nexts = set()
        for position in positions:
            if position == len(pattern):
                continue
            if pattern[position] == "**":
                nexts.add(position)
            elif _segment(pattern[position])(name):
                nexts.add(position + 1)
        positions = _past_stars(nexts, pattern)
    return positions


def _past_stars(positions: set[int], pattern: tuple[str, ...]) -> set[int]:
    more = set(positions)
    for position in positions:
        while position < len(pattern) and pattern[position] == "**":
            position += 1  # noqa: PLW2901 (the stars may stand for nothing)
            more.add(position)
    return more


@lru_cache(maxsize=64)
def _segment(pattern: str) -> Callable[[str], object]:
    return re.compile(translate(pattern)).match
